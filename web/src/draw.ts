/** Draws a chart on paper: axes, lines, what happened, and where each step lies in pixels. */

import type { Range, Unit } from "./axis";
import type { ChartProps } from "./chart";
import type { RunMoment } from "./events";
import { before, gaps, type Gap, type Series } from "./fold";
import { formatNumber } from "./format";
import type { Line, Ring } from "./lines";
import { FONT_PIXELS, type Paper, type Pen } from "./paper";
import { linear, logarithmic, places, share, type Scale } from "./scale";

/** Where the steps from `first` to `last` lie: pixels within the chart. */
export interface Plot extends Range {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface Picture {
  props: Pick<ChartProps, "lines" | "rings" | "log" | "axisFormat" | "min" | "max" | "height">;
  shown: Range;
  alarms: readonly RunMoment[];
  unit: Unit;
  /** A CSS variable as a colour. */
  colour: (name: string) => string;
  width: number;
  height: number;
}

/** About one tick on so many pixels of the axis. */
const TICK_PIXELS = 110;
const LETTER_PIXELS = 10;
const DASHES = { dashed: [6, 4], dotted: [1.5, 3] } as const;
/** Ticks closer than this to the one below are left out. */
const APART_PIXELS = 1.3 * FONT_PIXELS;

/** Draw the picture; returns where its steps lie. */
export function draw(paper: Paper, picture: Picture): Plot {
  const { props: { lines, rings = [], axisFormat = formatNumber }, shown, colour } = picture;
  const { first, last } = shown;
  const marks = unique(lines.flatMap((line) => gapsOf(line.series))).filter((gap) => gap.last >= first && gap.first <= last);
  const ringed = rings.filter(({ step }) => step >= first && step <= last);
  const scale = scaleOf(picture);
  const labels = scale.ticks.map((tick) => ({ tick, text: axisFormat(tick) }));
  const letters = lines.filter(({ mark }) => mark !== undefined).length;
  const plot: Plot = {
    first, last: last > first ? last : first + 1,
    left: Math.ceil(4 + Math.max(0, ...labels.map(({ text }) => paper.widthOf(text))) + 8),
    right: Math.round(picture.width - 12 - LETTER_PIXELS * letters),
    top: marks.length || ringed.length ? 24 : 10,
    bottom: Math.round(picture.height - 22),
  };
  const x = (step: number) => plot.left + ((step - plot.first) * (plot.right - plot.left)) / (plot.last - plot.first);
  const y = (value: number) => plot.bottom - share(scale, value) * (plot.bottom - plot.top);
  const place: Place = { plot, x, y, log: scale.log };

  grid(paper, picture, plot, y, labels);
  paper.within(plot.left, 0, plot.right - plot.left, picture.height, () => {
    for (const alarm of picture.alarms) {
      const at = Math.round(x(alarm.step)) + 0.5;
      paper.path((pen) => upright(pen, at, plot.top, plot.bottom), { stroke: colour(alarm.colour), width: 1, dash: [1, 3] });
    }
  });
  paper.within(plot.left - 1, plot.top - 3, plot.right - plot.left + 2, plot.bottom - plot.top + 6, () => {
    // What is drawn boldest lies on top.
    const order = lines.toSorted((a, b) => (a.width ?? 1.5) - (b.width ?? 1.5));
    for (const line of order) drawLine(paper, line, place, colour(line.colour));
  });
  for (const line of lines) if (line.intervals) drawIntervals(paper, line, line.intervals, place, colour(line.colour));
  drawDots(paper, lines, place, colour);
  drawMarks(paper, marks, place, picture);
  drawRings(paper, ringed, place, colour("--ink"));
  drawLetters(paper, lines, place, picture);
  return plot;
}

interface Place {
  plot: Plot;
  x: (step: number) => number;
  y: (value: number) => number;
  log: boolean;
}

function isDrawable(value: number | undefined, log: boolean): value is number {
  return value !== undefined && Number.isFinite(value) && (!log || value > 0);
}

/** The value axis that holds all that is drawn between the ends of the range. */
function scaleOf({ props: { lines, log = false, min, max, height }, shown }: Picture): Scale {
  let [low, high] = [Infinity, -Infinity];
  for (const { series, intervals } of lines) {
    const held = extent(series, shown, log, intervals);
    low = Math.min(low, held.low);
    high = Math.max(high, held.high);
  }
  if (log) return logarithmic(low, high);
  const count = height < 160 ? 2 : 4;
  const bytes = lines[0]?.unit === "bytes";
  return linear(low, high, bytes ? 3 : count, { bytes, ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) });
}

/** The lowest and the highest that a line shows in a range; infinite, the wrong way around, if nothing. */
export function extent(series: Series, { first, last }: Range, log: boolean, intervals?: Line["intervals"]): { low: number; high: number } {
  const { steps, values } = series;
  let [low, high] = [Infinity, -Infinity];
  const hold = (value: number | undefined) => {
    if (!isDrawable(value, log)) return;
    if (value < low) low = value;
    if (value > high) high = value;
  };
  const [from, end] = [before(steps, first), behind(steps, last)];
  for (let i = from; i < end; i += 1) {
    hold(values[i]);
    if (intervals) {
      hold(intervals[i]?.[0]);
      hold(intervals[i]?.[1]);
    }
  }
  hold(crossing(series, from - 1, first));
  hold(crossing(series, end - 1, last));
  return { low, high };
}

/** How many of the ascending `steps` lie at or before `step`. */
function behind(steps: Series["steps"], step: number): number {
  let i = before(steps, step);
  while (steps[i] === step) i += 1;
  return i;
}

/** The value at `at` of the line from point `i` to the next; NaN where there is no such line. */
function crossing({ steps, values }: Series, i: number, at: number): number {
  const [x0, x1, y0, y1] = [steps[i], steps[i + 1], values[i], values[i + 1]];
  if (x0 === undefined || x1 === undefined || y0 === undefined || y1 === undefined) return NaN;
  return y0 + ((y1 - y0) * (at - x0)) / (x1 - x0);
}

function upright(pen: Pen, x: number, top: number, bottom: number): void {
  pen.moveTo(x, top);
  pen.lineTo(x, bottom);
}

function grid(
  paper: Paper, { shown: { first, last }, unit, colour, width }: Picture, plot: Plot, y: (value: number) => number,
  labels: readonly { tick: number; text: string }[],
): void {
  const ink = colour("--muted");
  const shown: { at: number; text: string }[] = [];
  for (const { tick, text } of labels) {
    const at = Math.round(y(tick));
    if (shown.length === 0 || (shown.at(-1) as { at: number }).at - at >= APART_PIXELS) shown.push({ at, text });
  }
  paper.path((pen) => {
    for (const { at } of shown) {
      if (at >= plot.bottom) continue;
      pen.moveTo(plot.left, at + 0.5);
      pen.lineTo(plot.right, at + 0.5);
    }
  }, { stroke: colour("--line"), width: 1 });
  paper.path((pen) => {
    pen.moveTo(plot.left, plot.bottom + 0.5);
    pen.lineTo(plot.right, plot.bottom + 0.5);
  }, { stroke: colour("--line-strong"), width: 1 });
  for (const { at, text } of shown) paper.text(text, plot.left - 8, at, { fill: ink, align: "right" });
  let taken = -Infinity;
  for (const tick of places(first, last, Math.max(2, (plot.right - plot.left) / TICK_PIXELS), unit)) {
    const text = unit.tick(tick);
    const half = paper.widthOf(text) / 2;
    const middle = plot.left + ((tick - plot.first) * (plot.right - plot.left)) / (plot.last - plot.first);
    const at = Math.min(Math.max(middle, half), width - half);
    if (at - half < taken + 8) continue;
    paper.text(text, at, plot.bottom + 14, { fill: ink, align: "center" });
    taken = at + half;
  }
}

function drawLine(paper: Paper, line: Line, place: Place, paint: string): void {
  const { width = 1.5, opacity = 1 } = line;
  const dash = line.dash ? DASHES[line.dash] : undefined;
  const alone: [number, number][] = [];
  paper.path((pen) => trace(pen, line.series, place, alone), { stroke: paint, width, opacity, ...(dash ? { dash } : {}) });
  if (alone.length > 0 && !line.dots) paper.circles(alone, 2, { fill: paint, opacity });
}

/**
 * Trace a line, broken where a value is not finite. Of the points within one pixel column the first, the
 * lowest, the highest and the last are kept: a spike of one step is never lost, and the path is no longer
 * than the chart is wide. A point alone between two gaps has no line; it is added to `alone`.
 */
export function trace(
  pen: Pen, { steps, values }: Series, { plot, x, y, log }: Omit<Place, "plot"> & { plot: Range }, alone: [number, number][],
): void {
  // One point outside on either side, for the line to leave the picture.
  const from = Math.max(0, before(steps, plot.first) - 1);
  const end = Math.min(steps.length, behind(steps, plot.last) + 1);
  let column = NaN;
  let [count, joined, run] = [0, false, 0];
  let [startX, startY, low, high, lastX, lastY] = [0, 0, 0, 0, 0, 0];
  const flush = () => {
    if (count === 0) return;
    if (joined) pen.lineTo(startX, startY);
    else pen.moveTo(startX, startY);
    if (count > 2) {
      if (low < Math.min(startY, lastY)) pen.lineTo(lastX, low);
      if (high > Math.max(startY, lastY)) pen.lineTo(lastX, high);
    }
    if (count > 1) pen.lineTo(lastX, lastY);
    joined = true;
    count = 0;
  };
  const lift = () => {
    flush();
    if (run === 1) alone.push([lastX, lastY]);
    joined = false;
    run = 0;
    column = NaN;
  };
  for (let i = from; i < end; i += 1) {
    const value = values[i];
    if (!isDrawable(value, log)) {
      lift();
      continue;
    }
    const [px, py] = [x(steps[i] as number), y(value)];
    run += 1;
    if (Math.round(px) === column) {
      if (py < low) low = py;
      if (py > high) high = py;
      count += 1;
    } else {
      flush();
      column = Math.round(px);
      startX = px;
      startY = low = high = py;
      count = 1;
    }
    lastX = px;
    lastY = py;
  }
  lift();
}

/** The points of the lines that have few, or too few for a line. */
function drawDots(paper: Paper, lines: readonly Line[], { plot, x, y, log }: Place, colour: (name: string) => string): void {
  for (const line of lines) {
    const { steps, values } = line.series;
    if (!line.dots && steps.length > 2) continue;
    const centres: [number, number][] = [];
    for (let i = before(steps, plot.first); i < steps.length && (steps[i] as number) <= plot.last; i += 1) {
      const value = values[i];
      if (isDrawable(value, log)) centres.push([x(steps[i] as number), y(value)]);
    }
    paper.circles(centres, line.dots ? 3 : 2, { fill: colour(line.colour), opacity: line.opacity ?? 1 });
  }
}

const CAP_PIXELS = 3;

function drawIntervals(
  paper: Paper, { series: { steps }, shift = 0 }: Line, intervals: NonNullable<Line["intervals"]>,
  { plot, x, y, log }: Place, paint: string,
): void {
  paper.path((pen) => {
    for (let i = before(steps, plot.first); i < steps.length && (steps[i] as number) <= plot.last; i += 1) {
      const [low, high] = intervals[i] ?? [NaN, NaN];
      if (!isDrawable(low, log) || !isDrawable(high, log)) continue;
      const at = x(steps[i] as number) + shift;
      upright(pen, at, y(high), y(low));
      for (const end of [y(high), y(low)]) {
        pen.moveTo(at - CAP_PIXELS, end);
        pen.lineTo(at + CAP_PIXELS, end);
      }
    }
  }, { stroke: paint, width: 1.5, opacity: 0.55 });
}

const known = new WeakMap<Series, Gap[]>();

/** Where a series is not finite; looked for once a series. */
export function gapsOf(series: Series): Gap[] {
  const found = known.get(series) ?? gaps(series);
  known.set(series, found);
  return found;
}

/** One marker where several lines fail together. */
function unique(marks: readonly Gap[]): Gap[] {
  const seen = new Map<string, Gap>();
  for (const mark of marks) {
    const key = `${mark.what} ${mark.first}`;
    const other = seen.get(key);
    if (other === undefined || other.last < mark.last) seen.set(key, mark);
  }
  return [...seen.values()].sort((a, b) => a.first - b.first);
}

const LABEL_PIXELS = 110;

function drawMarks(paper: Paper, marks: readonly Gap[], { plot, x }: Place, { unit, colour }: Picture): void {
  const paint = colour("--bad");
  let labelled = -Infinity;
  for (const { what, first, last } of marks) {
    const [from, to] = [x(Math.max(first, plot.first)), x(Math.min(last, plot.last))];
    const [top, bottom] = [plot.top, plot.bottom];
    if (to > from) paper.rect(from, top, to - from, bottom - top, paint, 0.1);
    paper.path((pen) => upright(pen, from, top, bottom), { stroke: paint, width: 1.5, dash: [3, 3] });
    paper.path((pen) => {
      for (const side of [4, -4]) {
        pen.moveTo(from - 4, top - side);
        pen.lineTo(from + 4, top + side);
      }
    }, { stroke: paint, width: 2 });
    // Two labels closer than this would be drawn over each other.
    if (from - labelled < LABEL_PIXELS) continue;
    labelled = from;
    const nearEnd = from > plot.left + 0.8 * (plot.right - plot.left);
    paper.text(`${formatNumber(what)} at ${unit.tick(first)}`, nearEnd ? from - 8 : from + 8, top - 8, {
      fill: paint, bold: true, align: nearEnd ? "right" : "left",
    });
  }
}

function drawRings(paper: Paper, rings: readonly Ring[], { plot, x, y }: Place, paint: string): void {
  for (const { step, value, label, minor = false } of rings) {
    const [cx, cy] = [x(step), y(value)];
    paper.circles([[cx, cy]], minor ? 6 : 7.5, { stroke: paint, width: minor ? 1 : 2, ...(minor ? { dash: [2, 2] } : {}) });
    const half = paper.widthOf(label) / 2 + 2;
    const at = Math.min(Math.max(cx, plot.left + half), plot.right - half + 10);
    paper.text(label, at, Math.max(FONT_PIXELS, cy - 11), { fill: paint, bold: true, align: "center", baseline: "bottom" });
  }
}

/** The letters behind the ends of the lines; those of one height stand side by side. */
function drawLetters(paper: Paper, lines: readonly Line[], { plot, x, y, log }: Place, { colour }: Picture): void {
  lines.filter(({ mark }) => mark !== undefined).forEach(({ mark = "", series: { steps, values }, colour: name }, among) => {
    let i = behind(steps, plot.last) - 1;
    while (i >= 0 && (steps[i] as number) >= plot.first && !isDrawable(values[i], log)) i -= 1;
    const step = steps[i];
    if (step === undefined || step < plot.first) return;
    const at = Math.min(Math.max(y(values[i] as number), plot.top), plot.bottom);
    paper.text(mark, x(step) + 6 + LETTER_PIXELS * among, at, { fill: colour(name), bold: true });
  });
}
