/** A word-sized line. */

import type { Series } from "./fold";

const WIDTH = 120;
const HEIGHT = 26;

/** A stretch that is not finite is a gap with a red tick over it. */
export function Spark({ series, label, paint }: {
  series: Series;
  label: string;
  /** A CSS variable. */
  paint?: string;
}) {
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
    <svg
      class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}
      preserveAspectRatio="none"
    >
      <path d={path} style={paint ? { stroke: `var(${paint})` } : {}} />
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
