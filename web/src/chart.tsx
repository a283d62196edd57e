/** Lines over steps on a canvas, with the page's shared cursor and range laid over it. */

import type { ComponentChildren } from "preact";
import { useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { SharedAxis, type Unit } from "./axis";
import { draw, gapsOf, type Picture, type Plot } from "./draw";
import { EventStrip, Events, isAlarm, StripKey, type RunMoment } from "./events";
import type { Gap } from "./fold";
import { formatNumber } from "./format";
import { Glass } from "./glass";
import { Key, Readout, table, type Line, type Ring } from "./lines";
import { exporting } from "./marks";
import { canvasPaper, svgPaper } from "./paper";
import { useColours } from "./theme";

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
  const { unit } = useContext(SharedAxis);
  const events = useContext(Events);
  const [hidden, setHidden] = useState<readonly string[]>([]);
  const figure = useRef<HTMLElement>(null);
  const missing = props.lines.map((line) => ({ name: line.name, where: gapsOf(line.series) }))
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
      <Drawing {...props} lines={props.lines.filter(({ name }) => !hidden.includes(name))} every={props.lines} figure={figure} />
      {props.timeline && props.keyed && <StripKey events={events} />}
      {missing.map(({ name, where }) => (
        <p class="not-finite" key={name}><span aria-hidden="true">✕ </span>{tell(name, where, unit)}</p>
      ))}
    </figure>
  );
}

/**
 * The picture itself. A gesture that moves the range repaints the canvas in the frame it belongs to and
 * draws nothing else anew but what lies over it. Out of sight the picture rests.
 */
function Drawing({ every, figure, ...props }: ChartProps & { every: Line[]; figure: { readonly current: HTMLElement | null } }) {
  const axis = useContext(SharedAxis);
  const events = useContext(Events);
  const colour = useColours();
  const canvas = useRef<HTMLCanvasElement>(null);
  const place = useRef<(plot: Plot) => void>(() => undefined);
  const alarms = useMemo(() => events.filter(isAlarm), [events]);
  const state = useRef({ seen: true, due: true, width: 0, height: 0 }).current;

  const picture = (width: number, height: number): Picture =>
    ({ props, shown: axis.shown, alarms, unit: axis.unit, colour, width, height });
  const paint = () => {
    const element = canvas.current;
    const { width, height } = state;
    if (!element || width === 0) return;
    if (!state.seen) {
      state.due = true;
      return;
    }
    state.due = false;
    const scale = devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
    if (element.width !== wide || element.height !== high) Object.assign(element, { width: wide, height: high });
    const paper = canvasPaper(element.getContext("2d") as CanvasRenderingContext2D, colour("--font") || "sans-serif", scale);
    place.current(draw(paper, picture(width, height)));
  };
  const latest = useRef(paint);
  latest.current = paint;

  useEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    // The first call comes right after the first layout: sizes are read at once for all charts.
    const resized = new ResizeObserver(([entry]) => {
      if (!entry) return;
      state.width = entry.contentRect.width;
      state.height = entry.contentRect.height;
      latest.current();
    });
    const watched = new IntersectionObserver(([entry]) => {
      state.seen = entry?.isIntersecting ?? true;
      if (state.seen && state.due) latest.current();
    }, { rootMargin: "40px" });
    resized.observe(element);
    watched.observe(element);
    return () => {
      resized.disconnect();
      watched.disconnect();
    };
  }, []);
  useEffect(() => axis.on((what) => { if (what === "range") latest.current(); }), [axis]);
  useLayoutEffect(paint);

  useEffect(() => exporting(figure.current as HTMLElement, {
    svg: (width, height) => {
      const paper = svgPaper(width, height, (colour("--font") || "sans-serif").replaceAll('"', "'"));
      draw(paper, picture(width, height));
      return paper.svg();
    },
    table: () => table(every, axis.shown, axis.unit),
  }));

  return (
    <Overlaid {...props} events={events} place={place}>
      <div class="chart" role="img" aria-label={props.summary}><canvas ref={canvas} /></div>
    </Overlaid>
  );
}

/** The picture with what follows the pointer, and the marks below; it alone is drawn anew in a gesture. */
function Overlaid({ lines, title, height, timeline, events, place, children }: ChartProps & {
  events: readonly RunMoment[];
  /** Called with where the steps lie after every painting. */
  place: { current: (plot: Plot) => void };
}) {
  const [plot, set] = useState<Plot | null>(null);
  place.current = (next) => set((known) => known && isSame(known, next) ? known : next);
  return (
    <>
      <div class="plot" style={{ height: `${height}px` }}>
        {children}
        {plot && <Glass plot={plot} lines={lines} name={title} />}
      </div>
      {timeline && plot && <EventStrip events={events} plot={plot} />}
    </>
  );
}

function isSame(a: Plot, b: Plot): boolean {
  return a.first === b.first && a.last === b.last && a.left === b.left && a.right === b.right
    && a.top === b.top && a.bottom === b.bottom;
}

const SHOWN_GAPS = 6;

/** "Loss was NaN at step 120; ∞ at steps 130–140 (11 points)." */
function tell(name: string, where: readonly Gap[], unit: Unit): string {
  const parts = where.slice(0, SHOWN_GAPS).map(({ what, first, last, count }) =>
    `${formatNumber(what)} at ${count === 1 ? unit.say(first) : `${unit.span(first, last)} (${formatNumber(count)} points)`}`);
  const more = where.length - parts.length;
  return `${name} was ${parts.join("; ")}${more > 0 ? `; and ${more} more stretches` : ""}.`;
}
