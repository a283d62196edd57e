import { LineChartView, type Line, type Ring } from "../chart";
import { toNumber } from "../fold";
import {
  formatChange, formatInterval, formatNumber, formatNames, formatPercent, formatPercentTick,
  formatSeconds, formatValue,
} from "../format";
import { Empty, Fact, type Panel, type PanelProps } from "../panel";
import type { EvalResult } from "../records";
import type { FixedEval, Flips, Snapshot } from "../snapshot";

const SIGNS: Record<FixedEval["em_trend"], string> = {
  improving: "↗", plateau: "→", regressing: "↘", inconclusive: "?",
};

/** Past this many evaluations dots would touch and hide the line. */
const MOST_DOTS = 40;

function FixedEvalPanel({ view }: PanelProps) {
  const { snapshot } = view;
  const last = snapshot.fixed_eval;
  if (!isEvaluated(last)) return <Empty>{whyEmpty(snapshot)}</Empty>;
  const steps = snapshot.evals.map((result) => result.step);
  const line = (name: string, colour: string, value: (result: EvalResult) => number): Line => ({
    name, colour, series: { steps, values: snapshot.evals.map(value) }, width: 2,
    dots: steps.length <= MOST_DOTS,
  });
  const em: Line = {
    ...line("EM", "--series-1", (result) => toNumber(result.em)),
    intervals: snapshot.evals.map((r) => [toNumber(r.em_low), toNumber(r.em_high)] as const),
    format: formatPercent,
  };
  const ce = line("CE", "--series-2", (result) => toNumber(result.ce));
  const ece = line("ECE", "--series-3", (result) => toNumber(result.ece));
  const expected: Line = {
    ...line("if perfect", "--raw", (result) => toNumber(result.ece_null)), dots: false, dashed: true,
    width: 1.5,
  };
  return (
    <>
      <Facts last={last} snapshot={snapshot} />
      <p class="axis-title">exact match with its 95 % interval, by step</p>
      <LineChartView
        lines={[em]} rings={bestRing(snapshot)} height={200} axisFormat={formatPercentTick}
        summary={`Exact match at ${steps.length} evaluations; latest ${formatPercent(last.em)}, 95 % interval ${formatInterval(last.em_low, last.em_high)}, n ${last.n}.`}
      />
      <div class="pair">
        <div>
          <p class="axis-title">cross-entropy, nats per token</p>
          <LineChartView
            lines={[ce]} height={120} summary={`Held-out cross-entropy; latest ${formatNumber(last.ce)} nats.`}
          />
        </div>
        <div>
          <p class="axis-title">calibration error (ECE); dashed: if perfect</p>
          <LineChartView
            lines={[ece, expected]} height={120}
            summary={`Expected calibration error; latest ${formatNumber(last.ece)}, ${formatNumber(last.ece_null)} would be expected of perfect calibration.`}
          />
        </div>
      </div>
      <FlipList flips={snapshot.flips} />
      <p class="small-print">
        {formatNumber(last.n)} examples, {formatNumber(last.tokens)} response tokens, scored
        in {formatSeconds(toNumber(last.seconds))}. {exactness(snapshot)} A change of {formatChange(last.detectable).slice(1)} is
        the smallest this set would show.
        {last.non_finite > 0 && ` ${formatNumber(last.non_finite)} examples gave NaN or infinity and count as wrong.`}
      </p>
    </>
  );
}

function Facts({ last, snapshot }: { last: FixedEval; snapshot: Snapshot }) {
  const saved = snapshot.checkpoints.length > 0;
  return (
    <dl class="facts facts-three">
      <Fact
        label="Exact match (EM)" value={formatPercent(last.em)}
        note={`${formatInterval(last.em_low, last.em_high)} · ${formatNumber(last.correct)} of ${formatNumber(last.n)}`}
      />
      <Fact
        label="Trend"
        value={<><span aria-hidden="true">{SIGNS[last.em_trend]} </span>{last.em_trend}</>}
        note={snapshot.evals.length < 2 ? "first evaluation"
          : `${formatChange(last.em_change)} since step ${formatNumber(last.em_reference)} (${formatChange(last.em_change_low)} to ${formatChange(last.em_change_high)})`}
      />
      <Fact
        label="Best checkpoint" value={last.best_ckpt ?? "–"}
        note={last.best_ckpt === null ? (saved ? "none was evaluated yet" : "none is saved yet")
          : tied(last) || "no other is tied with it"}
      />
      <Fact label="Cross-entropy (CE)" value={formatValue(last.ce, "nats")} note={`${formatNumber(last.ce_low)}–${formatNumber(last.ce_high)} · per response token`} />
      <Fact
        label="Calibration error (ECE)" value={formatNumber(last.ece)}
        note={last.ece_rise ? "▲ risen by more than 20 % over its best"
          : `${formatNumber(last.ece_low)}–${formatNumber(last.ece_high)} · ${formatNumber(last.ece_null)} if perfect`}
      />
      <Fact label="Token accuracy" value={formatPercent(last.token_accuracy)} note={`of ${formatNumber(last.tokens)} tokens`} />
    </dl>
  );
}

/** Examples that went from right to wrong, by the line they stand on in the set's file. */
function FlipList({ flips }: { flips: Partial<Flips> }) {
  const { since, learned = 0, forgotten = 0, forgotten_items = [] } = flips;
  if (since === undefined || learned + forgotten === 0) return null;
  return (
    <details class="flips">
      <summary>
        {formatNumber(learned)} learned, {formatNumber(forgotten)} forgotten since
        step {formatNumber(since)}
      </summary>
      {forgotten_items.length === 0 ? <p class="small-print">None was forgotten.</p> : (
        <table>
          <thead><tr><th scope="col">forgotten, line</th><th scope="col">pattern</th><th scope="col">says now</th></tr></thead>
          <tbody>
            {forgotten_items.map((item) => (
              <tr key={item.id}>
                <td>{item.line}</td><td>{item.pattern}</td><td class="said">{item.text ?? "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </details>
  );
}

/** How exact the score is: by token, near-ties, and the check against generate. */
function exactness({ evals, fixed_eval: last }: Snapshot): string {
  const ties = last.near_ties ?? 0;
  const checked = evals.findLast((result) => result.rechecked > 0);
  const agreed = checked === undefined ? ""
    : ` Generate agreed on ${formatNumber(checked.rechecked - checked.mismatched.length)} of`
      + ` ${formatNumber(checked.rechecked)} at step ${formatNumber(checked.step)}.`;
  return `Token by token ${formatPercent(last.token_em ?? 0)} exact; ${formatNumber(ties)} near-ties.${agreed}`;
}

function tied(last: FixedEval): string {
  const others = last.tied.filter((name) => name !== last.best_ckpt);
  return others.length > 0 ? `tied with ${formatNames(others)}` : "";
}

/** A ring around the evaluation of the best checkpoint, found by the step it was saved at. */
function bestRing(snapshot: Snapshot): Ring[] {
  const best = snapshot.fixed_eval.best_ckpt;
  const saved = snapshot.checkpoints.find(({ path }) => path === best || path.endsWith(`/${best}`));
  const result = snapshot.evals.find(({ step }) => step === saved?.step);
  if (result === undefined) return [];
  return [{ step: result.step, value: toNumber(result.em), label: "best" }];
}

function isEvaluated(held: Partial<FixedEval>): held is FixedEval {
  return held.em !== undefined;
}

function whyEmpty(snapshot: Snapshot): string {
  if (snapshot.run === null) return "No evaluation, because the run has not started yet.";
  if (snapshot.run.eval_set === null) {
    return "No evaluation, because this run was given no fixed set. Without held-out examples "
      + "only the training loss is known, and it cannot tell learning from memorising.";
  }
  return `No evaluation yet. The fixed set holds ${formatNumber(snapshot.run.eval_set.n)} examples.`;
}

export const panel: Panel = {
  id: "fixed-eval",
  title: "Fixed Eval",
  order: 2,
  component: FixedEvalPanel,
  gist: ({ snapshot: { fixed_eval: held } }) => held.em === undefined ? ""
    : `EM ${formatPercent(held.em)} (${formatInterval(held.em_low, held.em_high)}, n ${formatNumber(held.n)})`,
};
