import { Absent } from "../absent";
import { LineChartView, type Line } from "../chart";
import { gaps, toNumber, type RunView } from "../fold";
import { formatNumber, formatValue } from "../format";
import { Empty, type Panel, type PanelProps } from "../panel";
import { metric, series } from "../read";
import { useRemembered } from "../remember";

const CURVES = [
  { name: "loss/step", colour: "--raw", width: 1, opacity: 0.75 },
  { name: "loss/logged", colour: "--raw", width: 1, opacity: 0.75 },
  { name: "entropy/train", colour: "--series-2", width: 1.5, opacity: 0.9 },
  { name: "loss/streaming", colour: "--series-1", width: 2.5, opacity: 1 },
  { name: "loss/trainer_eval", colour: "--series-5", width: 1.5, opacity: 1 },
] as const;

const BELOW = [
  { names: ["learning_rate", "learning_rate/logged"], colour: "--series-3" },
  { names: ["grad/norm"], colour: "--series-5" },
] as const;

const PROMISED = [
  { name: "token entropy", names: ["entropy/train"], why: "it was not measured" },
  { name: "learning rate", names: BELOW[0].names, why: "the trainer told of none" },
  { name: "gradient norm", names: BELOW[1].names, why: "it was not measured" },
] as const;

/** Past this many points dots would touch and hide the line. */
const MOST_DOTS = 40;

function Loss({ view }: PanelProps) {
  const [scale, setScale] = useRemembered("loss-scale", ["linear", "log"] as const, "linear");
  const lines = [...curves(view), ...evaluated(view)];
  if (lines.length === 0) {
    return (
      <Empty>
        {Object.keys(view.series).length === 0 ? "No loss, because no training step has been recorded yet."
          : "No loss, because none is among the numbers recorded."}
      </Empty>
    );
  }
  const isLog = scale === "log";
  const hidden = isLog ? lines.reduce((n, line) => n + line.series.values.filter((y) => y <= 0).length, 0) : 0;
  const told = lines.map((line) => `${line.name} ${line.format?.(line.series.values.at(-1) as number)}`);
  const broken = lines.flatMap((line) => gaps(line.series).slice(0, 3)
    .map(({ what, first }) => ` ${line.name} was ${what} at step ${first}.`));
  return (
    <>
      <LineChartView
        title="Loss, nats per token, by optimizer step" lines={lines} height={270} log={isLog} keyed timeline
        summary={`Loss over optimizer steps. Latest: ${told.join("; ")}.${broken.join("")}`}
      >
        <button
          type="button" class="button small" aria-pressed={isLog}
          onClick={() => setScale(isLog ? "linear" : "log")}
        >
          log scale
        </button>
      </LineChartView>
      {hidden > 0 && (
        <p class="small-print">{formatNumber(hidden)} points are 0 or below and have no place on a log scale.</p>
      )}
      <div class="pair">{BELOW.map((each) => <Below key={each.colour} view={view} {...each} />)}</div>
      <Absent
        snapshot={view.snapshot}
        promised={PROMISED.map(({ names, ...rest }) => ({ ...rest, isThere: firstOf(view, names) !== undefined }))}
      />
    </>
  );
}

/** The metrics among `CURVES` that the run has; the logged loss only where no step's own is known. */
function curvesOf(view: RunView): string[] {
  const found = CURVES.map(({ name }) => name).filter((name) => series(view, name).steps.length > 0);
  return found.includes("loss/step") ? found.filter((name) => name !== "loss/logged") : found;
}

function firstOf(view: RunView, names: readonly string[]): string | undefined {
  return names.find((each) => series(view, each).steps.length > 0);
}

function curves(view: RunView): Line[] {
  const drawn = curvesOf(view);
  return CURVES
    .filter(({ name }) => drawn.includes(name))
    .map(({ name, ...look }) => {
      const { title, unit } = metric(view.snapshot, name);
      const found = series(view, name);
      return { ...look, name: title, series: found, unit, format: (value: number) => formatValue(value, unit),
        dots: name === "loss/trainer_eval" && found.steps.length <= MOST_DOTS };
    });
}

/** The cross-entropy on the fixed set, with its interval. */
function evaluated({ snapshot: { evals, metrics } }: RunView): Line[] {
  if (evals.length === 0) return [];
  return [{
    name: metrics["eval/ce"]?.title ?? "Held-out CE", colour: "--series-4", width: 2, unit: "nats",
    series: { steps: evals.map(({ step }) => step), values: evals.map(({ ce }) => toNumber(ce)) },
    intervals: evals.map((each) => [toNumber(each.ce_low), toNumber(each.ce_high)] as const),
    dots: evals.length <= MOST_DOTS, format: (value) => formatValue(value, "nats"),
    note: (i) => `n ${formatNumber(evals[i]?.n)}`,
  }];
}

function Below({ view, names, colour }: { view: RunView; names: readonly string[]; colour: string }) {
  const name = firstOf(view, names);
  if (name === undefined) return null;
  const { title, unit } = metric(view.snapshot, name);
  const found = series(view, name);
  const format = (value: number) => formatValue(value, unit);
  return (
    <LineChartView
      title={title} height={110} min={0}
      lines={[{ name: title, series: found, colour, width: 1.5, unit, format }]}
      summary={`${title} by step; latest ${format(found.values.at(-1) ?? NaN)}.`}
    />
  );
}

export const panel: Panel = {
  id: "loss",
  title: "Loss",
  order: 1,
  component: Loss,
  curves: (view) => [...curvesOf(view), ...BELOW.flatMap(({ names }) => firstOf(view, names) ?? [])],
  gist: ({ snapshot }) => snapshot.streaming_ce === null ? ""
    : `streaming ${formatValue(snapshot.streaming_ce, metric(snapshot, "loss/streaming").unit)}`,
};
