import type { RunView, Series } from "../fold";
import { formatValue } from "../format";
import { Empty, type Panel, type PanelProps } from "../panel";
import { metric } from "../read";
import { Spark } from "../spark";

function Signals({ view, drawn }: PanelProps) {
  const names = others(view, drawn);
  if (names.length === 0) {
    return (
      <Empty>
        {Object.keys(view.series).length === 0 ? "No signals, because no step has been recorded yet."
          : "No other signals: every one recorded is drawn above."}
      </Empty>
    );
  }
  return (
    <ul class="signals">
      {names.map((name) => {
        const { title, unit, help } = metric(view.snapshot, name);
        const series = view.series[name] as Series;
        const last = formatValue(series.values.at(-1), unit);
        return (
          <li key={name}>
            <span class="signal-name">{title}<span class="signal-help">{help || name}</span></span>
            <Spark series={series} label={`${title} by step; latest ${last}`} />
            <span class="signal-value">{last}</span>
          </li>
        );
      })}
    </ul>
  );
}

/** Every metric recorded over steps that no other panel draws, by name. */
function others(view: RunView, drawn: ReadonlySet<string>): string[] {
  return Object.keys(view.series).filter((name) => !drawn.has(name)).sort();
}

export const panel: Panel = {
  id: "signals",
  title: "Other Signals",
  order: 7,
  component: Signals,
  wide: true,
  gist: (view, drawn) => `${others(view, drawn).length} recorded`,
};
