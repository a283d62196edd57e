/** What the list of runs is searched, filtered and sorted by. Pure. */

import { toNumber } from "../fold";
import type { Float } from "../records";
import type { TableData, Value } from "../tables";
import type { RunLine } from "./types";

const WEIGHT: Record<string, number> = { critical: 1e9, error: 1e6, warning: 1e3, info: 1 };
/** What needs a look first. */
const ORDER = ["running", "starting", "stalled", "died", "failed", "interrupted", "finished"];

export const COLUMNS = [
  { id: "id", title: "Run", help: "Name of the run's folder, and its model" },
  { id: "state", title: "State", help: "Died and stalled are found from outside, by its silence" },
  { id: "step", title: "Steps", help: "Optimizer steps done, of all" },
  { id: "streaming", title: "Curve", help: "Streaming cross-entropy of training, nats per token" },
  { id: "em", title: "EM", help: "Exact match on the fixed set at the latest evaluation, with its 95 % interval" },
  { id: "best", title: "Best checkpoint", help: "The checkpoint the latest decision names, and its exact match" },
  { id: "alerts", title: "Open alerts", help: "Open alerts by level; the gravest count most" },
  { id: "speed", title: "Tokens/s", help: "Tokens per second at the latest step" },
  { id: "time", title: "Last record", help: "How long ago the trainer last wrote" },
] as const;

export type ColumnId = (typeof COLUMNS)[number]["id"];

/** Whether every word of the search is in the run's name, model, tags or note. */
export function matches(run: RunLine, text: string, states: readonly string[]): boolean {
  if (states.length > 0 && !states.includes(run.state)) return false;
  const said = [run.id, run.model, run.source, run.note, ...run.tags].join("\n").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => said.includes(word));
}

/** The states there are, with how many runs are in each. */
export function states(runs: readonly RunLine[]): [string, number][] {
  const found = new Map<string, number>();
  for (const { state } of runs) found.set(state, (found.get(state) ?? 0) + 1);
  const rank = (state: string) => (ORDER.indexOf(state) + ORDER.length + 1) % (ORDER.length + 1);
  return [...found].sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b));
}

/** Sort by a column, "-" before its name for descending; what is not known stands last either way. */
export function sorted(runs: readonly RunLine[], sort: string): RunLine[] {
  const down = sort.startsWith("-");
  const id = sort.replace(/^-/, "") as ColumnId;
  return [...runs].sort((a, b) => {
    const [x, y] = [key(a, id), key(b, id)];
    if (x === null || y === null) return x === y ? byAge(a, b) : x === null ? 1 : -1;
    const order = typeof x === "string" || typeof y === "string"
      ? String(x).localeCompare(String(y), undefined, { numeric: true }) : x - y;
    return (down ? -order : order) || byAge(a, b);
  });
}

function byAge(a: RunLine, b: RunLine): number {
  return toNumber(b.time) - toNumber(a.time) || a.id.localeCompare(b.id);
}

function key(run: RunLine, id: ColumnId): number | string | null {
  switch (id) {
    case "id": return run.id;
    case "state": return ORDER.indexOf(run.state) < 0 ? run.state : ORDER.indexOf(run.state);
    case "step": return run.step;
    case "streaming": return known(run.streaming_ce);
    case "em": return known(run.em);
    case "best": return known(run.best_em);
    case "alerts": return Object.entries(run.alerts)
      .reduce((sum, [level, n]) => sum + n * (WEIGHT[level] ?? 1), 0);
    case "speed": return known(run.tokens_per_second);
    case "time": return known(run.time);
    default: return null;
  }
}

function known(value: Float | null): number | null {
  const x = value === null ? NaN : toNumber(value);
  return Number.isFinite(x) ? x : null;
}

const FIELDS = [
  "id", "model", "source", "state", "step", "total_steps", "attempts", "started", "time", "em", "em_low",
  "em_high", "n", "em_step", "best_checkpoint", "best_em", "streaming_ce", "tokens_per_second", "note",
] as const;

/** Everything the lines say, for a file. */
export function tableOf(runs: readonly RunLine[]): TableData {
  const rows = runs.map((run): Value[] => [
    ...FIELDS.map((field) => run[field]),
    run.tags.join(", "),
    Object.entries(run.alerts).map(([level, n]) => `${n} ${level}`).join(", "),
  ]);
  return { columns: [...FIELDS, "tags", "open_alerts"], rows };
}
