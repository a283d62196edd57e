/** A word-sized line. */

import type { Range } from "./axis";
import { extent, gapsOf, trace } from "./draw";
import type { Series } from "./fold";

const WIDTH = 120;
const HEIGHT = 26;

/** A stretch that is not finite is a gap with a red tick over it. */
export function Spark({ series, label, paint, range }: {
  series: Series;
  label: string;
  /** A CSS variable. */
  paint?: string;
  /** The steps shown; all of them where it is not given. */
  range?: Range | null;
}) {
  const { path, ticks } = sparkOf(series, range ?? { first: series.steps[0] ?? 0, last: series.steps.at(-1) ?? 0 });
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

/** The line with at most four points a pixel column, and the columns where it is not finite. */
export function sparkOf(series: Series, range: Range): { path: string; ticks: number[] } {
  const { first, last } = range;
  const { low, high } = extent(series, range, false);
  const x = (step: number) => 1 + ((WIDTH - 2) * (step - first)) / (last - first || 1);
  const y = (value: number) => HEIGHT - 3 - ((HEIGHT - 6) * (value - low)) / (high - low || 1);
  let path = "";
  const pen = {
    moveTo: (at: number, up: number) => { path += `M${at.toFixed(1)} ${up.toFixed(1)}`; },
    lineTo: (at: number, up: number) => { path += `L${at.toFixed(1)} ${up.toFixed(1)}`; },
  };
  if (low <= high) trace(pen, series, { plot: range, x, y, log: false }, []);
  const ticks = gapsOf(series).filter((gap) => gap.last >= first && gap.first <= last)
    .flatMap((gap) => [x(Math.max(gap.first, first)), x(Math.min(gap.last, last))]).map(Math.round);
  return { path, ticks: [...new Set(ticks)] };
}
