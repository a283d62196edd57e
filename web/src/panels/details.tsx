import { formatAny, formatNumber, formatTime } from "../format";
import { Empty, Fold, type Panel, type PanelProps } from "../panel";

function Details({ view }: PanelProps) {
  const { run, notes, checkpoints, fixed_eval: held } = view.snapshot;
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
  ];
  return (
    <div class="details">
      <Table rows={about} />
      {set !== null && set.skipped.length > 0 && (
        <Fold id="details-skipped" title={`Lines of the held-out set not used (${set.skipped.length})`}>
          <ul class="plain">{set.skipped.map((text) => <li key={text}>{text}</li>)}</ul>
        </Fold>
      )}
      {notes.length > 0 && (
        <Fold id="details-notes" title={`Notes (${notes.length})`}>
          <Table rows={notes.map(({ step, topic, text }) => [`${topic}, step ${formatNumber(step)}`, text])} />
        </Fold>
      )}
      {checkpoints.length > 0 && (
        <Fold id="details-checkpoints" title={`Checkpoints (${checkpoints.length})`}>
          <Table rows={checkpoints.map(({ step, path }) => [`step ${formatNumber(step)}`, told(path)])} />
        </Fold>
      )}
      <Fold id="details-settings" title="Settings"><Table rows={pairs(run.config)} /></Fold>
      <Fold id="details-environment" title="Environment"><Table rows={pairs(run.environment)} /></Fold>
    </div>
  );
}

function Table({ rows }: { rows: [string, string][] }) {
  if (rows.length === 0) return <p class="small-print">Nothing was recorded.</p>;
  return (
    <dl class="table">
      {rows.map(([key, value], i) => <div key={i}><dt>{key}</dt><dd>{value}</dd></div>)}
    </dl>
  );
}

function pairs(values: Record<string, unknown>): [string, string][] {
  return Object.entries(values).map(([key, value]) => [key, formatAny(value)]);
}

export const panel: Panel = {
  id: "details",
  title: "Run Details",
  order: 8,
  component: Details,
  wide: true,
  startsCollapsed: true,
  gist: ({ snapshot: { run } }) => run?.host ?? "",
};
