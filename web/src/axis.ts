/** The steps that all charts of the page show, and the step under the cursor: one of each, shared. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { formatDuration, formatExact, formatNumber } from "./format";

export interface Range {
  first: number;
  last: number;
}

/** What an axis counts, and how it is told. */
export interface Unit {
  /** As the column of a table is called. */
  name: "step" | "tokens" | "seconds";
  /** What one end of a range is called. */
  title: string;
  /** Ranges are whole multiples of it. */
  grain: number;
  /** On the axis. */
  tick: (x: number) => string;
  /** In a sentence. */
  say: (x: number) => string;
  span: (first: number, last: number) => string;
  count: (n: number) => string;
  /** Distances between ticks that are round, ascending within one of `base`. */
  round: readonly number[];
}

const DECIMAL = [1, 2, 5, 10] as const;

export const STEPS: Unit = {
  name: "step", title: "step", grain: 1, tick: formatNumber, round: DECIMAL,
  say: (x) => `step ${formatNumber(x)}`,
  span: (first, last) => `steps ${formatNumber(first)}–${formatNumber(last)}`,
  count: (n) => `${formatNumber(n)} steps`,
};

export const TOKENS: Unit = {
  name: "tokens", title: "token", grain: 1, tick: formatShort, round: DECIMAL,
  say: (x) => `${formatNumber(x)} tokens`,
  span: (first, last) => `${formatNumber(first)} to ${formatNumber(last)} tokens`,
  count: (n) => `${formatNumber(n)} tokens`,
};

export const SECONDS: Unit = {
  name: "seconds", title: "second", grain: 0.001, tick: formatDuration,
  // Up to here as seconds, minutes and hours are read; beyond in days.
  round: [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400],
  say: said,
  span: (first, last) => `${said(first)} to ${said(last)}`,
  count: said,
};

function said(seconds: number): string {
  return seconds < 120 ? formatExact(Number(seconds.toFixed(3)), "s") : formatDuration(seconds);
}

/** 1,200 as 1.2k. */
function formatShort(x: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.abs(x) || 1) / 3)));
  return `${formatNumber(Number((x / 1000 ** power).toPrecision(3)))}${["", "k", "M", "G", "T"][power] ?? ""}`;
}

/** No narrower than this many grains. */
const NARROWEST = 2;

/** `range` inside of `whole`, in whole grains; null when that is all of it. */
export function within(range: Range, whole: Range, grain = 1): Range | null {
  const rounded = (x: number) => Number((Math.round(x / grain) * grain).toPrecision(12));
  const width = Math.max(NARROWEST * grain, rounded(Math.abs(range.last - range.first)));
  if (!(width < whole.last - whole.first)) return null;
  const low = rounded(Math.min(range.first, range.last));
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

/** Where the charts of one page look at. `whole` grows with the run; a range stays where it was set. */
export class Axis {
  whole: Range = { first: 0, last: 1 };
  range: Range | null = null;
  cursor: number | null = null;
  /** The chart the cursor is on: it alone shows the values beside it. */
  holder: object | null = null;
  /** Where a gesture has come to, finer than whole steps: small moves add up. */
  #wanted: Range | null = null;
  #waits = false;
  #listeners = new Set<(what: "range" | "cursor") => void>();

  constructor(readonly unit: Unit = STEPS) {}

  get shown(): Range {
    return this.range ?? this.whole;
  }

  show(range: Range | null): void {
    this.#wanted = null;
    this.#show(range);
  }

  #show(range: Range | null): void {
    this.range = range && within(range, this.whole, this.unit.grain);
    this.#tell("range");
  }

  zoom(factor: number, at = this.cursor ?? (this.shown.first + this.shown.last) / 2): void {
    this.show(zoomed(this.shown, factor, at));
  }

  /** Show `change` of what is shown at the next frame: many turns of a wheel are drawn once. */
  soon(change: (range: Range) => Range): void {
    const { first, last } = change(this.#wanted ?? this.shown);
    const enough = last - first >= NARROWEST * this.unit.grain;
    this.#wanted = enough ? { first, last } : this.#wanted ?? this.shown;
    if (this.#waits) return;
    this.#waits = true;
    requestAnimationFrame(() => {
      this.#waits = false;
      if (this.#wanted) this.#show(this.#wanted);
      if (!this.range) this.#wanted = null;
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

/** A gesture is over when nothing has moved for so long. */
const REST_MILLISECONDS = 120;

/** The range once it is at rest: for what is too dear to do in every frame of a gesture. */
export function useRestingRange(axis = useContext(SharedAxis)): Range | null {
  const [range, set] = useState(axis.range);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    set(axis.range);
    const off = axis.on((what) => {
      if (what !== "range") return;
      clearTimeout(timer);
      timer = setTimeout(() => set(axis.range), REST_MILLISECONDS);
    });
    return () => {
      clearTimeout(timer);
      off();
    };
  }, [axis]);
  return range;
}

/** The step under the cursor, null for none; draws again when it moves. */
export function useCursor(axis = useContext(SharedAxis)): number | null {
  const [cursor, set] = useState(axis.cursor);
  useEffect(() => axis.on((what) => what === "cursor" && set(axis.cursor)), [axis]);
  return cursor;
}
