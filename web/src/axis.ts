/** The steps that all charts of the page show, and the step under the cursor: one of each, shared. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

export interface Range {
  first: number;
  last: number;
}

/** No narrower than this many steps. */
const NARROWEST = 2;

/** `range` inside of `whole`, in whole steps; null when that is all of it. */
export function within(range: Range, whole: Range): Range | null {
  const width = Math.max(NARROWEST, Math.round(Math.abs(range.last - range.first)));
  if (!(width < whole.last - whole.first)) return null;
  const low = Math.round(Math.min(range.first, range.last));
  const first = Math.min(Math.max(low, whole.first), whole.last - width);
  return { first, last: first + width };
}

/** `factor` below 1 shows less; the step `at` keeps its place. */
export function zoomed(range: Range, factor: number, at: number): Range {
  return { first: at - (at - range.first) * factor, last: at + (range.last - at) * factor };
}

export function moved(range: Range, by: number, whole: Range): Range {
  const shift = Math.min(Math.max(by, whole.first - range.first), whole.last - range.last);
  return { first: range.first + shift, last: range.last + shift };
}

/** Where the charts of one run look at. `whole` grows with the run; a range stays where it was set. */
export class Axis {
  whole: Range = { first: 0, last: 1 };
  range: Range | null = null;
  cursor: number | null = null;
  /** The chart the cursor is on: it alone shows the values beside it. */
  holder: object | null = null;
  #wanted: Range | null = null;
  #listeners = new Set<(what: "range" | "cursor") => void>();

  get shown(): Range {
    return this.range ?? this.whole;
  }

  show(range: Range | null): void {
    this.range = range && within(range, this.whole);
    this.#tell("range");
  }

  zoom(factor: number, at = this.cursor ?? (this.shown.first + this.shown.last) / 2): void {
    this.show(zoomed(this.shown, factor, at));
  }

  /** Show `change` of what is shown at the next frame: many turns of a wheel are drawn once. */
  soon(change: (range: Range) => Range): void {
    const waits = this.#wanted !== null;
    this.#wanted = change(this.#wanted ?? this.shown);
    if (waits) return;
    requestAnimationFrame(() => {
      const wanted = this.#wanted;
      this.#wanted = null;
      this.show(wanted);
    });
  }

  move(share: number): void {
    const { first, last } = this.shown;
    if (this.range) this.show(moved(this.range, share * (last - first), this.whole));
  }

  point(step: number | null, holder: object | null): void {
    if (step === this.cursor && holder === this.holder) return;
    this.cursor = step;
    this.holder = holder;
    this.#tell("cursor");
  }

  on(listener: (what: "range" | "cursor") => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #tell(what: "range" | "cursor"): void {
    for (const listener of this.#listeners) listener(what);
  }
}

export const SharedAxis = createContext(new Axis());

/** The range in force, null for all; draws again when it changes. */
export function useRange(axis = useContext(SharedAxis)): Range | null {
  const [range, set] = useState(axis.range);
  useEffect(() => {
    set(axis.range);
    return axis.on((what) => what === "range" && set(axis.range));
  }, [axis]);
  return range;
}

/** The step under the cursor, null for none; draws again when it moves. */
export function useCursor(axis = useContext(SharedAxis)): number | null {
  const [cursor, set] = useState(axis.cursor);
  useEffect(() => axis.on((what) => what === "cursor" && set(axis.cursor)), [axis]);
  return cursor;
}
