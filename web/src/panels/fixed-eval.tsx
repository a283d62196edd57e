import { address, hasExamples } from "../api";
import { LineChartView, type Line, type Ring } from "../chart";
import { toNumber } from "../fold";
import {
  formatChange, formatExact, formatInterval, formatNumber, formatNames, formatPercent, formatPercentTick,
  formatSeconds, formatValue,
} from "../format";
import { Empty, Fact, Fold, type Panel, type PanelProps } from "../panel";
import { besideTrend, examplesPath } from "../read";
import type { EvalResult, Float } from "../records";
import { Reliability } from "../reliability";
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
  const { evals } = snapshot;
  const names = new Map(snapshot.checkpoints.map(({ step, path }) => [step, path]));
  const steps = evals.map((result) => result.step);
  const line = (
    name: string, colour: string, value: (result: EvalResult) => Float,
    interval?: (result: EvalResult) => readonly [Float, Float],
  ): Line => ({
    name, colour, series: { steps, values: evals.map((result) => toNumber(value(result))) }, width: 2,
    dots: steps.length <= MOST_DOTS,
    ...(interval ? { intervals: evals.map((result) => interval(result).map(toNumber) as [number, number]) } : {}),
    note: (i) => [`n ${formatNumber(evals[i]?.n)}`, names.get(steps[i] as number)].filter(Boolean).join(", "),
  });
  const em: Line = {
    ...line("EM", "--series-1", ({ em }) => em, (r) => [r.em_low, r.em_high]), format: formatPercent,
  };
  const ce = line("CE", "--series-4", ({ ce }) => ce, (r) => [r.ce_low, r.ce_high]);
  const ece = line("ECE", "--series-3", (r) => r.ece, (r) => [r.ece_low, r.ece_high]);
  const { note: _, ...expected } = {
    ...line("if perfect", "--raw", (r) => r.ece_null), dots: false, dash: "dashed" as const, width: 1.5,
  };
  return (
    <>
      <Facts last={last} snapshot={snapshot} />
      <LineChartView
        title="Exact match with its 95 % interval" lines={[em]} rings={rings(snapshot)} height={200}
        axisFormat={formatPercentTick} timeline
        summary={`Exact match at ${steps.length} evaluations; latest ${formatPercent(last.em)}, 95 % interval ${formatInterval(last.em_low, last.em_high)}, n ${last.n}.`}
      />
      <div class="pair">
        <LineChartView
          title="Cross-entropy, nats per token" lines={[ce]} height={130}
          summary={`Held-out cross-entropy; latest ${formatNumber(last.ce)} nats.`}
        />
        <LineChartView
          title="Calibration error" lines={[ece, expected as Line]} height={130}
          summary={`Expected calibration error; latest ${formatNumber(last.ece)}, ${formatNumber(last.ece_null)} would be expected of perfect calibration.`}
        />
      </div>
      <Reliability last={last} />
      <FlipList flips={snapshot.flips} run={view.id} />
      <Evaluations snapshot={snapshot} />
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
        label="Exact match (EM)" value={formatPercent(last.em)} exact={formatExact(last.em)}
        note={`${formatInterval(last.em_low, last.em_high)} · ${formatNumber(last.correct)} of ${formatNumber(last.n)}`}
      />
      <Fact
        label="Trend"
        value={<><span aria-hidden="true">{SIGNS[last.em_trend]} </span>{last.em_trend}</>}
        note={snapshot.evals.length < 2 ? "first evaluation" : besideTrend(last)}
      />
      <Fact
        label="Best checkpoint" value={last.best_ckpt ?? "–"}
        note={last.best_ckpt === null ? (saved ? "none was evaluated yet" : "none is saved yet")
          : [tied(last) || "no other is tied with it", cheaper(last)].filter(Boolean).join("; ")}
      />
      <Fact label="Cross-entropy (CE)" value={formatValue(last.ce, "nats")} exact={formatExact(last.ce, "nats")} note={`${formatNumber(last.ce_low)}–${formatNumber(last.ce_high)} · per response token`} />
      <Fact
        label="Calibration error (ECE)" value={formatNumber(last.ece)} exact={formatExact(last.ece)}
        note={last.ece_rise ? "▲ risen by more than 20 % over its best"
          : `${formatNumber(last.ece_low)}–${formatNumber(last.ece_high)} · ${formatNumber(last.ece_null)} if perfect`}
      />
      <Fact label="Token accuracy" value={formatPercent(last.token_accuracy)} exact={formatExact(last.token_accuracy)} note={`of ${formatNumber(last.tokens)} tokens`} />
    </dl>
  );
}

/** Examples that went from right to wrong, by the line they stand on in the set's file. */
function FlipList({ flips, run }: { flips: Partial<Flips>; run: string }) {
  const { since, learned = 0, forgotten = 0, forgotten_items = [] } = flips;
  if (since === undefined || learned + forgotten === 0) return null;
  return (
    <Fold
      id="flips"
      title={`${formatNumber(learned)} learned, ${formatNumber(forgotten)} forgotten since step ${formatNumber(since)}`}
    >
      {forgotten_items.length === 0 ? <p class="small-print">None was forgotten.</p> : (
        <div data-data="Forgotten examples">
          <table class="plain-table">
            <thead><tr><th scope="col">forgotten, line</th><th scope="col" class="left">pattern</th><th scope="col" class="left">says now</th></tr></thead>
            <tbody>
              {forgotten_items.map((item) => (
                <tr key={item.id}>
                  <td data-value={item.line}>{item.line}</td><td class="left">{item.pattern}</td><td class="left said">{item.text ?? "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {hasExamples() && <p class="small-print"><a href={address(examplesPath(run))}>See every example</a></p>}
    </Fold>
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

function cheaper({ cheaper_ckpt: name, cheaper_within: within }: FixedEval): string {
  return name === null ? "" : `${name} is cheaper, within ${(100 * toNumber(within ?? 0)).toFixed(1)} points`;
}

/** Rings around the evaluations of the tied checkpoints, the recommended one named. */
function rings({ decision, fixed_eval: held, checkpoints, evals }: Snapshot): Ring[] {
  const chosen = decision?.checkpoint ?? held.best_ckpt;
  const wanted = new Set([...(held.tied ?? []), ...(chosen ? [chosen] : [])]);
  return checkpoints.filter(({ path }) => wanted.has(path)).flatMap(({ path, step }) => {
    const result = evals.find((each) => each.step === step);
    if (result === undefined) return [];
    const ring = { step, value: toNumber(result.em) };
    return [path === chosen ? { ...ring, label: "use this" } : { ...ring, label: "tied", minor: true }];
  });
}

/** Every evaluation with its numbers: what the charts show, to read and to save. */
function Evaluations({ snapshot: { evals, checkpoints, decision, fixed_eval: held } }: { snapshot: Snapshot }) {
  const chosen = decision?.checkpoint ?? held.best_ckpt;
  const told = (step: number) => {
    const path = checkpoints.find((saved) => saved.step === step)?.path;
    if (path === undefined) return "not saved";
    return path === chosen ? `★ ${path}, recommended` : held.tied?.includes(path) ? `◇ ${path}, tied` : path;
  };
  return (
    <Fold id="evaluations" title={`All evaluations (${formatNumber(evals.length)})`}>
      <div class="scroll tall" tabIndex={0} role="region" aria-label="All evaluations" data-data="Evaluations">
        <table class="plain-table">
          <thead>
            <tr>
              <th scope="col">step</th><th scope="col">EM</th><th scope="col">EM low</th><th scope="col">EM high</th>
              <th scope="col">n</th><th scope="col">CE, nats</th><th scope="col">ECE</th><th scope="col">checkpoint</th>
            </tr>
          </thead>
          <tbody>
            {evals.toReversed().map((each) => (
              <tr key={each.step}>
                <th scope="row" data-value={each.step}>{formatNumber(each.step)}</th>
                <td data-value={String(each.em)} title={formatExact(each.em)}>{formatPercent(each.em)}</td>
                <td data-value={String(each.em_low)} title={formatExact(each.em_low)}>{formatPercent(each.em_low)}</td>
                <td data-value={String(each.em_high)} title={formatExact(each.em_high)}>{formatPercent(each.em_high)}</td>
                <td data-value={each.n}>{formatNumber(each.n)}</td>
                <td data-value={String(each.ce)} title={formatExact(each.ce, "nats")}>{formatNumber(each.ce)}</td>
                <td data-value={String(each.ece)} title={formatExact(each.ece)}>{formatNumber(each.ece)}</td>
                <td class="left">{told(each.step)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Fold>
  );
}

function isEvaluated(held: Partial<FixedEval>): held is FixedEval {
  return held.em !== undefined;
}

function whyEmpty(snapshot: Snapshot): string {
  if (snapshot.run === null) return "No evaluation, because the run has not started yet.";
  const scope = snapshot.notes.findLast(({ topic }) => topic === "scope");
  if (scope) return scope.text;
  if (snapshot.run.eval_set === null) {
    return "No evaluation, because this run was given no fixed set. Without held-out examples "
      + "only the training loss is known, and it cannot tell learning from memorising.";
  }
  return `No evaluation, because the first has not been made yet. The fixed set holds ${formatNumber(snapshot.run.eval_set.n)} examples.`;
}

export const panel: Panel = {
  id: "fixed-eval",
  title: "Fixed Eval",
  order: 2,
  component: FixedEvalPanel,
  gist: ({ snapshot: { fixed_eval: held } }) => held.em === undefined ? ""
    : `EM ${formatPercent(held.em)} (${formatInterval(held.em_low, held.em_high)}, n ${formatNumber(held.n)})`,
};
