/**
 * Lines over steps on a canvas (ECharts core), with the page's shared cursor and range laid over it.
 * Text goes to the canvas as text, never as markup.
 */

import type { ECharts } from "echarts/core";
import type { ComponentChildren } from "preact";
import { useContext, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { SharedAxis, useRange } from "./axis";
import { draw, option, place, type Plot } from "./draw";
import { EventStrip, Events, isAlarm, StripKey } from "./events";
import { gaps, type Gap } from "./fold";
import { formatNumber } from "./format";
import { Glass } from "./glass";
import { Key, Readout, table, type Line, type Ring } from "./lines";
import { exporting } from "./marks";
import { Theme, useColours } from "./theme";

export type { Line, Ring };

export interface ChartProps {
  /** What is drawn and in which unit: the caption above. */
  title: string;
  lines: Line[];
  rings?: Ring[];
  /** What the picture shows, for someone who cannot see it. */
  summary: string;
  height: number;
  log?: boolean;
  axisFormat?: (value: number) => string;
  min?: number;
  max?: number;
  /** Lists the lines above, each with its value at the cursor; a line can be hidden there. */
  keyed?: boolean;
  /** Marks alerts, evaluations and checkpoints below the axis. */
  timeline?: boolean;
  /** Controls beside the caption. */
  children?: ComponentChildren;
}

export function LineChartView(props: ChartProps) {
  const axis = useContext(SharedAxis);
  const events = useContext(Events);
  const range = useRange();
  const theme = useContext(Theme);
  const colour = useColours();
  const [hidden, setHidden] = useState<readonly string[]>([]);
  const figure = useRef<HTMLElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<ECharts | null>(null);
  const [plot, setPlot] = useState<Plot | null>(null);
  // Out of sight it is drawn once and then left alone: a page of charts stays light while a run goes on.
  const [seen, setSeen] = useState(true);
  const [size, setSize] = useState("");
  const lines = props.lines.filter(({ name }) => !hidden.includes(name));
  const { whole } = axis;
  const shown = range ?? whole;

  useEffect(() => {
    const element = box.current as HTMLDivElement;
    const drawn = draw(element);
    chart.current = drawn;
    const resized = new ResizeObserver(() => {
      drawn.resize();
      setSize(`${element.clientWidth}x${element.clientHeight}`);
    });
    const watched = new IntersectionObserver(([entry]) => setSeen(entry?.isIntersecting ?? true), { rootMargin: "40px" });
    resized.observe(element);
    watched.observe(element);
    return () => {
      resized.disconnect();
      watched.disconnect();
      drawn.dispose();
      chart.current = null;
    };
  }, []);

  useLayoutEffect(() => {
    const drawn = chart.current;
    if (!drawn || (!seen && plot)) return;
    const alarms = events.filter(isAlarm);
    drawn.setOption(option({ ...props, lines }, shown, alarms, drawn.getWidth(), colour), { replaceMerge: ["series"] });
    const next = place(drawn, shown);
    setPlot((known) => known && JSON.stringify(known) === JSON.stringify(next) ? known : next);
  }, [props, hidden.join("\n"), theme, shown.first, shown.last, seen, size, events]);

  useEffect(() => exporting(figure.current as HTMLElement, {
    svg: (width, height) => {
      const drawn = draw(null, width, height);
      drawn.setOption(option({ ...props, lines }, shown, events.filter(isAlarm), width, colour));
      const text = drawn.renderToSVGString();
      drawn.dispose();
      return text;
    },
    table: () => table(props.lines, shown),
  }));

  const missing = props.lines.map((line) => ({ name: line.name, where: gaps(line.series) }))
    .filter(({ where }) => where.length > 0);
  return (
    <figure class="figure" ref={figure} data-picture={props.title} data-data={props.title}>
      <figcaption class="chart-head">
        <span class="axis-title">{props.title}</span>
        {!props.keyed && props.lines.length > 0 && <Readout lines={props.lines} />}
        {props.children}
      </figcaption>
      {props.keyed && (
        <Key
          lines={props.lines} hidden={hidden}
          toggle={(name) => setHidden(hidden.includes(name) ? hidden.filter((other) => other !== name) : [...hidden, name])}
        />
      )}
      <div class="plot" style={{ height: `${props.height}px` }}>
        <div class="chart" ref={box} role="img" aria-label={props.summary} />
        {plot && <Glass plot={plot} lines={lines} name={props.title} />}
      </div>
      {props.timeline && plot && <EventStrip events={events} plot={plot} />}
      {props.timeline && props.keyed && <StripKey events={events} />}
      {missing.map(({ name, where }) => (
        <p class="not-finite" key={name}><span aria-hidden="true">✕ </span>{tell(name, where)}</p>
      ))}
    </figure>
  );
}

const SHOWN_GAPS = 6;

/** "Loss was NaN at step 120; ∞ at steps 130–140 (11 points)." */
function tell(name: string, where: Gap[]): string {
  const parts = where.slice(0, SHOWN_GAPS).map(({ what, first, last, count }) => {
    const steps = count === 1 ? `step ${formatNumber(first)}`
      : `steps ${formatNumber(first)}–${formatNumber(last)} (${formatNumber(count)} points)`;
    return `${formatNumber(what)} at ${steps}`;
  });
  const more = where.length - parts.length;
  return `${name} was ${parts.join("; ")}${more > 0 ? `; and ${more} more stretches` : ""}.`;
}
