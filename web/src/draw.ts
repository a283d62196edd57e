/** A chart's lines as an ECharts option, and where its steps lie in pixels. */

import { CustomChart, LineChart } from "echarts/charts";
import { GridComponent } from "echarts/components";
import { init, use, type ECharts, type EChartsCoreOption } from "echarts/core";
import { CanvasRenderer, SVGRenderer } from "echarts/renderers";
import type { Range } from "./axis";
import type { ChartProps } from "./chart";
import type { RunMoment } from "./events";
import { cut, gaps, type Gap } from "./fold";
import { formatNumber } from "./format";
import type { Line, Ring } from "./lines";

use([LineChart, CustomChart, GridComponent, CanvasRenderer, SVGRenderer]);

/** Where the steps from `first` to `last` lie: pixels within the chart. */
export interface Plot extends Range {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

type Point = [number, number | null];
type Colour = (name: string) => string;
type RenderItem = (params: { dataIndex: number }, api: CustomApi) => object;
interface CustomApi {
  value: (dimension: number) => number;
  coord: (point: [number, number]) => [number, number];
}

/** A chart on `element`, or one of a size that is only read out as SVG. */
export function draw(element: HTMLElement | null, width = 0, height = 0): ECharts {
  return element ? init(element, null, { renderer: "canvas" })
    : init(null, null, { renderer: "svg", ssr: true, width, height });
}

export function place(chart: ECharts, { first, last }: Range): Plot {
  const finder = { xAxisIndex: 0, yAxisIndex: 1 };
  const [left, top] = chart.convertToPixel(finder, [first, 1]) as [number, number];
  const [right, bottom] = chart.convertToPixel(finder, [last, 0]) as [number, number];
  const [l, r, t, b] = [left, right, top, bottom].map(Math.round);
  return { first, last, left: l as number, right: r as number, top: t as number, bottom: b as number };
}

export function option(
  props: ChartProps, shown: Range, alarms: readonly RunMoment[], width: number, colour: Colour,
): EChartsCoreOption {
  const { rings = [], log = false, axisFormat = formatNumber } = props;
  const { first, last } = shown;
  const lines = props.lines.map((line) => clipped(line, shown));
  const marks = unique(props.lines.flatMap((line) => gaps(cut(line.series, first, last))));
  const ringed = rings.filter(({ step }) => step >= first && step <= last);
  const ink = colour("--muted");
  const font = { color: ink, fontSize: 11, fontFamily: (colour("--font") || "sans-serif").replaceAll('"', "'") };
  const interval = roundStep((last - first) / (TICKS - 1));
  return {
    animation: false,
    textStyle: font,
    grid: {
      left: 4, right: 12, top: marks.length || ringed.length ? 24 : 10, bottom: 2,
      outerBoundsMode: "same", outerBoundsContain: "axisLabel",
    },
    xAxis: {
      type: "value",
      min: first,
      max: last > first ? last : first + 1,
      axisLine: { lineStyle: { color: colour("--line-strong") } },
      axisTick: { show: false },
      splitLine: { show: false },
      // Only round steps are labelled, so labels keep apart.
      axisLabel: { ...font, hideOverlap: true, customValues: ticks(first, last, interval), formatter: formatNumber },
    },
    yAxis: [
      {
        type: log ? "log" : "value",
        logBase: 10,
        scale: true,
        ...(props.min === undefined ? {} : { min: props.min }),
        ...(props.max === undefined ? {} : { max: props.max }),
        splitNumber: props.height < 160 ? 2 : 4,
        ...(lines[0]?.unit === "bytes" ? bytesAxis(lines) : {}),
        axisLabel: { ...font, formatter: axisFormat, hideOverlap: true },
        axisLine: { show: false },
        axisTick: { show: false },
        splitLine: { lineStyle: { color: colour("--line") } },
      },
      { type: "value", min: 0, max: 1, show: false },
    ],
    series: [
      ...lines.flatMap((line) => drawLine(line, log, colour)),
      // The second axis needs a series, or it has no pixels to be asked for.
      { type: "line", yAxisIndex: 1, data: [], silent: true },
      ...(alarms.length ? [drawAlarms(alarms, colour)] : []),
      ...(marks.length ? [drawMarks(marks, first, last, width, colour("--bad"), font)] : []),
      ...(ringed.length ? [drawRings(ringed, colour("--ink"), font)] : []),
    ],
  };
}

/** Ticks at powers of two, which are round in GiB. */
function bytesAxis(lines: readonly Line[]): { interval: number; max: number } | object {
  const most = Math.max(0, ...lines.flatMap(({ series }) => series.values.filter(Number.isFinite)));
  if (!(most > 0)) return {};
  const interval = 2 ** Math.ceil(Math.log2(most / 3));
  return { interval, max: interval * Math.ceil(most / interval) };
}

const TICKS = 6;

/** The next of 1, 2, 5, 10, 20, ... at or above `x`. */
function roundStep(x: number): number {
  if (!(x > 1)) return 1;
  const power = 10 ** Math.floor(Math.log10(x));
  return power * ([1, 2, 5, 10].find((digit) => digit * power >= x) as number);
}

function ticks(first: number, last: number, interval: number): number[] {
  const start = Math.ceil(first / interval);
  return Array.from({ length: Math.floor(last / interval) - start + 1 }, (_, i) => (start + i) * interval);
}

/** The line inside of what is shown. `made` are the steps of points on its edges that nobody measured. */
function clipped(line: Line, { first, last }: Range): Line & { made?: ReadonlySet<number> } {
  const { steps } = line.series;
  if ((steps[0] ?? first) >= first && (steps.at(-1) ?? last) <= last) return line;
  const series = cut(line.series, first, last);
  if (!line.dots && !line.intervals) return { ...line, series };
  const known = new Map(steps.map((step, i) => [step, line.intervals?.[i]]));
  const made = new Set(series.steps.filter((step) => !known.has(step)));
  if (!line.intervals) return { ...line, series, made };
  return { ...line, series, made, intervals: series.steps.map((step) => known.get(step) ?? [NaN, NaN]) };
}

function drawLine(line: Line & { made?: ReadonlySet<number> }, log: boolean, colour: Colour): object[] {
  const { steps, values } = line.series;
  const drawable = (y: number) => Number.isFinite(y) && (!log || y > 0);
  const data: Point[] = steps.map((step, i) => {
    const y = values[i] as number;
    return [step, drawable(y) ? y : null];
  });
  const dots = line.made?.size
    ? data.map((value) => line.made?.has(value[0]) ? { value, symbol: "none" } : value) : data;
  const paint = colour(line.colour);
  const parts: object[] = [{
    name: line.name,
    type: "line",
    data: dots,
    connectNulls: false,
    // A point alone between two gaps has no line to show it.
    showSymbol: line.dots === true || data.length < 3,
    symbol: "circle",
    symbolSize: line.dots ? 6 : 4,
    lineStyle: {
      color: paint, width: line.width ?? 1.5, opacity: line.opacity ?? 1,
      type: line.dashed ? "dashed" : "solid",
    },
    itemStyle: { color: paint, opacity: line.opacity ?? 1 },
    emphasis: { disabled: true },
    silent: true,
    z: (line.width ?? 1.5) > 1.5 ? 3 : 2,
  }];
  const alone = data.filter(([, y], i) =>
    y !== null && i > 0 && i < data.length - 1 && data[i - 1]?.[1] === null && data[i + 1]?.[1] === null);
  if (alone.length && !line.dots) {
    parts.push({
      type: "line", data: alone, lineStyle: { opacity: 0 }, symbol: "circle", symbolSize: 4,
      itemStyle: { color: paint, opacity: line.opacity ?? 1 }, silent: true,
    });
  }
  if (line.intervals) parts.push(drawIntervals(steps, line.intervals, log, paint));
  return parts;
}

function drawIntervals(
  steps: readonly number[], intervals: readonly (readonly [number, number])[], log: boolean, paint: string,
): object {
  const renderItem: RenderItem = (_, api) => {
    const [x, top] = api.coord([api.value(0), api.value(2)]);
    const bottom = api.coord([api.value(0), api.value(1)])[1];
    const stroke = { stroke: paint, lineWidth: 1.5, opacity: 0.55 };
    const bar = (x1: number, y1: number, x2: number, y2: number) => (
      { type: "line", shape: { x1, y1, x2, y2 }, style: stroke });
    const children = [bar(x, top, x, bottom), bar(x - 3, top, x + 3, top), bar(x - 3, bottom, x + 3, bottom)];
    return { type: "group", children };
  };
  const data = intervals.flatMap(([low, high], i) =>
    Number.isFinite(low) && Number.isFinite(high) && (!log || low > 0) ? [[steps[i], low, high]] : []);
  return { type: "custom", renderItem, silent: true, clip: true, z: 2, encode: { x: 0, y: [1, 2] }, data };
}

/** A dotted line where an alert opened; the sign and the words stand in the strip below. */
function drawAlarms(alarms: readonly RunMoment[], colour: Colour): object {
  const renderItem: RenderItem = ({ dataIndex }, api) => {
    const [x, y1] = api.coord([api.value(0), 1]);
    const y2 = api.coord([api.value(0), 0])[1];
    const stroke = colour((alarms[dataIndex] as RunMoment).colour);
    return { type: "line", shape: { x1: x, y1, x2: x, y2 }, style: { stroke, lineWidth: 1, lineDash: [1, 3] } };
  };
  return {
    type: "custom", yAxisIndex: 1, renderItem, silent: true, clip: true, z: 1, encode: { x: 0, y: 1 },
    data: alarms.map(({ step }) => [step, 1]),
  };
}

/** One marker where several lines fail together. */
function unique(marks: Gap[]): Gap[] {
  const seen = new Map<string, Gap>();
  for (const mark of marks) {
    const key = `${mark.what} ${mark.first}`;
    const known = seen.get(key);
    if (known === undefined || known.last < mark.last) seen.set(key, mark);
  }
  return [...seen.values()].sort((a, b) => a.first - b.first);
}

const LABEL_PIXELS = 110;

function drawMarks(
  marks: Gap[], first: number, last: number, width: number, paint: string, font: { fontFamily: string },
): object {
  let labelled = -Infinity;
  const apart = ((last - first) * LABEL_PIXELS) / Math.max(1, width);
  const labels = marks.map((mark) => {
    // Two labels closer than this would be drawn over each other.
    if (mark.first - labelled < apart) return "";
    labelled = mark.first;
    return `${formatNumber(mark.what)} at ${formatNumber(mark.first)}`;
  });
  const renderItem: RenderItem = ({ dataIndex }, api) => {
    const mark = marks[dataIndex] as Gap;
    const [x, top] = api.coord([mark.first, 1]);
    const [right, bottom] = api.coord([mark.last, 0]);
    const nearEnd = last > first && (mark.first - first) / (last - first) > 0.8;
    const cross = (dx: number) => ({
      type: "line", shape: { x1: x - 4, y1: top - dx, x2: x + 4, y2: top + dx },
      style: { stroke: paint, lineWidth: 2 },
    });
    return {
      type: "group",
      children: [
        { type: "rect", shape: { x, y: top, width: right - x, height: bottom - top },
          style: { fill: paint, opacity: 0.1 } },
        { type: "line", shape: { x1: x, y1: top, x2: x, y2: bottom },
          style: { stroke: paint, lineWidth: 1.5, lineDash: [3, 3] } },
        cross(4), cross(-4),
        { type: "text", style: {
          text: labels[dataIndex], x: nearEnd ? x - 8 : x + 8, y: top - 8, fill: paint,
          font: `600 11px ${font.fontFamily}`,
          align: nearEnd ? "right" : "left", verticalAlign: "middle",
        } },
      ],
    };
  };
  return {
    type: "custom", yAxisIndex: 1, renderItem, silent: true, z: 5, clip: false,
    encode: { x: [0, 1], y: 2 }, data: marks.map((mark) => [mark.first, mark.last, 1]),
  };
}

function drawRings(rings: readonly Ring[], paint: string, font: { fontFamily: string }): object {
  const renderItem: RenderItem = ({ dataIndex }, api) => {
    const ring = rings[dataIndex] as Ring;
    const [cx, cy] = api.coord([ring.step, ring.value]);
    return {
      type: "group",
      children: [
        { type: "circle", shape: { cx, cy, r: ring.minor ? 6 : 7.5 },
          style: { stroke: paint, lineWidth: ring.minor ? 1 : 2, fill: "none", lineDash: ring.minor ? [2, 2] : undefined } },
        { type: "text", style: {
          text: ring.label, x: cx, y: cy - 12, fill: paint, align: "center", verticalAlign: "bottom",
          font: `600 11px ${font.fontFamily}`,
        } },
      ],
    };
  };
  return {
    type: "custom", renderItem, silent: true, z: 6, clip: false, encode: { x: 0, y: 1 },
    data: rings.map((ring) => [ring.step, ring.value]),
  };
}
