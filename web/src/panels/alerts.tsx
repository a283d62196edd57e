import { formatAny, formatNumber, words } from "../format";
import { Empty, Fold, type Panel, type PanelProps } from "../panel";
import { isOpen } from "../read";
import type { Alert, Snapshot } from "../snapshot";

const SIGNS: Record<Alert["level"], string> = { critical: "⬣", error: "◆", warning: "▲", info: "●" };

function Alerts({ view }: PanelProps) {
  const { alerts, not_checked: notChecked } = view.snapshot;
  const open = alerts.filter(isOpen);
  const rest = alerts.filter((alert) => !isOpen(alert));
  return (
    <>
      {open.length === 0 && <NothingOpen snapshot={view.snapshot} />}
      <ul class="alerts" aria-live="polite">
        {open.map((alert) => <Card key={`${alert.rule} ${alert.scope}`} alert={alert} />)}
      </ul>
      {rest.length > 0 && (
        <Fold id="alerts-past" title={`Not open now (${rest.length})`}>
          <ul class="alerts">
            {rest.map((alert) => <Card key={`${alert.rule} ${alert.scope}`} alert={alert} />)}
          </ul>
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

function Card({ alert }: { alert: Alert }) {
  const evidence = Object.entries(alert.evidence);
  return (
    <li class={`alert level-${alert.level} ${isOpen(alert) ? "" : "alert-past"}`}>
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
            <div key={key}><dt>{words(key)}</dt><dd>{formatAny(value)}</dd></div>
          ))}
        </dl>
      )}
    </li>
  );
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
