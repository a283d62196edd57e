import { formatMoment, formatNumber, formatTime } from "../format";
import { Empty, type Panel, type PanelProps } from "../panel";

function Log({ view }: PanelProps) {
  const { notes } = view.snapshot;
  if (notes.length === 0) return <Empty>No notes, because the run has had nothing to say beside its numbers.</Empty>;
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="Notes of the run" data-data="Log">
      <table class="plain-table log">
        <thead><tr><th scope="col" class="left">time</th><th scope="col">step</th><th scope="col" class="left">topic</th><th scope="col" class="left">note</th></tr></thead>
        <tbody>
          {notes.toReversed().map(({ time, step, topic, text }, i) => (
            <tr key={notes.length - i}>
              <td class="left when" data-value={String(time)} title={formatTime(time)}>{formatMoment(time)}</td>
              <td data-value={step}>{formatNumber(step)}</td>
              <td class="left"><b>{topic}</b></td>
              <td class="left said">{text || "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export const panel: Panel = {
  id: "log",
  title: "Log",
  order: 8,
  component: Log,
  wide: true,
  startsCollapsed: true,
  gist: ({ snapshot: { notes } }) => {
    const last = notes.at(-1);
    return last === undefined ? "no notes" : `${notes.length} ${notes.length === 1 ? "note" : "notes"}, last: ${last.topic}`;
  },
};
