import { address, hasExamples } from "../api";
import { toNumber } from "../fold";
import { formatChange, formatExact, formatInterval, formatNumber, formatPercent } from "../format";
import { Empty, Segments, type Panel, type PanelProps } from "../panel";
import { examplesPath } from "../read";
import { useRemembered } from "../remember";
import type { BucketMatrix, CellChange, Rate, Row } from "../snapshot";

type Look = "em" | "coverage" | "previous" | "best";

const LOOKS = ["em", "coverage", "previous", "best"] as const;

function Patterns({ view }: PanelProps) {
  const [wanted, choose] = useRemembered<Look>("patterns-look", LOOKS, "em");
  const matrix = view.snapshot.bucket_matrix;
  if (!isFilled(matrix)) {
    return <Empty>No heatmap, because the held-out set has not been evaluated yet.</Empty>;
  }
  const { previous, best } = matrix.changes;
  const choices = [
    { id: "em" as const, title: "exact match" }, { id: "coverage" as const, title: "coverage" },
    ...(previous ? [{ id: "previous" as const, title: `since step ${formatNumber(previous.since)}` }] : []),
    ...(best && best.since !== previous?.since ? [{ id: "best" as const, title: `since the best, ${formatNumber(best.since)}` }] : []),
  ];
  const look = choices.some(({ id }) => id === wanted) ? wanted : "em";
  const bins = matrix.bins.filter((bin) => matrix.cells.some((cell) => cell.bin === bin));
  const empty = matrix.bins.filter((bin) => !bins.includes(bin)).map(dashed);
  const cells: CellProps = { look, matrix, run: view.id };
  return (
    <>
      <Segments name="patterns-look" legend="What the cells show" choices={choices} chosen={look} choose={choose} />
      <div data-picture="Pattern by length" data-data="Pattern by length">
        <p class="axis-title">{caption(look, matrix)}</p>
        <div class="scroll" tabIndex={0} role="region" aria-label="Heatmap of pattern by length">
          <table class={`heatmap look-${look}`}>
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
                  <th scope="row">{pattern}<Trained row={matrix.rows.find((row) => row.pattern === pattern)} /></th>
                  {bins.map((bin) => <Cell key={bin} pattern={pattern} bin={bin} {...cells} />)}
                  <Cell pattern={pattern} {...cells} />
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <Legend look={look} most={most(matrix)} />
      </div>
      <p class="small-print">
        {hasExamples() && "A cell opens its examples."}
        {empty.length > 0 && ` The held-out set has no response of ${empty.join(", ")} tokens.`}
      </p>
    </>
  );
}

/** How much of the training set a pattern is, where that was counted. */
function Trained({ row }: { row: Row | undefined }) {
  if (row?.train_share == null) return null;
  return <span class="cell-note" title={`${formatNumber(row.train_rows)} rows of the training set`}> {formatPercent(row.train_share)} of training</span>;
}

interface CellProps {
  look: Look;
  matrix: BucketMatrix;
  run: string;
}

/** One cell, or without a bin the whole row; a link to the examples behind it. */
function Cell({ look, matrix, run, pattern, bin }: CellProps & { pattern: string; bin?: string }) {
  const rate: Rate | undefined = bin === undefined ? matrix.rows.find((row) => row.pattern === pattern)
    : matrix.cells.find((cell) => cell.pattern === pattern && cell.bin === bin);
  const place = bin === undefined ? " total" : "";
  if (rate === undefined || rate.seen === 0) {
    return <td class={`none${place}`} data-value=""><span class="unseen">no example</span></td>;
  }
  const change = look === "previous" || look === "best"
    ? matrix.changes[look]?.cells.find((cell) => cell.pattern === pattern && cell.bin === (bin ?? null)) : undefined;
  const shown = look === "em" ? ofRate(rate) : look === "coverage" ? ofCoverage(rate, most(matrix), bin === undefined) : ofChange(change);
  const inside = (
    <>
      <span class="cell-value">{shown.value}</span>
      {shown.notes.map((note) => <span class="cell-note" key={note}> {note}</span>)}
    </>
  );
  return (
    <td class={shown.kind + place} style={shown.style} data-value={shown.exact} title={shown.exact && formatExact(Number(shown.exact))}>
      {hasExamples() ? <a
        href={address(examplesPath(run, bin === undefined ? { pattern } : { pattern, bin }))}
        aria-label={`${pattern}, ${bin === undefined ? "all lengths" : `${dashed(bin)} tokens`}: ${[shown.value, ...shown.notes].join(", ")}. See its examples`}
      >{inside}</a> : inside}
    </td>
  );
}

interface Shown {
  kind: string;
  value: string;
  notes: string[];
  style: Record<string, string>;
  exact: string;
}

function ofRate(rate: Rate): Shown {
  if (!rate.known) {
    return { kind: "unknown", value: "unknown", notes: [`${formatNumber(rate.correct)} of ${formatNumber(rate.seen)}`], style: {}, exact: String(rate.em) };
  }
  return {
    kind: "known", value: formatPercent(rate.em), style: { "--em": String(toNumber(rate.em ?? "NaN")) },
    notes: [formatInterval(rate.em_low, rate.em_high), `n ${formatNumber(rate.seen)}`], exact: String(rate.em),
  };
}

function ofCoverage(rate: Rate, of: number, whole: boolean): Shown {
  return {
    kind: rate.known ? "known" : "unknown", value: formatNumber(rate.seen),
    notes: [rate.known ? `${formatNumber(rate.correct)} right` : "too few"],
    style: whole || !rate.known ? { "--em": "0" } : { "--em": String(rate.seen / of) }, exact: String(rate.seen),
  };
}

function ofChange(change: CellChange | undefined): Shown {
  if (change === undefined) return { kind: "none", value: "–", notes: ["not scored then"], style: {}, exact: "" };
  const [x, low, high] = [change.change, change.low, change.high].map(toNumber) as [number, number, number];
  const notes = [`${formatChange(low)} to ${formatChange(high)}`.replaceAll(/.points/g, ""), `+${formatNumber(change.learned)} −${formatNumber(change.forgotten)} of ${formatNumber(change.n)}`];
  if (!change.known) return { kind: "unknown", value: "unknown", notes: notes.slice(1), style: {}, exact: String(x) };
  const kind = x > 0 ? "known gained" : x < 0 ? "known lost" : "known";
  return { kind, value: x === 0 ? "0" : formatChange(x), notes, style: { "--em": String(Math.min(1, Math.abs(x) * 2)) }, exact: String(x) };
}

function caption(look: Look, { step, changes }: BucketMatrix): string {
  const by = "by pattern and by response length in tokens";
  const at = `at step ${formatNumber(step)}`;
  switch (look) {
    case "em":
      return `exact match ${at}, ${by}`;
    case "coverage":
      return `examples scored ${at}, ${by}: where nothing is measured, nothing is known`;
    default:
      return `change of exact match from step ${formatNumber(changes[look]?.since)} to ${formatNumber(step)}, the same examples paired, ${by}`;
  }
}

function Legend({ look, most: of }: { look: Look; most: number }) {
  return (
    <div class="legend">
      {look === "em" && <><span>0 %</span><span class="ramp" aria-hidden="true" /><span>100 %</span></>}
      {look === "coverage" && <><span>0</span><span class="ramp" aria-hidden="true" /><span>{formatNumber(of)} examples</span></>}
      {(look === "previous" || look === "best") && (
        <><span>−50 points</span><span class="ramp two-sided" aria-hidden="true" /><span>+50 points</span></>
      )}
      <span class="entry"><span class="swatch unknown" aria-hidden="true" />too few examples to know</span>
      <span class="entry"><span class="swatch none" aria-hidden="true" />no example</span>
    </div>
  );
}

function most(matrix: BucketMatrix): number {
  return Math.max(1, ...matrix.cells.map(({ seen }) => seen));
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
