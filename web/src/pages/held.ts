/** The examples that a report file holds, filtered and sorted here as the server does for the live page. */

import { toNumber } from "../fold";
import type { TableData, Value } from "../tables";
import type { ExampleRow, ExamplesPage, OneExample } from "./types";

export interface Held {
  /** Every row that the file holds. */
  page: ExamplesPage;
  /** By id, with whole texts. */
  whole: Record<string, OneExample>;
}

/** What the server answers at what follows `examples` in a path: `?…` is a page of rows, `/…` one example. */
export function answer(held: Held, rest: string): unknown {
  if (rest.startsWith("?")) return select(held, new URLSearchParams(rest.slice(1)));
  const id = decodeURIComponent(rest.slice(1));
  return Object.hasOwn(held.whole, id) ? held.whole[id] : undefined;
}

function select({ page, whole }: Held, query: URLSearchParams): ExamplesPage {
  const asked = (name: string) => query.get(name) ?? "";
  const wanted = asked("text").toLowerCase();
  const sort = asked("sort") || "line";
  const sign = sort.startsWith("-") ? -1 : 1;
  const key = KEYS[sort.replace("-", "")] ?? KEYS.line as Key;
  const rows = page.rows
    .filter((row) => (!asked("kind") || row.kinds.includes(asked("kind")))
      && (!asked("pattern") || row.pattern === asked("pattern"))
      && (!asked("bin") || row.bin === asked("bin"))
      && (!wanted || says(row, whole[row.id]).some((text) => text.toLowerCase().includes(wanted))))
    .sort((a, b) => sign * compare([...key(a), a.line], [...key(b), b.line]));
  const offset = Number(asked("offset"));
  const limit = Number(asked("limit") || rows.length);
  return { ...page, rows: rows.slice(offset, offset + limit), total: rows.length, offset };
}

/** Every text of an example that can be searched. */
function says(row: ExampleRow, whole: OneExample | undefined): string[] {
  return [row.id, ...(whole ? [model(whole), whole.golden, prompt(whole)] : [])].filter((text) => text !== null);
}

function prompt({ messages }: OneExample): string | null {
  return messages && messages.filter(({ role }) => role === "user").map(({ content }) => content).join("\n\n");
}

function model({ went }: OneExample): string | null {
  const said = went.at(-1)?.said;
  return said ? said.same + said.other : null;
}

type Key = (row: ExampleRow) => (number | string)[];

const KEYS: Record<string, Key> = {
  line: () => [],
  ce: ({ ce }) => (Number.isNaN(toNumber(ce)) ? [1, 0] : [0, toNumber(ce)]), // a NaN is worse than any number
  tokens: ({ tokens }) => [tokens],
  pattern: ({ pattern }) => [pattern],
  changes: ({ went }) => [[...went.replaceAll("-", "")].filter((now, i, all) => i > 0 && now !== all[i - 1]).length],
};

function compare(a: (number | string)[], b: (number | string)[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  if (at < 0) return 0;
  return (a[at] as number | string) < (b[at] as number | string) ? -1 : 1;
}

const FACTS = ["line", "id", "pattern", "bin", "tokens", "correct", "token_correct", "ce", "entropy", "divergence"] as const;
const WENT: Record<string, number> = { "1": 1, "0": 0 };

/** Rows as the server saves them: whole texts, and a column an evaluation with 1 right, 0 wrong. */
export function tableOf(rows: readonly ExampleRow[], whole: readonly OneExample[], evals: readonly number[]): TableData {
  return {
    columns: [...FACTS, "kinds", "group", "prompt", "golden", "model", ...evals.map((step) => `step ${step}`)],
    rows: rows.map((row, i): Value[] => {
      const full = whole[i] as OneExample;
      const facts = FACTS.map((name) => typeof row[name] === "boolean" ? Number(row[name]) : row[name] as Value);
      return [...facts, row.kinds.join(" "), row.group, prompt(full), full.golden, model(full), ...[...row.went].map((sign) => WENT[sign] ?? null)];
    }),
  };
}
