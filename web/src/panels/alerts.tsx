import { useState } from "preact/hooks";
import { SIGNS } from "../events";
import { formatAny, formatMoment, formatNumber, formatTime, words } from "../format";
import { Empty, Fold, type Panel, type PanelProps } from "../panel";
import { isOpen } from "../read";
import type { Float } from "../records";
import { forget, keep, recall } from "../remember";
import type { Alert, AlertThread, Snapshot } from "../snapshot";

function Alerts({ view }: PanelProps) {
  const { alerts, alert_history: history, not_checked: notChecked } = view.snapshot;
  const open = alerts.filter(isOpen);
  const pending = alerts.filter(({ state }) => state === "pending");
  return (
    <>
      {open.length === 0 && <NothingOpen snapshot={view.snapshot} />}
      <ul class="alerts" aria-live="polite">
        {open.map((alert) => <Card key={`${alert.rule} ${alert.scope}`} alert={alert} run={view.id} />)}
        {pending.map((alert) => <Card key={`${alert.rule} ${alert.scope}`} alert={alert} run={view.id} />)}
      </ul>
      {history.length > 0 && (
        <Fold id="alerts-history" title={`History (${history.length})`}>
          <div data-data="Alert history">
            <History threads={history} />
          </div>
        </Fold>
      )}
      {notChecked.length > 0 && (
        <Fold
          id="alerts-not-checked" title={`Not checked (${notChecked.length})`}
          startsOpen={open.length === 0}
        >
          <dl class="not-checked">
            {notChecked.map(({ rule, reason }) => (
              <div key={rule}><dt>{rule}</dt><dd>{reason}</dd></div>
            ))}
          </dl>
        </Fold>
      )}
    </>
  );
}

function NothingOpen({ snapshot }: { snapshot: Snapshot }) {
  if (snapshot.state === "starting") {
    return <Empty>No alerts, because nothing has been recorded yet.</Empty>;
  }
  return <p class="all-clear"><span aria-hidden="true">✓ </span>No open alerts at step {formatNumber(snapshot.step)}.</p>;
}

/** Evidence that is a point in time, in Unix seconds. */
const TIMES: ReadonlySet<string> = new Set(["last_record", "time"]);

function Card({ alert, run }: { alert: Alert; run: string }) {
  const [seen, setSeen] = useSeen(run, alert);
  const evidence = Object.entries(alert.evidence);
  return (
    <li class={`alert level-${alert.level}${isOpen(alert) && seen === null ? "" : " alert-past"}`}>
      <p class="alert-head">
        <span class="level"><span aria-hidden="true">{SIGNS[alert.level]} </span>{alert.level}</span>
        <b>{alert.rule}</b>
        {alert.scope && <span class="scope">{alert.scope}</span>}
        <span class="alert-state">{alert.state} at step {formatNumber(alert.step)}</span>
      </p>
      <p class="alert-message">{alert.message}</p>
      <p class="alert-action"><span class="label">What to do</span> {alert.action}</p>
      {evidence.length > 0 && (
        <dl class="evidence" aria-label="Evidence">
          {evidence.map(([key, value]) => (
            <div key={key}><dt>{words(key)}</dt><dd>{TIMES.has(key) ? formatTime(value as Float) : formatAny(value)}</dd></div>
          ))}
        </dl>
      )}
      {isOpen(alert) && (
        <p class="acknowledge">
          {seen === null ? (
            <button
              type="button" class="button small" onClick={() => setSeen(Date.now() / 1000)}
              aria-label={`Acknowledge ${alert.rule}${alert.scope ? ` ${alert.scope}` : ""}`}
            >
              Acknowledge
            </button>
          ) : (
            <>
              <span><span aria-hidden="true">✓ </span>acknowledged {formatTime(seen)}, in this browser only; it is still open</span>
              <button type="button" class="button small" onClick={() => setSeen(null)}>Undo</button>
            </>
          )}
        </p>
      )}
    </li>
  );
}

/** When this opening of the alert was acknowledged here; one that escalates asks again. */
function useSeen(run: string, { rule, scope, state, step }: Alert): [number | null, (time: number | null) => void] {
  const key = `seen:${run}:${rule}:${scope}:${state}:${step}`;
  const [, redraw] = useState(0);
  const stored = Number(recall(key));
  return [stored > 0 ? stored : null, (time) => {
    if (time === null) forget(key);
    else keep(key, String(time));
    redraw((n) => n + 1);
  }];
}

/** Each alert with all it went through, the one that changed last on top. */
function History({ threads }: { threads: readonly AlertThread[] }) {
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="History of the alerts">
      <table class="plain-table history">
        <thead><tr><th scope="col" class="left">alert</th><th scope="col" class="left">state</th><th scope="col">step</th><th scope="col">time</th><th scope="col" class="left">message</th></tr></thead>
        <tbody>
          {threads.flatMap(({ rule, scope, changes }) => changes.map((change, i) => (
            <tr key={`${rule} ${scope} ${i}`} class={i === 0 ? "first-of" : ""}>
              <th scope="row" class="left">
                {i === 0 ? <>{rule}{scope && <span class="scope">{scope}</span>}</> : <span class="unseen">{rule} {scope}</span>}
              </th>
              <td class="left"><span class={`change level-${change.level} state-of-${change.state}`}><span aria-hidden="true">{sign(change)} </span>{change.state}</span></td>
              <td data-value={change.step}>{formatNumber(change.step)}</td>
              <td class="when" data-value={String(change.time)} title={formatTime(change.time)}>{formatMoment(change.time)}</td>
              <td class="left">{i > 0 && change.message === changes[i - 1]?.message ? <span class="same">same</span> : change.message}</td>
            </tr>
          )))}
        </tbody>
      </table>
    </div>
  );
}

function sign({ state, level }: AlertThread["changes"][number]): string {
  return { open: SIGNS[level], escalated: SIGNS[level], pending: "…", resolved: "✓", closed: "✓", "no-data": "–", error: "!" }[state];
}

export const panel: Panel = {
  id: "alerts",
  title: "Smart Alerts",
  order: 4,
  component: Alerts,
  gist: ({ snapshot }) => {
    const open = snapshot.alerts.filter(isOpen).length;
    return open === 0 ? "none open" : `${open} open`;
  },
};
