/** The reliability diagram: how often the model is right when it says how sure it is. */

import { useEffect, useRef } from "preact/hooks";
import { toNumber } from "./fold";
import { formatChange, formatExact, formatNumber, formatPercent, formatShare } from "./format";
import { Fold } from "./panel";
import { exporting } from "./marks";
import type { TableData } from "./tables";
import type { Bin } from "./records";
import type { FixedEval } from "./snapshot";

const SIDE = 200;
const LEFT = 34;
const BARS = 34;
const WIDTH = LEFT + SIDE + 8;
const HEIGHT = SIDE + BARS + 34;
const TICKS = [0, 0.25, 0.5, 0.75, 1];

export function Reliability({ last }: { last: FixedEval }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current ? exporting(box.current, { table: () => table(last.bins) }) : undefined);
  const filled = last.bins.filter(({ n }) => n > 0);
  if (filled.length === 0) return null;
  const gap = toNumber(last.confidence_gap);
  const told = `${gap > 0 ? "overconfident" : "underconfident"} by ${formatChange(Math.abs(gap)).slice(1)}`;
  return (
    <div class="reliability" ref={box} data-data="Reliability diagram">
      <div class="reliability-picture" data-picture="Reliability diagram">
        <p class="axis-title">accuracy by confidence, token by token</p>
        <Diagram bins={last.bins} />
      </div>
      <div class="reliability-words">
        <p>
          ECE <b>{formatNumber(last.ece)}</b> ({formatNumber(last.ece_low)} to {formatNumber(last.ece_high)}):
          the mean distance of the points from the diagonal, by tokens.
        </p>
        <p>
          <b>{formatNumber(last.ece_null)}</b> would be expected of perfect calibration: so much is chance, at
          these confidences and this many tokens.
        </p>
        <p>On the whole {told}: mean confidence less accuracy.</p>
        <Fold id="reliability-table" title={`As a table (${filled.length} of ${last.bins.length} bins hold tokens)`}>
          <table class="plain-table">
            <thead><tr><th scope="col">confidence</th><th scope="col">tokens</th><th scope="col">mean</th><th scope="col">right</th></tr></thead>
            <tbody>
              {last.bins.map((bin, i) => (
                <tr key={i}>
                  <th scope="row">{edges(i, last.bins.length)}</th>
                  <td>{formatNumber(bin.n)}</td>
                  <td title={bin.n ? formatExact(bin.confidence) : ""}>{bin.n ? formatPercent(bin.confidence) : "–"}</td>
                  <td title={bin.n ? formatExact(bin.accuracy) : ""}>{bin.n ? formatPercent(bin.accuracy) : "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Fold>
      </div>
    </div>
  );
}

function table(bins: readonly Bin[]): TableData {
  return {
    columns: ["above", "up to", "n", "confidence", "accuracy"],
    rows: bins.map(({ n, confidence, accuracy }, i) => [
      i / bins.length, (i + 1) / bins.length, n, ...(n ? [toNumber(confidence), toNumber(accuracy)] : [null, null]),
    ]),
  };
}

function edges(i: number, of: number): string {
  return `${formatShare(i / of)} – ${formatShare((i + 1) / of)}`;
}

/** Points joined to the diagonal by their error; below them how many tokens each stands for, on a log scale. */
function Diagram({ bins }: { bins: readonly Bin[] }) {
  const x = (share: number) => LEFT + SIDE * share;
  const y = (share: number) => 6 + SIDE * (1 - share);
  const most = Math.max(...bins.map(({ n }) => n));
  const ground = HEIGHT - 20;
  const bar = (n: number) => n === 0 ? 0 : Math.max(2, (BARS - 6) * Math.log1p(n) / Math.log1p(most));
  const told = bins.filter(({ n }) => n > 0)
    .map(({ n, confidence, accuracy }) => `at ${formatPercent(confidence)} confidence ${formatPercent(accuracy)} right, n ${formatNumber(n)}`);
  return (
    <svg class="diagram" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Reliability diagram: ${told.join("; ")}.`}>
      {TICKS.map((tick) => <line key={`h${tick}`} class="grid" x1={LEFT} x2={LEFT + SIDE} y1={y(tick)} y2={y(tick)} />)}
      {TICKS.map((tick) => (
        <text key={`y${tick}`} class="tick" x={LEFT - 6} y={y(tick) + 3.5} text-anchor="end">{100 * tick}%</text>
      ))}
      <line class="diagonal" x1={x(0)} y1={y(0)} x2={x(1)} y2={y(1)} />
      {bins.map((bin, i) => bin.n > 0 && (
        <g key={i}>
          <title>{`${formatPercent(bin.accuracy)} right at ${formatPercent(bin.confidence)} confidence, n ${formatNumber(bin.n)} tokens`}</title>
          <line class="error" x1={x(toNumber(bin.confidence))} x2={x(toNumber(bin.confidence))} y1={y(toNumber(bin.confidence))} y2={y(toNumber(bin.accuracy))} />
          <circle class="point" cx={x(toNumber(bin.confidence))} cy={y(toNumber(bin.accuracy))} r={bin.n < 10 ? 2.5 : 4.5} />
          <rect class="count" x={x(i / bins.length) + 2} width={SIDE / bins.length - 4} y={ground - bar(bin.n)} height={bar(bin.n)} />
        </g>
      ))}
      <line class="ground" x1={LEFT} x2={LEFT + SIDE} y1={ground} y2={ground} />
      <text class="tick" x={LEFT - 6} y={ground} text-anchor="end">n</text>
      {TICKS.map((tick) => (
        <text key={`x${tick}`} class="tick" x={x(tick)} y={HEIGHT - 6} text-anchor={tick === 1 ? "end" : tick === 0 ? "start" : "middle"}>{100 * tick}%</text>
      ))}
    </svg>
  );
}
