/** Lines over steps on a canvas (ECharts core). Text goes to the canvas as text, never as markup. */

import { CustomChart, LineChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import { init, use, type ECharts } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useContext, useEffect, useRef } from "preact/hooks";
import type { Gap, Series } from "./fold";
import { formatNumber } from "./format";
import { Theme, useColours } from "./theme";

use([LineChart, CustomChart, GridComponent, TooltipComponent, CanvasRenderer]);

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
}

export interface Ring {
  step: number;
  value: number;
  label: string;
}

export interface ChartProps {
  lines: Line[];
  /** Where a value is not finite: drawn as a marker over the whole height, never bridged. */
  marks?: Gap[];
  rings?: Ring[];
  /** What the picture shows, for someone who cannot see it. */
  summary: string;
  height: number;
  log?: boolean;
  axisFormat?: (value: number) => string;
  min?: number;
  max?: number;
}

type Point = [number, number | null];
type RenderItem = (params: unknown, api: CustomApi) => object;
interface CustomApi {
  value: (dimension: number) => number;
  coord: (point: [number, number]) => [number, number];
}

export function LineChartView(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<ECharts | null>(null);
  const theme = useContext(Theme);
  const colour = useColours();

  useEffect(() => {
    const element = box.current as HTMLDivElement;
    const drawn = init(element, null, { renderer: "canvas" });
    chart.current = drawn;
    const watch = new ResizeObserver(() => drawn.resize());
    watch.observe(element);
    return () => {
      watch.disconnect();
      drawn.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => {
    chart.current?.setOption(option(props, chart.current.getWidth(), colour), { replaceMerge: ["series"] });
  }, [props, theme]);

  return (
    <div
      class="chart" ref={box} role="img" aria-label={props.summary}
      style={{ height: `${props.height}px` }}
    />
  );
}

function option(props: ChartProps, width: number, colour: (name: string) => string) {
  const { lines, marks = [], rings = [], log = false, axisFormat = formatNumber } = props;
  const ink = colour("--muted");
  const font = { color: ink, fontSize: 11, fontFamily: colour("--font") || "sans-serif" };
  const steps = lines.flatMap((line) => [line.series.steps[0], line.series.steps.at(-1)]);
  const known = steps.filter((step) => step !== undefined);
  const [first, last] = [Math.min(...known), Math.max(...known)];
  const interval = roundStep((last - first) / (TICKS - 1));
  return {
    animation: false,
    textStyle: font,
    grid: {
      left: 4, right: 12, top: marks.length || rings.length ? 22 : 12, bottom: 2,
      outerBoundsMode: "same", outerBoundsContain: "axisLabel",
    },
    xAxis: {
      type: "value",
      min: Math.floor(first / interval) * interval,
      max: last > first ? last : first + 1,
      axisLine: { lineStyle: { color: colour("--line-strong") } },
      axisTick: { show: false },
      splitLine: { show: false },
      interval,
      // The axis ends where the run is; only round steps are labelled, so labels keep apart.
      axisLabel: {
        ...font, hideOverlap: true,
        formatter: (step: number) => step % interval === 0 ? formatNumber(step) : "",
      },
    },
    yAxis: [
      {
        type: log ? "log" : "value",
        logBase: 2,
        scale: true,
        ...(props.min === undefined ? {} : { min: props.min }),
        ...(props.max === undefined ? {} : { max: props.max }),
        splitNumber: props.height < 160 ? 2 : 4,
        axisLabel: { ...font, formatter: axisFormat, hideOverlap: true },
        axisLine: { show: false },
        axisTick: { show: false },
        splitLine: { lineStyle: { color: colour("--line") } },
      },
      { type: "value", min: 0, max: 1, show: false },
    ],
    tooltip: {
      trigger: "axis",
      renderMode: "richText",
      confine: true,
      backgroundColor: colour("--raised"),
      borderColor: colour("--line-strong"),
      padding: [8, 10],
      textStyle: { color: colour("--ink"), fontSize: 12, lineHeight: 18, fontFamily: font.fontFamily },
      axisPointer: { type: "line", lineStyle: { color: colour("--line-strong") }, label: { show: false } },
      formatter: (params: { axisValue?: number | string }[]) =>
        readout(lines, Number(params[0]?.axisValue ?? NaN)),
    },
    series: [
      ...lines.flatMap((line) => drawLine(line, log, colour)),
      ...(marks.length ? [drawMarks(marks, first, last, width, colour("--bad"), font)] : []),
      ...(rings.length ? [drawRings(rings, colour("--ink"), font)] : []),
    ],
  };
}

const TICKS = 6;

/** The next of 1, 2, 5, 10, 20, ... at or above `x`. */
function roundStep(x: number): number {
  if (!(x > 1)) return 1;
  const power = 10 ** Math.floor(Math.log10(x));
  return power * ([1, 2, 5, 10].find((digit) => digit * power >= x) as number);
}

function drawLine(line: Line, log: boolean, colour: (name: string) => string): object[] {
  const { steps, values } = line.series;
  const drawable = (y: number) => Number.isFinite(y) && (!log || y > 0);
  const data: Point[] = steps.map((step, i) => {
    const y = values[i] as number;
    return [step, drawable(y) ? y : null];
  });
  const paint = colour(line.colour);
  const parts: object[] = [{
    name: line.name,
    type: "line",
    data,
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
    z: (line.width ?? 1.5) > 1.5 ? 3 : 2,
  }];
  const alone = data.filter(([, y], i) =>
    y !== null && i > 0 && i < data.length - 1 && data[i - 1]?.[1] === null && data[i + 1]?.[1] === null);
  if (alone.length && !line.dots) {
    parts.push({
      type: "line", data: alone, lineStyle: { opacity: 0 }, symbol: "circle", symbolSize: 4,
      itemStyle: { color: paint, opacity: line.opacity ?? 1 }, silent: true, tooltip: { show: false },
    });
  }
  if (line.intervals) parts.push(drawIntervals(steps, line.intervals, paint));
  return parts;
}

function drawIntervals(
  steps: readonly number[], intervals: readonly (readonly [number, number])[], paint: string,
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
  return {
    type: "custom", renderItem, silent: true, z: 2, encode: { x: 0, y: [1, 2] },
    data: intervals.map(([low, high], i) => [steps[i], low, high]), tooltip: { show: false },
  };
}

const LABEL_PIXELS = 110;

function drawMarks(
  marks: Gap[], first: number, last: number, width: number, paint: string, font: object,
): object {
  let labelled = -Infinity;
  const apart = ((last - first) * LABEL_PIXELS) / Math.max(1, width);
  const labels = marks.map((mark) => {
    // Two labels closer than this would be drawn over each other.
    if (mark.first - labelled < apart) return "";
    labelled = mark.first;
    return `${formatNumber(mark.what)} at ${formatNumber(mark.first)}`;
  });
  const renderItem = (params: { dataIndex: number }, api: CustomApi) => {
    const mark = marks[params.dataIndex] as Gap;
    const [x, top] = api.coord([mark.first, 1]);
    const [right, bottom] = api.coord([mark.last, 0]);
    const nearEnd = last > first && (mark.first - first) / (last - first) > 0.8;
    const stroke = { stroke: paint, lineWidth: 1.5 };
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
          style: { ...stroke, lineDash: [3, 3] } },
        cross(4), cross(-4),
        { type: "text", style: {
          text: labels[params.dataIndex], x: nearEnd ? x - 8 : x + 8, y: top - 8, fill: paint,
          font: `600 11px ${(font as { fontFamily: string }).fontFamily}`,
          align: nearEnd ? "right" : "left", verticalAlign: "middle",
        } },
      ],
    };
  };
  return {
    type: "custom", yAxisIndex: 1, renderItem, silent: true, z: 5, clip: false,
    encode: { x: [0, 1], y: 2 }, data: marks.map((mark) => [mark.first, mark.last, 1]),
    tooltip: { show: false },
  };
}

function drawRings(rings: Ring[], paint: string, font: object): object {
  const renderItem = (params: { dataIndex: number }, api: CustomApi) => {
    const ring = rings[params.dataIndex] as Ring;
    const [cx, cy] = api.coord([ring.step, ring.value]);
    return {
      type: "group",
      children: [
        { type: "circle", shape: { cx, cy, r: 7 }, style: { stroke: paint, lineWidth: 1.5, fill: "none" } },
        { type: "text", style: {
          text: ring.label, x: cx, y: cy - 12, fill: paint, align: "center", verticalAlign: "bottom",
          font: `600 11px ${(font as { fontFamily: string }).fontFamily}`,
        } },
      ],
    };
  };
  return {
    type: "custom", renderItem, silent: true, z: 6, clip: false, encode: { x: 0, y: 1 },
    data: rings.map((ring) => [ring.step, ring.value]), tooltip: { show: false },
  };
}

/** What every line showed at `step`: its last point at or before it. */
function readout(lines: Line[], step: number): string {
  if (!Number.isFinite(step)) return "";
  const rows = lines.map((line) => {
    const i = lastAtOrBefore(line.series.steps, step);
    if (i < 0) return `${line.name}  –`;
    const value = line.series.values[i] as number;
    const interval = line.intervals?.[i];
    const show = line.format ?? formatNumber;
    const range = interval ? `  (${show(interval[0])} to ${show(interval[1])})` : "";
    return `${line.name}  ${Number.isFinite(value) ? show(value) : formatNumber(value)}${range}`;
  });
  return [`step ${formatNumber(Math.round(step))}`, ...rows].join("\n");
}

function lastAtOrBefore(steps: readonly number[], step: number): number {
  let [low, high] = [0, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] as number) <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The key of a chart: a stroke as it is drawn, the name, the latest value. */
export function Key({ lines }: { lines: Line[] }) {
  return (
    <ul class="key">
      {lines.map((line) => {
        const value = line.series.values.at(-1);
        const show = line.format ?? formatNumber;
        return (
          <li key={line.name}>
            <span
              class="stroke" aria-hidden="true"
              style={{
                background: `var(${line.colour})`, height: `${Math.max(1.5, line.width ?? 1.5)}px`,
                opacity: String(Math.max(0.5, line.opacity ?? 1)),
              }}
            />
            {line.name}
            <b>{value === undefined ? "–" : Number.isFinite(value) ? show(value) : formatNumber(value)}</b>
          </li>
        );
      })}
    </ul>
  );
}
