/** The page's whole state of a run, and how one event changes it. Pure: no clock, no network. */

import type { Float } from "./records";
import type { Detail, RunEvent, Snapshot } from "./snapshot";

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
}

/** Past this many appended samples the page asks for thinned series again. */
export const MAX_APPENDED = 3000;

export function toNumber(value: Float): number {
  return typeof value === "number" ? value : Number(value);
}

export function open(detail: Detail): RunView {
  const series: Record<string, Series> = {};
  for (const [name, { steps, values }] of Object.entries(detail.series)) {
    series[name] = { steps, values: values.map(toNumber) };
  }
  const { id, snapshot, cursor, exports, now } = detail;
  return { id, snapshot, series, cursor, appended: 0, exports, now };
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
