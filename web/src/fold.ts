/** The page's whole state of a run, and how one event changes it. Pure: no clock, no network. */

import type { Float } from "./records";
import type { Detail, RunEvent, Snapshot, WireSeries } from "./snapshot";

export interface Series {
  steps: readonly number[];
  /** May hold NaN and infinities. */
  values: readonly number[];
}

export interface RunView {
  id: string;
  snapshot: Snapshot;
  series: Readonly<Record<string, Series>>;
  /** Byte offset in the journal that this view is folded up to. */
  cursor: number;
  /** Samples appended since the server last thinned the series. */
  appended: number;
  exports: { name: string; suffix: string }[];
  /** The server's clock when this was sent, Unix seconds. */
  now: number;
  /** Whether some of the series stand here with fewer points than were recorded. */
  thinned: boolean;
}

/** Past this many appended samples the page asks for thinned series again. */
export const MAX_APPENDED = 3000;

export function toNumber(value: Float): number {
  return typeof value === "number" ? value : Number(value);
}

export function open(detail: Detail): RunView {
  const { id, snapshot, cursor, exports, now, thinned } = detail;
  return { id, snapshot, series: fold(detail.series), cursor, appended: 0, exports, now, thinned };
}

export function fold(wire: Readonly<Record<string, WireSeries>>): Record<string, Series> {
  return Object.fromEntries(Object.entries(wire).map(
    ([name, { steps, values }]) => [name, { steps: summed(steps), values: values.map(toNumber) }]));
}

function summed(distances: readonly number[]): number[] {
  let step = 0;
  return distances.map((distance) => (step += distance));
}

/**
 * Fold one event into the view; `cursor` is the event's id. An event at or before the view's
 * cursor was seen already (a reconnect may repeat one) and changes nothing.
 */
export function apply(view: RunView, event: RunEvent, cursor: number): RunView {
  if (cursor <= view.cursor) return view;
  return {
    ...view,
    snapshot: event.snapshot ?? { ...view.snapshot, ...event.live },
    series: append(view.series, event.samples),
    cursor,
    appended: view.appended + event.samples.length,
    now: event.now,
  };
}

/** Whether the view has to be loaded anew instead of folded further. */
export function needsReload(view: RunView, event: RunEvent): boolean {
  return event.reload || view.appended + event.samples.length > MAX_APPENDED;
}

function append(
  old: Readonly<Record<string, Series>>, samples: RunEvent["samples"],
): Readonly<Record<string, Series>> {
  if (samples.length === 0) return old;
  const grown = new Map<string, { steps: number[]; values: number[] }>();
  for (const { step, values } of samples) {
    for (const [name, value] of Object.entries(values)) {
      let series = grown.get(name);
      if (series === undefined) {
        const before = old[name];
        series = { steps: [...(before?.steps ?? [])], values: [...(before?.values ?? [])] };
        grown.set(name, series);
      }
      // One step may be recorded in parts; the later value of the same metric counts.
      if (series.steps.at(-1) === step) series.values[series.values.length - 1] = toNumber(value);
      else {
        series.steps.push(step);
        series.values.push(toNumber(value));
      }
    }
  }
  return { ...old, ...Object.fromEntries(grown) };
}

/** A stretch of consecutive recorded points that are not finite, by what they are. */
export interface Gap {
  what: "NaN" | "Infinity" | "-Infinity";
  first: number;
  last: number;
  count: number;
}

/** List where a series is not finite, stretches of the same kind joined. */
export function gaps({ steps, values }: Series): Gap[] {
  const found: Gap[] = [];
  let open: Gap | null = null;
  values.forEach((value, i) => {
    const step = steps[i] as number;
    if (Number.isFinite(value)) {
      open = null;
      return;
    }
    const what = String(value) as Gap["what"];
    if (open !== null && open.what === what) {
      open.last = step;
      open.count += 1;
    } else {
      open = { what, first: step, last: step, count: 1 };
      found.push(open);
    }
  });
  return found;
}

/**
 * The part of a series inside [first, last], with a point made on each edge that a line crosses, so
 * that a cut line ends where the picture does. Points that are not finite are kept as they are.
 */
export function cut(series: Series, first: number, last: number): Series {
  const { steps, values } = series;
  const [from, to] = [before(steps, first), before(steps, last + 1)];
  const edge = (at: number, i: number): [number, number][] => {
    const [a, b] = [values[i], values[i + 1]];
    const [x, y] = [steps[i], steps[i + 1]];
    if (a === undefined || b === undefined || x === undefined || y === undefined) return [];
    if (!Number.isFinite(a) || !Number.isFinite(b) || x === at || y === at) return [];
    return [[at, a + ((b - a) * (at - x)) / (y - x)]];
  };
  const [head, tail] = [edge(first, from - 1), edge(last, to - 1)];
  return {
    steps: [...head.map(([x]) => x), ...steps.slice(from, to), ...tail.map(([x]) => x)],
    values: [...head.map(([, y]) => y), ...values.slice(from, to), ...tail.map(([, y]) => y)],
  };
}

/** How many of the ascending `steps` lie before `step`. */
export function before(steps: readonly number[], step: number): number {
  let [low, high] = [0, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] as number) < step) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The coarse points outside of the range, the fine ones inside, and what was appended since. */
export function merged(
  coarse: Series | undefined, fine: Series, range: { first: number; last: number }, until: number,
): Series {
  if (coarse === undefined) return fine;
  const end = Math.min(range.last, until);
  const [from, to] = [before(coarse.steps, range.first), before(coarse.steps, end + 1)];
  const inside = cut(fine, range.first, end);
  return {
    steps: [...coarse.steps.slice(0, from), ...inside.steps, ...coarse.steps.slice(to)],
    values: [...coarse.values.slice(0, from), ...inside.values, ...coarse.values.slice(to)],
  };
}
