import type { Series } from "../fold";
import { formatValue } from "../format";
import { Empty, type Panel, type PanelProps } from "../panel";
import { metric } from "../read";

const WIDTH = 120;
const HEIGHT = 26;

function Signals({ view }: PanelProps) {
  const names = Object.keys(view.series).sort();
  if (names.length === 0) return <Empty>No signals, because no step has been recorded yet.</Empty>;
  return (
    <ul class="signals">
      {names.map((name) => {
        const { title, unit, help } = metric(view.snapshot, name);
        const series = view.series[name] as Series;
        const last = formatValue(series.values.at(-1), unit);
        return (
          <li key={name}>
            <span class="signal-name">{title}<span class="signal-help">{help || name}</span></span>
            <Spark series={series} label={`${title} by step; latest ${last}`} />
            <span class="signal-value">{last}</span>
          </li>
        );
      })}
    </ul>
  );
}

/** A word-sized line; a stretch that is not finite is a gap with a red tick under it. */
function Spark({ series, label }: { series: Series; label: string }) {
  const { steps, values } = series;
  const finite = values.filter(Number.isFinite);
  const [low, high] = [least(finite), greatest(finite)];
  const [first, last] = [steps[0] ?? 0, steps.at(-1) ?? 0];
  const x = (step: number) => 1 + ((WIDTH - 2) * (step - first)) / (last - first || 1);
  const y = (value: number) => HEIGHT - 3 - ((HEIGHT - 6) * (value - low)) / (high - low || 1);
  let pen = "M";
  let path = "";
  const ticks: number[] = [];
  values.forEach((value, i) => {
    const at = x(steps[i] as number);
    if (!Number.isFinite(value)) {
      ticks.push(at);
      pen = "M";
      return;
    }
    path += `${pen}${at.toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  });
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      <path d={path} />
      {ticks.map((at) => <line key={at} x1={at} x2={at} y1="2" y2={HEIGHT - 2} />)}
    </svg>
  );
}

function least(values: readonly number[]): number {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

function greatest(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

export const panel: Panel = {
  id: "signals",
  title: "All Signals",
  order: 7,
  component: Signals,
  wide: true,
  gist: ({ series }) => `${Object.keys(series).length} recorded`,
};
