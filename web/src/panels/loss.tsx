import { Key, LineChartView, type Line } from "../chart";
import { gaps, type Gap } from "../fold";
import { formatNumber, formatValue } from "../format";
import { Empty, type Panel, type PanelProps } from "../panel";
import { metric, series } from "../read";
import { useRemembered } from "../remember";

const DRAWN = [
  { name: "loss/step", colour: "--raw", width: 1, opacity: 0.6 },
  { name: "entropy/train", colour: "--series-2", width: 1.5, opacity: 0.9 },
  { name: "loss/streaming", colour: "--series-1", width: 2.5, opacity: 1 },
] as const;

function Loss({ view }: PanelProps) {
  const [scale, setScale] = useRemembered("loss-scale", ["linear", "log"] as const, "linear");
  const lines: Line[] = DRAWN
    .map(({ name, ...look }) => {
      const { title, unit } = metric(view.snapshot, name);
      return { ...look, name: title, series: series(view, name),
        format: (value: number) => formatValue(value, unit) };
    })
    .filter((line) => line.series.steps.length > 0);
  if (lines.length === 0) {
    return <Empty>No loss, because no training step has been recorded yet.</Empty>;
  }
  const missing = lines.map((line) => ({ line, where: gaps(line.series) }))
    .filter(({ where }) => where.length > 0);
  const marks = unique(missing.flatMap(({ where }) => where));
  const told = lines.map((line) => `${line.name} ${line.format?.(line.series.values.at(-1) as number)}`);
  return (
    <>
      <Key lines={lines} />
      <div class="chart-head">
        <p class="axis-title">nats per token, by optimizer step</p>
        <button
          type="button" class="button small" aria-pressed={scale === "log"}
          onClick={() => setScale(scale === "log" ? "linear" : "log")}
        >
          log scale
        </button>
      </div>
      <LineChartView
        lines={lines} marks={marks} height={280} log={scale === "log"}
        summary={`Loss over optimizer steps. Latest: ${told.join("; ")}.${missing.map(({ line, where }) => ` ${tell(line.name, where)}`).join("")}`}
      />
      {missing.map(({ line, where }) => (
        <p class="not-finite" key={line.name}>
          <span aria-hidden="true">✕ </span>{tell(line.name, where)}
        </p>
      ))}
    </>
  );
}

const SHOWN_GAPS = 6;

/** "Loss was NaN at step 120; ∞ at steps 130–140 (11 points)." */
function tell(name: string, where: Gap[]): string {
  const parts = where.slice(0, SHOWN_GAPS).map(({ what, first, last, count }) => {
    const steps = count === 1 ? `step ${formatNumber(first)}`
      : `steps ${formatNumber(first)}–${formatNumber(last)} (${formatNumber(count)} points)`;
    return `${formatNumber(what)} at ${steps}`;
  });
  const more = where.length - parts.length;
  return `${name} was ${parts.join("; ")}${more > 0 ? `; and ${more} more stretches` : ""}.`;
}

/** One marker where several lines fail together. */
function unique(marks: Gap[]): Gap[] {
  const seen = new Map<string, Gap>();
  for (const mark of marks) {
    const key = `${mark.what} ${mark.first}`;
    const known = seen.get(key);
    if (known === undefined || known.last < mark.last) seen.set(key, mark);
  }
  return [...seen.values()].sort((a, b) => a.first - b.first);
}

export const panel: Panel = {
  id: "loss",
  title: "Loss",
  order: 1,
  component: Loss,
  curves: DRAWN.map(({ name }) => name),
  gist: ({ snapshot }) => snapshot.streaming_ce === null ? ""
    : `streaming ${formatValue(snapshot.streaming_ce, metric(snapshot, "loss/streaming").unit)}`,
};
