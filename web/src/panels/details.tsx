import { formatAny, formatNumber, formatPercent, formatShare, formatTime, words } from "../format";
import { Empty, Fold, Saved, type Panel, type PanelProps } from "../panel";
import type { DataFacts } from "../snapshot";
import type { Value } from "../tables";

/** What it is, how it reads on the page, and what is saved of it: by itself, or as JSON text. */
type Row = readonly [name: string, shown: string, value: unknown];

function Details({ view }: PanelProps) {
  const { run, checkpoints, fixed_eval: held, data } = view.snapshot;
  if (run === null) return <Empty>No details, because the run has not written its first record.</Empty>;
  const set = run.eval_set;
  const told = (path: string) => held.best_ckpt === path ? `${path} · best`
    : held.tied?.includes(path) ? `${path} · tied with the best` : path;
  const about: Row[] = [
    ["model", run.model, run.model],
    ["started", formatTime(run.time), run.time],
    ["host", run.pid ? `${run.host}, process ${run.pid}` : run.host, { host: run.host, pid: run.pid }],
    ["learning rate", run.learning_rate || "–", run.learning_rate || null],
    ["held-out set", set ? `${set.path} · ${formatNumber(set.n)} examples · ${set.hash}` : "none", set && { path: set.path, n: set.n, hash: set.hash }],
    ...(run.source ? [["read from", run.source, run.source] as const] : []),
  ];
  return (
    <div class="details">
      <Table name="Run" rows={about} />
      <h3>Training data</h3>
      {data === null ? <p class="small-print">The training set was not looked at before the first step.</p> : <DataTable data={data} patterns={run.train_patterns} />}
      {set !== null && set.skipped.length > 0 && (
        <Fold id="details-skipped" title={`Lines of the held-out set not used (${set.skipped.length})`}>
          <ul class="plain">{set.skipped.map((text) => <li key={text}>{text}</li>)}</ul>
        </Fold>
      )}
      {checkpoints.length > 0 && (
        <Fold id="details-checkpoints" title={`Checkpoints (${checkpoints.length})`}>
          <Table name="Checkpoints" rows={checkpoints.map(({ step, path }) => [`step ${formatNumber(step)}`, told(path), { step, path }])} />
        </Fold>
      )}
      <Fold id="details-settings" title="Settings"><Table name="Settings" rows={flat(run.config)} /></Fold>
      <Fold id="details-environment" title="Environment"><Table name="Environment" rows={flat(run.environment)} /></Fold>
    </div>
  );
}

/** What was found in the training set before the first step, whether an alert came of it or not. */
function DataTable({ data, patterns }: { data: DataFacts; patterns: Record<string, number> }) {
  const found = Object.entries(data.found);
  const rows: Row[] = [
    ["file", data.path || "–", data.path || null],
    ["rows", `${formatNumber(data.rows)}${data.looked_at < data.rows ? `, the tokens of ${formatNumber(data.looked_at)} looked at` : ", the tokens of all looked at"}`,
      { rows: data.rows, looked_at: data.looked_at }],
    ["tokens the loss is computed on", data.label_share === null ? "–"
      : `${formatPercent(data.label_share)}: ${formatNumber(data.label_tokens)} of ${formatNumber(data.tokens)}`,
      { share: data.label_share, label_tokens: data.label_tokens, tokens: data.tokens }],
    ["longest row", data.longest ? `${formatNumber(data.longest)} tokens${data.max_length === null ? "" : `, cut at ${formatNumber(data.max_length)}`}` : "–",
      { longest: data.longest, max_length: data.max_length }],
    ...(data.context === null ? [] : [["the model takes", `${formatNumber(data.context)} tokens`, data.context] as const]),
    ...(Object.keys(patterns).length === 0 ? [] : [["rows by pattern", Object.entries(patterns).map(([name, n]) => `${name} ${formatNumber(n)}`).join(", "), patterns] as const]),
    ...found.map(([kind, { n, share, rows: first }]): Row => [
      words(kind), `${formatNumber(n)} ${n === 1 ? "row" : "rows"} (${formatShare(share)}${data.looked_at < data.rows ? " of those looked at" : ""}): ${first.map(formatNumber).join(", ")}${n > first.length ? ", …" : ""}`,
      { n, share, rows: first },
    ]),
    ...(data.strange ? [["first foreign marks", data.strange, data.strange] as const] : []),
    ...(found.length === 0 ? [["problems", "none of those looked for", {}] as const] : []),
    ...data.remarks.map((text): Row => ["not looked at", text, text]),
  ];
  return <Table name="Training data" rows={rows} />;
}

function Table({ name, rows }: { name: string; rows: readonly Row[] }) {
  if (rows.length === 0) return <p class="small-print">Nothing was recorded.</p>;
  return (
    <Saved name={name} table={() => ({ columns: ["name", "value"], rows: rows.map(([key, , value]) => [key, saved(value)]) })}>
      <div class="scroll">
        <table class="pairs">
          <thead class="unseen"><tr><th scope="col">name</th><th scope="col">value</th></tr></thead>
          <tbody>{rows.map(([key, shown], i) => <tr key={i}><th scope="row">{key}</th><td>{shown}</td></tr>)}</tbody>
        </table>
      </div>
    </Saved>
  );
}

/** Numbers, texts and nothing as they are, so that no digit is lost; anything else as JSON text. */
function saved(value: unknown): Value {
  return typeof value === "string" || typeof value === "number" ? value : value === null || value === undefined ? null : JSON.stringify(value);
}

/** Settings by their whole names: eval.every, not a group with all it holds in one line. */
function flat(values: Record<string, unknown>, prefix = ""): Row[] {
  return Object.entries(values).flatMap(([key, value]): Row[] => {
    const isGroup = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
    return isGroup ? flat(value as Record<string, unknown>, `${prefix}${key}.`) : [[prefix + key, formatAny(value), value]];
  });
}

export const panel: Panel = {
  id: "details",
  title: "Run Details",
  order: 9,
  component: Details,
  wide: true,
  startsCollapsed: true,
  gist: ({ snapshot: { run } }) => run?.host ?? "",
};
