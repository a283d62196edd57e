import { useEffect, useState } from "preact/hooks";
import { hasPages } from "../api";
import { SIGNS } from "../events";
import { formatAny, formatMoment, formatNumber, formatTime, words } from "../format";
import { Empty, Fold, Saved, type Panel, type PanelProps } from "../panel";
import { isOpen } from "../read";
import type { Float } from "../records";
import type { Alert, AlertThread, Snapshot } from "../snapshot";
import type { TableData } from "../tables";
import { loadAnnotations, write, type Seen } from "../write";

function Alerts({ view }: PanelProps) {
  const { alerts, alert_history: history, not_checked: notChecked } = view.snapshot;
  const open = alerts.filter(isOpen);
  const pending = alerts.filter(({ state }) => state === "pending");
  const { seen, tell, problem } = useSeen(view.id, alerts);
  return (
    <Saved name="Alerts" table={() => tableOf(alerts, seen)}>
      {open.length === 0 && <NothingOpen snapshot={view.snapshot} />}
      {problem && <p class="problem" role="alert">Not saved, because {problem}.</p>}
      <ul class="alerts" aria-live="polite">
        {open.map((alert) => (
          <Card key={nameOf(alert)} alert={alert} acknowledge={hasPages() && {
            seen: seen.find((each) => isOf(each, alert)),
            tell: (isSeen) => void tell(alert, isSeen),
          }} />
        ))}
        {pending.map((alert) => <Card key={nameOf(alert)} alert={alert} acknowledge={false} />)}
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
          <Saved name="Not checked" table={() => ({ columns: ["rule", "because"], rows: notChecked.map(({ rule, reason }) => [rule, reason]) })}>
            <dl class="not-checked">
              {notChecked.map(({ rule, reason }) => (
                <div key={rule}><dt>{rule}</dt><dd>{reason}</dd></div>
              ))}
            </dl>
          </Saved>
        </Fold>
      )}
    </Saved>
  );
}

/** Every alert as it stands, and the rules that could not look are not among them. */
function tableOf(alerts: readonly Alert[], seen: readonly Seen[]): TableData {
  const time = (alert: Alert) => seen.find((each) => isOf(each, alert))?.time ?? null;
  return {
    columns: ["rule", "scope", "level", "state", "step", "message", "action", "evidence", "acknowledged"],
    rows: alerts.map((alert) => [
      alert.rule, alert.scope, alert.level, alert.state, alert.step, alert.message, alert.action, JSON.stringify(alert.evidence), time(alert),
    ]),
  };
}

function NothingOpen({ snapshot }: { snapshot: Snapshot }) {
  if (snapshot.state === "starting") {
    return <Empty>No alerts, because nothing has been recorded yet.</Empty>;
  }
  return <p class="all-clear"><span aria-hidden="true">✓ </span>No open alerts at step {formatNumber(snapshot.step)}.</p>;
}

/** Evidence that is a point in time, in Unix seconds. */
const TIMES: ReadonlySet<string> = new Set(["last_record", "time"]);

interface Acknowledge {
  /** By whom it was seen is not known, only that somebody said so. */
  seen: Seen | undefined;
  tell: (isSeen: boolean) => void;
}

function Card({ alert, acknowledge }: { alert: Alert; acknowledge: Acknowledge | false }) {
  const evidence = Object.entries(alert.evidence);
  const isFresh = isOpen(alert) && !(acknowledge && acknowledge.seen);
  return (
    <li class={`alert level-${alert.level}${isFresh ? "" : " alert-past"}`}>
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
          <div><dt>as of step</dt><dd>{formatNumber(alert.step)}</dd></div>
          {evidence.map(([key, value]) => (
            <div key={key}><dt>{words(key)}</dt><dd>{TIMES.has(key) ? formatTime(value as Float) : formatAny(value)}</dd></div>
          ))}
        </dl>
      )}
      {acknowledge && <Acknowledged alert={alert} {...acknowledge} />}
    </li>
  );
}

function Acknowledged({ alert, seen, tell }: { alert: Alert } & Acknowledge) {
  const name = `${alert.rule}${alert.scope ? ` ${alert.scope}` : ""}`;
  return (
    <p class="acknowledge">
      {seen === undefined ? (
        <button type="button" class="button small" onClick={() => tell(true)} aria-label={`Acknowledge ${name}`}>Acknowledge</button>
      ) : (
        <>
          <span><span aria-hidden="true">✓ </span>acknowledged by hand at {formatTime(seen.time)}; it is still open</span>
          <button type="button" class="button small" onClick={() => tell(false)} aria-label={`Withdraw the acknowledgement of ${name}`}>Withdraw</button>
        </>
      )}
    </p>
  );
}

/**
 * Which openings somebody acknowledged: asked for again whenever the alerts may have changed, and the
 * server loads a page anew when anybody says something.
 */
function useSeen(run: string, alerts: readonly Alert[]) {
  const [seen, set] = useState<readonly Seen[]>([]);
  const [problem, setProblem] = useState("");
  const wanted = hasPages() && alerts.some(isOpen);
  useEffect(() => {
    if (!wanted) return undefined;
    let stopped = false;
    loadAnnotations(run).then(
      ({ acknowledged }) => { if (!stopped) set(acknowledged); },
      () => undefined, // what is known stays; the next change asks again
    );
    return () => { stopped = true; };
  }, [run, alerts, wanted]);
  const tell = async ({ rule, scope, step }: Alert, isSeen: boolean) => {
    try {
      const { acknowledged = [] } = await write(run, { [isSeen ? "acknowledge" : "withdraw"]: { rule, scope, step } });
      set(acknowledged);
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return { seen, tell, problem };
}

/** Whether what somebody acknowledged is this opening of the alert. */
function isOf(seen: Seen, alert: Alert): boolean {
  return nameOf(seen) === nameOf(alert) && seen.step === alert.step && isOpen(alert);
}

function nameOf({ rule, scope }: Pick<Alert, "rule" | "scope">): string {
  return `${rule} ${scope}`;
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
