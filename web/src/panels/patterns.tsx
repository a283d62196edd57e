import { toNumber } from "../fold";
import { formatInterval, formatNumber, formatPercent } from "../format";
import { Empty, type Panel, type PanelProps } from "../panel";
import type { BucketMatrix, Rate } from "../snapshot";

function Patterns({ view }: PanelProps) {
  const matrix = view.snapshot.bucket_matrix;
  if (!isFilled(matrix)) {
    return <Empty>No heatmap, because the held-out set has not been evaluated yet.</Empty>;
  }
  const bins = matrix.bins.filter((bin) => matrix.cells.some((cell) => cell.bin === bin));
  const empty = matrix.bins.filter((bin) => !bins.includes(bin)).map(dashed);
  return (
    <>
      <p class="axis-title">
        exact match at step {formatNumber(matrix.step)}, by pattern and by response length in tokens
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Heatmap of pattern by length">
        <table class="heatmap">
          <thead>
            <tr>
              <th scope="col">Pattern</th>
              {bins.map((bin) => <th scope="col" key={bin}>{dashed(bin)}</th>)}
              <th scope="col" class="total">all</th>
            </tr>
          </thead>
          <tbody>
            {matrix.patterns.map((pattern) => (
              <tr key={pattern}>
                <th scope="row">{pattern}</th>
                {bins.map((bin) => (
                  <RateCell
                    key={bin}
                    rate={matrix.cells.find((cell) => cell.pattern === pattern && cell.bin === bin)}
                  />
                ))}
                <RateCell rate={matrix.rows.find((row) => row.pattern === pattern)} total />
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div class="legend">
        <span>0 %</span><span class="ramp" aria-hidden="true" /><span>100 %</span>
        <span class="entry"><span class="swatch unknown" aria-hidden="true" />too few examples to know</span>
        <span class="entry"><span class="swatch none" aria-hidden="true" />no example</span>
      </div>
      {empty.length > 0 && (
        <p class="small-print">The held-out set has no response of {empty.join(", ")} tokens.</p>
      )}
    </>
  );
}

function RateCell({ rate, total = false }: { rate: Rate | undefined; total?: boolean }) {
  const place = total ? " total" : "";
  if (rate === undefined || rate.seen === 0) {
    return <td class={`none${place}`}><span class="unseen">no example</span></td>;
  }
  if (!rate.known) {
    return (
      <td class={`unknown${place}`}>
        <span class="cell-value">unknown</span>
        <span class="cell-note">{formatNumber(rate.correct)} of {formatNumber(rate.seen)}</span>
      </td>
    );
  }
  return (
    <td class={`known${place}`} style={{ "--em": String(toNumber(rate.em ?? "NaN")) }}>
      <span class="cell-value">{formatPercent(rate.em)}</span>
      <span class="cell-note">{formatInterval(rate.em_low, rate.em_high)}</span>
      <span class="cell-note">n {formatNumber(rate.seen)}</span>
    </td>
  );
}

function dashed(bin: string): string {
  return bin.replace("-", "–");
}

function isFilled(matrix: Partial<BucketMatrix>): matrix is BucketMatrix {
  return (matrix.patterns?.length ?? 0) > 0 && matrix.cells !== undefined;
}

export const panel: Panel = {
  id: "patterns",
  title: "Pattern × Length",
  order: 3,
  component: Patterns,
  gist: ({ snapshot: { bucket_matrix: matrix } }) =>
    matrix.patterns?.length ? `${matrix.patterns.length} patterns` : "",
};
