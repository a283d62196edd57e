/**
 * Lines over steps on a canvas (ECharts core), with the page's shared cursor and range laid over it.
 * Text goes to the canvas as text, never as markup.
 */

import type { ECharts } from "echarts/core";
import type { ComponentChildren } from "preact";
import { useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { moved, SharedAxis, useCursor, useRange, zoomed, type Axis, type Range } from "./axis";
import { draw, option, place, type Plot } from "./draw";
import { EventStrip, Events, isAlarm, StripKey } from "./events";
import { before, gaps, type Gap, type Series } from "./fold";
import { formatExact, formatNumber } from "./format";
import { exporting } from "./picture";
import { Theme, useColours } from "./theme";

export interface Line {
  name: string;
  series: Series;
  /** A CSS variable. */
  colour: string;
  width?: number;
  opacity?: number;
  dashed?: boolean;
  dots?: boolean;
  /** Intervals drawn as vertical bars: one [low, high] a point. */
  intervals?: readonly (readonly [number, number])[];
  format?: (value: number) => string;
  /** Shown with the exact value beside the cursor. */
  unit?: string;
  /** Words for a point beside the cursor: its n, its checkpoint. */
  note?: (i: number) => string;
}

export interface Ring {
  step: number;
  value: number;
  label: string;
  /** One of the tied, not the recommended: a thinner ring. */
  minor?: boolean;
}

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
        {plot && <Glass axis={axis} plot={plot} lines={lines} name={props.title} />}
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

/** Farther than this a pointer has dragged, not clicked. */
const DRAG_PIXELS = 5;

/** What lies over the plot: takes the pointer and the keys, shows the cursor, a selection, the values. */
function Glass({ axis, plot, lines, name }: { axis: Axis; plot: Plot; lines: Line[]; name: string }) {
  const cursor = useCursor();
  const steps = useMemo(() => stepsOf(lines), [lines]);
  const [drag, setDrag] = useState<{ from: number; to: number; pan: boolean } | null>(null);
  const [anchor, setAnchor] = useState<number | null>(null);
  const holder = useRef({}).current;
  const glass = useRef<HTMLDivElement>(null);
  const { left, right, first, last } = plot;
  const toStep = (x: number) => first + ((x - left) * (last - first)) / (right - left);
  const toPixel = (step: number) => left + ((step - first) * (right - left)) / (last - first);
  const at = (event: MouseEvent) => {
    const x = event.clientX - (glass.current as HTMLElement).getBoundingClientRect().left;
    return Math.min(Math.max(x, left), right);
  };
  const selection: Range | null = drag && !drag.pan ? { first: toStep(drag.from), last: toStep(drag.to) }
    : anchor !== null && cursor !== null && axis.holder === holder ? { first: anchor, last: cursor } : null;

  useEffect(() => {
    // Not passive, so that zooming does not scroll: only with a modifier, or sideways.
    const element = glass.current as HTMLElement;
    const turned = (event: WheelEvent) => {
      const sideways = event.shiftKey ? event.deltaY || event.deltaX : Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : 0;
      const pixels = (right - left) / (axis.shown.last - axis.shown.first);
      const step = toStep(at(event));
      if (event.ctrlKey || event.metaKey) axis.soon((range) => zoomed(range, 1.002 ** event.deltaY, step));
      else if (sideways && axis.range) axis.soon((range) => moved(range, sideways / pixels, axis.whole));
      else return;
      event.preventDefault();
    };
    element.addEventListener("wheel", turned, { passive: false });
    return () => element.removeEventListener("wheel", turned);
  });

  const keys: Record<string, () => void> = {
    ArrowLeft: () => axis.point(next(steps, cursor ?? last, -1, first, last), holder),
    ArrowRight: () => axis.point(next(steps, cursor ?? first, 1, first, last), holder),
    Home: () => axis.point(next(steps, first - 1, 1, first, last), holder),
    End: () => axis.point(next(steps, last + 1, -1, first, last), holder),
    PageUp: () => axis.move(-0.5),
    PageDown: () => axis.move(0.5),
    "+": () => axis.zoom(0.5),
    "=": () => axis.zoom(0.5),
    "-": () => axis.zoom(2),
    Escape: () => anchor === null ? axis.show(null) : setAnchor(null),
    "0": () => axis.show(null),
    Enter: () => {
      if (selection) axis.show(selection);
      setAnchor(null);
    },
  };
  const isHere = axis.holder === holder;
  return (
    <div
      ref={glass} class={drag?.pan ? "glass panning" : "glass"} role="slider" tabIndex={0}
      aria-label={`Step on ${name}`} aria-valuemin={first} aria-valuemax={last}
      aria-valuenow={cursor ?? last} aria-valuetext={told(lines, cursor ?? last)}
      aria-keyshortcuts="ArrowLeft ArrowRight Shift+ArrowRight Enter + - Escape"
      onPointerMove={(event) => {
        const x = at(event);
        axis.point(nearest(steps, toStep(x)), holder);
        if (!drag) return;
        if (drag.pan) axis.soon((range) => moved(range, ((drag.to - x) * (range.last - range.first)) / (right - left), axis.whole));
        setDrag({ ...drag, to: x });
      }}
      onPointerLeave={() => { if (!drag) axis.point(null, null); }}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        glass.current?.setPointerCapture(event.pointerId);
        setAnchor(null);
        setDrag({ from: at(event), to: at(event), pan: event.shiftKey && axis.range !== null });
      }}
      onPointerUp={() => {
        if (drag && !drag.pan && selection && Math.abs(drag.to - drag.from) > DRAG_PIXELS) axis.show(selection);
        setDrag(null);
      }}
      onPointerCancel={() => setDrag(null)}
      onDblClick={() => axis.show(null)}
      onBlur={() => { setAnchor(null); axis.point(null, null); }}
      onKeyDown={(event) => {
        const act = keys[event.key];
        if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        if (event.key.startsWith("Arrow")) setAnchor(event.shiftKey ? anchor ?? cursor ?? last : null);
        act();
      }}
    >
      {cursor !== null && cursor >= first && cursor <= last && (
        <span
          class={isHere ? "cursor here" : "cursor"}
          style={{ left: `${toPixel(cursor)}px`, top: `${plot.top}px`, height: `${plot.bottom - plot.top}px` }}
        />
      )}
      {selection && (drag === null || Math.abs(drag.to - drag.from) > DRAG_PIXELS) && (
        <span
          class="selection"
          style={{
            left: `${toPixel(Math.min(selection.first, selection.last))}px`,
            width: `${Math.abs(toPixel(selection.last) - toPixel(selection.first))}px`,
            top: `${plot.top}px`, height: `${plot.bottom - plot.top}px`,
          }}
        />
      )}
      {isHere && cursor !== null && <Tip lines={lines} step={cursor} x={toPixel(cursor)} plot={plot} selection={selection} />}
    </div>
  );
}

/** The exact values beside the cursor. */
function Tip({ lines, step, x, plot, selection }: {
  lines: Line[]; step: number; x: number; plot: Plot; selection: Range | null;
}) {
  const toLeft = x > (plot.left + plot.right) / 2;
  return (
    <div class={toLeft ? "tip to-left" : "tip"} style={{ left: `${x}px` }} aria-hidden="true">
      <p class="tip-step">
        step {formatNumber(step)}
        {selection && selection.first !== selection.last && ` · Enter or release shows ${formatNumber(Math.round(Math.min(selection.first, selection.last)))}–${formatNumber(Math.round(Math.max(selection.first, selection.last)))}`}
      </p>
      {lines.map((line) => {
        const found = read(line, step);
        return (
          <p key={line.name}>
            <Stroke line={line} />{line.name} <b>{found.exact}</b>
            {found.more && <span class="tip-more">{found.more}</span>}
          </p>
        );
      })}
    </div>
  );
}

/** What a line shows at `step`: its last point at or before it. */
function read(line: Line, step: number): { exact: string; more: string } {
  const i = before(line.series.steps, step + 1) - 1;
  if (i < 0) return { exact: "–", more: "" };
  const interval = line.intervals?.[i];
  const at = line.series.steps[i] as number;
  const show = (value: number) => formatExact(value, line.unit ?? "");
  const parts = [
    ...(interval ? [`${show(interval[0])} to ${show(interval[1])}`] : []),
    ...(line.note ? [line.note(i)] : []), ...(at === step ? [] : [`of step ${formatNumber(at)}`]),
  ].filter(Boolean);
  return { exact: show(line.series.values[i] as number), more: parts.join(", ") };
}

/** The values at `step` as one sentence, for who hears them. */
function told(lines: Line[], step: number): string {
  const parts = lines.map((line) => {
    const { exact, more } = read(line, step);
    return `${line.name} ${exact}${more ? `, ${more}` : ""}`;
  });
  return `step ${formatNumber(step)}: ${parts.join("; ")}`;
}

/** All steps that any of the lines has a point at, ascending. */
function stepsOf(lines: Line[]): number[] {
  return [...new Set(lines.flatMap((line) => line.series.steps))].sort((a, b) => a - b);
}

function nearest(steps: readonly number[], step: number): number | null {
  const i = before(steps, step);
  const [low, high] = [steps[i - 1], steps[i]];
  if (low === undefined || high === undefined) return low ?? high ?? null;
  return step - low < high - step ? low : high;
}

/** The recorded step next to `step` in a direction, inside of what is shown. */
function next(steps: readonly number[], step: number, by: 1 | -1, first: number, last: number): number | null {
  const found = by > 0 ? steps[before(steps, step + 1)] : steps[before(steps, step) - 1];
  return found === undefined || found < first || found > last ? nearest(steps, step) : found;
}

/** The lines as a table, a row a step that is shown. */
function table(lines: Line[], { first, last }: Range) {
  const steps = stepsOf(lines).filter((step) => step >= first && step <= last);
  const columns = ["step", ...lines.flatMap((line) => line.intervals ? [line.name, `${line.name} low`, `${line.name} high`] : [line.name])];
  const rows = steps.map((step) => [step, ...lines.flatMap((line) => {
    const i = before(line.series.steps, step);
    const here = line.series.steps[i] === step;
    const value = here ? line.series.values[i] as number : null;
    return line.intervals ? [value, here ? line.intervals[i]?.[0] ?? null : null, here ? line.intervals[i]?.[1] ?? null : null] : [value];
  })]);
  return { columns, rows };
}

function Stroke({ line }: { line: Line }) {
  return (
    <span
      class={line.dashed ? "stroke dashed" : "stroke"} aria-hidden="true"
      style={{
        borderTopColor: `var(${line.colour})`, borderTopWidth: `${Math.max(1.5, line.width ?? 1.5)}px`,
        opacity: String(Math.max(0.6, line.opacity ?? 1)),
      }}
    />
  );
}

/** The value at the cursor, else the latest. */
function valueAt(line: Line, cursor: number | null): string {
  const { steps, values } = line.series;
  const i = cursor === null ? values.length - 1 : before(steps, cursor + 1) - 1;
  const value = values[i];
  const show = line.format ?? formatNumber;
  return value === undefined ? "–" : Number.isFinite(value) ? show(value) : formatNumber(value);
}

function Readout({ lines }: { lines: Line[] }) {
  const cursor = useCursor();
  return (
    <span class="readout">
      {lines.map((line) => (
        <span key={line.name}>{lines.length > 1 && <><Stroke line={line} />{line.name} </>}<b>{valueAt(line, cursor)}</b></span>
      ))}
    </span>
  );
}

/** The lines with their values; each is a switch. */
function Key({ lines, hidden, toggle }: {
  lines: Line[]; hidden: readonly string[]; toggle: (name: string) => void;
}) {
  const cursor = useCursor();
  return (
    <ul class="key">
      {lines.map((line) => (
        <li key={line.name}>
          <button
            type="button" class="key-line" aria-pressed={!hidden.includes(line.name)}
            title={hidden.includes(line.name) ? `Show ${line.name}` : `Hide ${line.name}`}
            onClick={() => toggle(line.name)}
          >
            <Stroke line={line} /><span class="key-name">{line.name}</span><b>{valueAt(line, cursor)}</b>
          </button>
        </li>
      ))}
    </ul>
  );
}
