/** Small look-ups in a view that several parts need. */

import { toNumber, type RunView, type Series } from "./fold";
import type { Alert, FixedEval, MetricInfo, Snapshot } from "./snapshot";

const NONE: Series = { steps: [], values: [] };

/** What a metric means; one the journal does not explain goes by its name. */
export function metric(snapshot: Snapshot, name: string): MetricInfo {
  return snapshot.metrics[name]
    ?? { name, title: name, unit: "", direction: "none", help: "", source: "", cost: "" };
}

export function series(view: RunView, name: string): Series {
  return view.series[name] ?? NONE;
}

/** The page of a run's examples, of one cell of the heatmap where it is given. */
export function examplesPath(run: string, cell: { pattern?: string; bin?: string } = {}): string {
  const query = Object.entries(cell).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return `#/run/${encodeURIComponent(run)}/examples${query && `?${query}`}`;
}

export function isOpen(alert: Alert): boolean {
  return alert.state === "open" || alert.state === "escalated";
}

/** Whether it is known when training will be done, and it is not yet. */
export function isLeft({ state, throughput: { eta_seconds: left } }: Pick<Snapshot, "state" | "throughput">): boolean {
  return (state === "running" || state === "starting") && left !== undefined && toNumber(left) > 0;
}

/** What is said of the trend, less the word itself, where that stands above it. */
export function besideTrend({ em_trend: trend, em_says: says = "" }: Partial<FixedEval>): string {
  const word = `${trend}: `;
  return says.startsWith(word) ? says.slice(word.length) : says;
}
