import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { SharedAxis, useCursor, useRestingRange } from "../axis";
import { LineChartView } from "../chart";
import { before, type RunView, type Series } from "../fold";
import { formatExact, formatValue } from "../format";
import { Empty, Segments, type Panel, type PanelProps } from "../panel";
import { exporting } from "../marks";
import { metric } from "../read";
import { useRemembered } from "../remember";
import { Spark } from "../spark";

const FORMS = ["list", "charts"] as const;
const CHOICES = FORMS.map((id) => ({ id, title: id }));

function Signals({ view, drawn }: PanelProps) {
  const list = useRef<HTMLUListElement>(null);
  const names = others(view, drawn);
  // A run whose curves are all its own has them drawn large; beside the known ones they are a list.
  const [shown, choose] = useRemembered("signals-as", FORMS, drawn.size > 0 ? "list" : "charts");
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
    <>
      <Segments name="signals-as" legend="How these signals are shown" choices={CHOICES} chosen={shown} choose={choose} />
      {shown === "charts" ? <Charts view={view} names={names} /> : (
        <ul class="signals" ref={list} data-picture="Other signals" data-data="Other signals">
          {names.map((name) => <Row key={name} view={view} name={name} />)}
        </ul>
      )}
    </>
  );
}

function Row({ view, name }: { view: RunView; name: string }) {
  const { title, unit, help } = metric(view.snapshot, name);
  const series = view.series[name] as Series;
  const says = help || name;
  return (
    <li>
      <span class="signal-name">{title}{says !== title && <span class="signal-help">{says}</span>}</span>
      <Curve series={series} label={`${title} by step; latest ${formatValue(series.values.at(-1), unit)}`} />
      <Latest series={series} unit={unit} />
    </li>
  );
}

function Charts({ view, names }: { view: RunView; names: readonly string[] }) {
  return (
    <div class="charts">
      {names.map((name) => {
        const { title, unit } = metric(view.snapshot, name);
        const series = view.series[name] as Series;
        const format = (value: number) => formatValue(value, unit);
        return (
          <LineChartView
            key={name} title={title} height={130} lines={[{ name: title, series, colour: "--series-1", width: 1.5, unit, format }]}
            summary={`${title} by step; latest ${format(series.values.at(-1) ?? NaN)}.`}
          />
        );
      })}
    </div>
  );
}

/** A curve that follows the range of the charts; out of sight it waits for a gesture to end. */
function Curve({ series, label }: { series: Series; label: string }) {
  const axis = useContext(SharedAxis);
  const box = useRef<HTMLSpanElement>(null);
  const seen = useRef(true);
  const resting = useRestingRange();
  const [range, set] = useState(axis.range);
  useEffect(() => {
    const watched = new IntersectionObserver(([entry]) => {
      seen.current = entry?.isIntersecting ?? true;
      set(axis.range);
    });
    watched.observe(box.current as HTMLElement);
    const off = axis.on((what) => { if (what === "range" && seen.current) set(axis.range); });
    return () => {
      watched.disconnect();
      off();
    };
  }, [axis]);
  return <span ref={box}><Spark series={series} label={label} range={seen.current ? range : resting} /></span>;
}

/** The value at the cursor of the charts, else the latest. */
function Latest({ series: { steps, values }, unit }: { series: Series; unit: string }) {
  const cursor = useCursor();
  const i = cursor === null ? values.length - 1 : before(steps, cursor + 1) - 1;
  return <span class="signal-value" title={formatExact(values[i], unit)}>{formatValue(values[i], unit)}</span>;
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
