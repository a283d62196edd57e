import { formatAny, formatNumber, formatPercent, formatShare, formatTime, words } from "../format";
import { Empty, Fold, type Panel, type PanelProps } from "../panel";
import type { DataFacts } from "../snapshot";

function Details({ view }: PanelProps) {
  const { run, checkpoints, fixed_eval: held, data } = view.snapshot;
  if (run === null) return <Empty>No details, because the run has not written its first record.</Empty>;
  const set = run.eval_set;
  const told = (path: string) => held.best_ckpt === path ? `${path} · best`
    : held.tied?.includes(path) ? `${path} · tied with the best` : path;
  const about: [string, string][] = [
    ["model", run.model],
    ["started", formatTime(run.time)],
    ["host", run.pid ? `${run.host}, process ${run.pid}` : run.host],
    ["learning rate", run.learning_rate || "–"],
    ["held-out set", set ? `${set.path} · ${formatNumber(set.n)} examples · ${set.hash}` : "none"],
    ...(run.source ? [["read from", run.source] as [string, string]] : []),
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
          <Table name="Checkpoints" rows={checkpoints.map(({ step, path }) => [`step ${formatNumber(step)}`, told(path)])} />
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
  const rows: [string, string][] = [
    ["file", data.path || "–"],
    ["rows", `${formatNumber(data.rows)}${data.looked_at < data.rows ? `, the tokens of ${formatNumber(data.looked_at)} looked at` : ", the tokens of all looked at"}`],
    ["tokens the loss is computed on", data.label_share === null ? "–"
      : `${formatPercent(data.label_share)}: ${formatNumber(data.label_tokens)} of ${formatNumber(data.tokens)}`],
    ["longest row", data.longest ? `${formatNumber(data.longest)} tokens${data.max_length === null ? "" : `, cut at ${formatNumber(data.max_length)}`}` : "–"],
    ...(data.context === null ? [] : [["the model takes", `${formatNumber(data.context)} tokens`] as [string, string]]),
    ...(Object.keys(patterns).length === 0 ? [] : [["rows by pattern", Object.entries(patterns).map(([name, n]) => `${name} ${formatNumber(n)}`).join(", ")] as [string, string]]),
    ...found.map(([kind, { n, share, rows: first }]): [string, string] => [
      words(kind), `${formatNumber(n)} ${n === 1 ? "row" : "rows"} (${formatShare(share)}${data.looked_at < data.rows ? " of those looked at" : ""}): ${first.map(formatNumber).join(", ")}${n > first.length ? ", …" : ""}`,
    ]),
    ...(data.strange ? [["first foreign marks", data.strange] as [string, string]] : []),
    ...(found.length === 0 ? [["problems", "none of those looked for"] as [string, string]] : []),
    ...data.remarks.map((text): [string, string] => ["not looked at", text]),
  ];
  return <Table name="Training data" rows={rows} />;
}

function Table({ name, rows }: { name: string; rows: [string, string][] }) {
  if (rows.length === 0) return <p class="small-print">Nothing was recorded.</p>;
  return (
    <div class="scroll" data-data={name}>
      <table class="pairs">
        <thead class="unseen"><tr><th scope="col">name</th><th scope="col">value</th></tr></thead>
        <tbody>{rows.map(([key, value], i) => <tr key={i}><th scope="row">{key}</th><td>{value}</td></tr>)}</tbody>
      </table>
    </div>
  );
}

/** Settings by their whole names: eval.every, not a group with all it holds in one line. */
function flat(values: Record<string, unknown>, prefix = ""): [string, string][] {
  return Object.entries(values).flatMap(([key, value]): [string, string][] => {
    const isGroup = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
    return isGroup ? flat(value as Record<string, unknown>, `${prefix}${key}.`) : [[prefix + key, formatAny(value)]];
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
