/** What a busy reader needs first: which run, how far, what to do, and the numbers behind it. */

import { useEffect, useState } from "preact/hooks";
import { address } from "./api";
import type { RunView } from "./fold";
import { toNumber } from "./fold";
import {
  formatDuration, formatExact, formatInterval, formatLeft, formatNames, formatNumber, formatPercent, formatValue,
} from "./format";
import { Fact, type FactProps } from "./panel";
import type { Snapshot } from "./snapshot";
import { besideTrend, isLeft, isOpen, metric } from "./read";

/** A running run silent for longer than this is pointed out; evaluations may take minutes. */
const QUIET_SECONDS = 120;

export function Headline({ view }: { view: RunView }) {
  const { snapshot } = view;
  const run = snapshot.run;
  return (
    <section class="headline" aria-label="Summary">
      <div class="run-line">
        <h1>{view.id}</h1>
        {run && <span class="model">{run.model}</span>}
      </div>
      <Progress view={view} />
      <Decision view={view} />
      <Numbers snapshot={snapshot} />
    </section>
  );
}

function Progress({ view }: { view: RunView }) {
  const { snapshot } = view;
  const total = snapshot.run?.total_steps ?? 0;
  return (
    <div class="progress-line">
      <span class={`state state-${snapshot.state}`}>{snapshot.state}</span>
      <span>
        step <b>{formatNumber(snapshot.step)}</b>
        {total > 0 && ` of ${formatNumber(total)}`}
      </span>
      {total > 0 && (
        <progress max={total} value={Math.min(snapshot.step, total)} aria-label="Steps done" />
      )}
      {isLeft(snapshot) && <span>{formatLeft(snapshot.throughput.eta_seconds)}</span>}
      <Age view={view} />
    </div>
  );
}

/** How old the newest record is, by the server's clock, counting on between events. */
function Age({ view }: { view: RunView }) {
  const [received, setReceived] = useState(() => performance.now());
  const [now, setNow] = useState(received);
  useEffect(() => {
    const arrived = performance.now();
    setReceived(arrived);
    setNow(arrived);
  }, [view.now]);
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const { state, time } = view.snapshot;
  const age = view.now - toNumber(time) + (now - received) / 1000;
  if (!Number.isFinite(age) || toNumber(time) <= 0) return null;
  if (state === "finished" || state === "failed" || state === "interrupted") {
    return <span class="age">{state} {formatDuration(age)} ago</span>;
  }
  const quiet = age > QUIET_SECONDS;
  return (
    <span class={quiet ? "age age-quiet" : "age"}>
      {quiet ? "silent: " : ""}last record {formatDuration(age)} ago
    </span>
  );
}

function Decision({ view }: { view: RunView }) {
  const { snapshot } = view;
  const { decision, advice, fixed_eval: held } = snapshot;
  const open = snapshot.alerts.filter(isOpen).length;
  const others = (decision?.tied ?? []).filter((name) => name !== decision?.checkpoint);
  const lead = sentence(decision);
  return (
    <div class="decision">
      <p class={`verdict verdict-${isFault(decision) ? "roll-back" : decision?.action ?? "unknown"}`}>
        {lead && <strong>{lead} </strong>}
        {decision ? capital(decision.reason)
          : "The first verdict comes with the first evaluation on the held-out set."}
      </p>
      {decision && (
        <p class="decision-note">
          Judged at step {formatNumber(decision.step)}
          {decision.checkpoint !== null && held.em !== undefined && (others.length > 0
            ? ` · tied with ${formatNames(others)}` : " · no other checkpoint is tied with it")}
          {" · "}
          <a href="#panel-alerts" onClick={jump}>
            {open === 0 ? "no open alerts" : open === 1 ? "1 open alert" : `${open} open alerts`}
          </a>
        </p>
      )}
      {advice.length > 0 && (
        <ul class="advice">
          {advice.map((item) => (
            <li key={item.topic + item.message}><b>{TOPICS[item.topic] ?? item.topic}</b> {item.message}</li>
          ))}
        </ul>
      )}
      <RowsToLookAt view={view} />
    </div>
  );
}

const TOPICS: Readonly<Record<string, string>> = {
  data: "next data", coverage: "not measured", labels: "check the labels",
};

/** What stopping saves and what the steps since the checkpoint cost, where the decision says so. */
function budget(evidence: Record<string, unknown>): FactProps[] {
  const steps = (key: string) => typeof evidence[key] === "number" ? evidence[key] as number : 0;
  const [saved, wasted, unknown] = [steps("steps_saved"), steps("steps_wasted"), steps("steps_unknown")];
  return [
    ...(saved > 0 ? [{
      label: "Stopping now saves", value: `${formatNumber(saved)} steps`, note: `of ${formatNumber(steps("total_steps"))}`,
    }] : []),
    ...(wasted > 0 ? [{
      label: "Without measurable gain", value: `${formatNumber(wasted)} steps`,
      note: `from step ${formatNumber(steps("best_step"))} to ${formatNumber(steps("last_step"))}, of ${formatNumber(steps("steps_made"))} made`,
    }] : []),
    ...(unknown > 0 ? [{
      label: "Not evaluated", value: `${formatNumber(unknown)} steps`, note: `since step ${formatNumber(steps("last_step"))}`,
    }] : []),
  ];
}

/** The rows worth a look before the next run, as a file. */
function RowsToLookAt({ view }: { view: RunView }) {
  const kinds = Object.entries(view.snapshot.look_at);
  const file = view.exports.find(({ name }) => name === "rows");
  if (kinds.length === 0 || file === undefined) return null;
  const total = kinds.reduce((sum, [, n]) => sum + n, 0);
  return (
    <p class="look-at">
      <a download="" href={address(`api/runs/${encodeURIComponent(view.id)}/export.${file.suffix}`)}>
        {formatNumber(total)} {total === 1 ? "row" : "rows"} to look at
      </a>
      {" "}before the next run: {kinds.map(([kind, n]) => `${formatNumber(n)} ${kind}`).join(", ")} (JSON Lines)
    </p>
  );
}

/** A link of this page; its address must not be taken relative to <base>. */
function jump(event: MouseEvent): void {
  event.preventDefault();
  document.querySelector("#panel-alerts")?.scrollIntoView({ block: "start" });
  document.querySelector<HTMLElement>("#panel-alerts button")?.focus({ preventScroll: true });
}

function sentence(decision: Snapshot["decision"]): string {
  const checkpoint = decision?.checkpoint;
  switch (decision?.action) {
    case "stop":
      return checkpoint ? `Stop training. Use ${checkpoint}.` : "Stop training.";
    case "roll-back":
      return checkpoint ? `Roll back to ${checkpoint}.` : "Roll back.";
    case "continue":
      return checkpoint ? `Continue. Best so far: ${checkpoint}.` : "Continue.";
    case "resume":
      return checkpoint ? `Resume the training. Best so far: ${checkpoint}.` : "Resume the training.";
    case "look":
      return checkpoint ? `Look at the trainer. Best so far: ${checkpoint}.` : "Look at the trainer.";
    case "none":
      return isFault(decision) ? "Do not use this run." : checkpoint ? `Use ${checkpoint}.` : "";
    default:
      return "No verdict yet.";
  }
}

/** Whether a run that has ended is not to be used. */
function isFault(decision: Snapshot["decision"]): boolean {
  return decision?.action === "none" && decision.evidence["fault"] === true;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function Numbers({ snapshot }: { snapshot: Snapshot }) {
  const { fixed_eval: held, throughput } = snapshot;
  const streaming = metric(snapshot, "loss/streaming");
  return (
    <dl class="facts facts-headline">
      <Fact
        label="Exact match, held out" value={formatPercent(held.em)} exact={formatExact(held.em)}
        note={held.em === undefined ? "not evaluated yet"
          : `${formatInterval(held.em_low, held.em_high)} · n ${formatNumber(held.n)}`}
      />
      <Fact
        label="Trend" value={held.em_trend ?? "–"}
        note={held.em_trend === undefined ? "needs two evaluations" : besideTrend(held)}
      />
      <Fact
        label="Calibration error" value={formatNumber(held.ece)} exact={formatExact(held.ece)}
        note={held.ece === undefined ? "not evaluated yet"
          : [held.calibration, held.ece_rise ? "risen by more than 20 %" : `${formatNumber(held.ece_null)} if perfect`].filter(Boolean).join(" · ")}
      />
      <Fact
        label={streaming.title} value={formatValue(snapshot.streaming_ce, streaming.unit)}
        exact={formatExact(snapshot.streaming_ce, streaming.unit)}
        note={snapshot.streaming_course || "training, smoothed"}
      />
      <Fact
        label="Speed" value={formatNumber(throughput.tokens_per_sec)} note="tokens per second"
        exact={formatExact(throughput.tokens_per_sec, "tokens/s")}
      />
      {budget(snapshot.decision?.evidence ?? {}).map((fact) => <Fact key={fact.label} {...fact} />)}
    </dl>
  );
}
