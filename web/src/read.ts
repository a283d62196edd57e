/** Small look-ups in a view that several parts need. */

import type { RunView, Series } from "./fold";
import type { Alert, MetricInfo, Snapshot } from "./snapshot";

const NONE: Series = { steps: [], values: [] };

/** What a metric means; one the journal does not explain goes by its name. */
export function metric(snapshot: Snapshot, name: string): MetricInfo {
  return snapshot.metrics[name]
    ?? { name, title: name, unit: "", direction: "none", help: "", source: "" };
}

export function series(view: RunView, name: string): Series {
  return view.series[name] ?? NONE;
}

export function isOpen(alert: Alert): boolean {
  return alert.state === "open" || alert.state === "escalated";
}
