import { useEffect, useRef } from "preact/hooks";
import { useCursor, useRange } from "../axis";
import { before, cut, type RunView, type Series } from "../fold";
import { formatValue } from "../format";
import { Empty, type Panel, type PanelProps } from "../panel";
import { exporting } from "../marks";
import { metric } from "../read";
import { Spark } from "../spark";

function Signals({ view, drawn }: PanelProps) {
  const range = useRange();
  const list = useRef<HTMLUListElement>(null);
  const names = others(view, drawn);
  useEffect(() => list.current ? exporting(list.current, {
    table: () => ({
      columns: ["name", "title", "unit", "step", "latest"],
      rows: names.map((name) => {
        const { title, unit } = metric(view.snapshot, name);
        const { steps, values } = view.series[name] as Series;
        return [name, title, unit, steps.at(-1) ?? null, values.at(-1) ?? null];
      }),
    }),
  }) : undefined);
  if (names.length === 0) {
    return (
      <Empty>
        {Object.keys(view.series).length === 0 ? "No signals, because no step has been recorded yet."
          : "No other signals: every one recorded is drawn above."}
      </Empty>
    );
  }
  return (
    <ul class="signals" ref={list} data-picture="Other signals" data-data="Other signals">
      {names.map((name) => {
        const { title, unit, help } = metric(view.snapshot, name);
        const series = view.series[name] as Series;
        const shown = range ? cut(series, range.first, range.last) : series;
        return (
          <li key={name}>
            <span class="signal-name">{title}<span class="signal-help">{help || name}</span></span>
            <Spark series={shown} label={`${title} by step; latest ${formatValue(series.values.at(-1), unit)}`} />
            <Latest series={series} unit={unit} />
          </li>
        );
      })}
    </ul>
  );
}

/** The value at the cursor of the charts, else the latest. */
function Latest({ series: { steps, values }, unit }: { series: Series; unit: string }) {
  const cursor = useCursor();
  const i = cursor === null ? values.length - 1 : before(steps, cursor + 1) - 1;
  return <span class="signal-value">{formatValue(values[i], unit)}</span>;
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
