/** The same quantity of several runs on one axis (ECharts core), told apart by letter, dash and colour. */

import { CustomChart, LineChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import { init, use, type ECharts } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useContext, useEffect, useRef } from "preact/hooks";
import { formatNumber } from "../format";
import { Theme, useColours } from "../theme";

use([LineChart, CustomChart, GridComponent, TooltipComponent, CanvasRenderer]);

export const LETTERS = "ABCDEFGH";
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5"] as const;
const DASHES = ["solid", "dashed", "dotted"] as const;

export interface Curve {
  /** Its place among the runs: letter, colour and dash follow from it. */
  place: number;
  x: readonly number[];
  y: readonly number[];
  /** 95 % intervals, one a point. */
  intervals?: readonly (readonly [number, number])[];
}

export interface CurvesProps {
  curves: readonly Curve[];
  log: boolean;
  height: number;
  /** What the picture shows, for someone who cannot see it. */
  summary: string;
  formatX: (x: number) => string;
  formatY: (y: number) => string;
}

export function colourOf(place: number): string {
  return COLOURS[place % COLOURS.length] as string;
}

export function dashOf(place: number): (typeof DASHES)[number] {
  return DASHES[place % DASHES.length] as (typeof DASHES)[number];
}

export function Curves(props: CurvesProps) {
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
    chart.current?.setOption(option(props, colour), { replaceMerge: ["series"] });
  }, [props, theme]);
  return <div class="chart" ref={box} role="img" aria-label={props.summary} style={{ height: `${props.height}px` }} />;
}

function option(props: CurvesProps, colour: (name: string) => string) {
  const { curves, log, formatX, formatY } = props;
  const font = { color: colour("--muted"), fontSize: 11, fontFamily: colour("--font") || "sans-serif" };
  const ends = curves.map(({ x }) => x.at(-1) ?? 0);
  return {
    animation: false,
    textStyle: font,
    grid: { left: 4, right: 14 + LETTER_PIXELS * curves.length, top: 14, bottom: 2, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    xAxis: {
      type: "value", min: 0, max: Math.max(...ends, 1), splitNumber: 5,
      axisLine: { lineStyle: { color: colour("--line-strong") } }, axisTick: { show: false },
      splitLine: { show: false },
      axisLabel: { ...font, hideOverlap: true, showMaxLabel: false, formatter: formatX },
    },
    yAxis: {
      type: log ? "log" : "value", scale: true, splitNumber: props.height < 200 ? 3 : 4,
      axisLabel: { ...font, formatter: formatY, hideOverlap: true },
      axisLine: { show: false }, axisTick: { show: false },
      splitLine: { lineStyle: { color: colour("--line") } },
    },
    tooltip: {
      trigger: "axis", renderMode: "richText", confine: true, backgroundColor: colour("--raised"),
      borderColor: colour("--line-strong"), padding: [8, 10],
      textStyle: { color: colour("--ink"), fontSize: 12, lineHeight: 18, fontFamily: font.fontFamily },
      axisPointer: { type: "line", lineStyle: { color: colour("--line-strong") }, label: { show: false } },
      formatter: (params: { axisValue?: number | string }[]) => readout(props, Number(params[0]?.axisValue ?? NaN)),
    },
    series: curves.flatMap((curve, i) => drawn(curve, i, log, colour, font.fontFamily)),
  };
}

function drawn(
  curve: Curve, among: number, log: boolean, colour: (name: string) => string, font: string,
): object[] {
  const paint = colour(colourOf(curve.place));
  const drawable = (y: number) => Number.isFinite(y) && (!log || y > 0);
  const data = curve.x.map((x, i) => [x, drawable(curve.y[i] as number) ? curve.y[i] : null]);
  const line = {
    type: "line", data, connectNulls: false, symbol: "circle", symbolSize: curve.intervals ? 6 : 4,
    showSymbol: curve.intervals !== undefined || data.length < 3,
    lineStyle: { color: paint, width: 2, type: dashOf(curve.place) }, itemStyle: { color: paint },
    emphasis: { disabled: true }, z: 3,
    endLabel: {
      show: true, formatter: LETTERS[curve.place], color: paint, fontWeight: 700, fontSize: 12,
      fontFamily: font, distance: 6 + LETTER_PIXELS * among,
    },
  };
  return curve.intervals ? [line, bars(curve, curve.intervals, paint)] : [line];
}

const BAR_PIXELS = 4;
/** Curves that end at one place have their letters side by side. */
const LETTER_PIXELS = 10;

interface CustomApi {
  value: (dimension: number) => number;
  coord: (point: [number, number]) => [number, number];
}

function bars(curve: Curve, intervals: readonly (readonly [number, number])[], paint: string): object {
  const renderItem = (_: unknown, api: CustomApi) => {
    const [middle, top] = api.coord([api.value(0), api.value(2)]);
    // Runs are often evaluated at the same steps: their bars stand side by side.
    const x = middle + BAR_PIXELS * curve.place;
    const bottom = api.coord([api.value(0), api.value(1)])[1];
    return { type: "line", shape: { x1: x, y1: top, x2: x, y2: bottom }, style: { stroke: paint, lineWidth: 1.5, opacity: 0.5 } };
  };
  return {
    type: "custom", renderItem, silent: true, z: 2, encode: { x: 0, y: [1, 2] }, tooltip: { show: false },
    data: intervals.map(([low, high], i) => [curve.x[i], low, high]),
  };
}

/** What every run showed at `x`: its last point at or before it. */
function readout({ curves, formatX, formatY }: CurvesProps, x: number): string {
  if (!Number.isFinite(x)) return "";
  const rows = curves.map((curve) => {
    const i = curve.x.findLastIndex((at) => at <= x);
    if (i < 0) return `${LETTERS[curve.place]}  –`;
    const y = curve.y[i] as number;
    const range = curve.intervals?.[i];
    const told = range ? `  (${formatY(range[0])} to ${formatY(range[1])})` : "";
    return `${LETTERS[curve.place]}  ${Number.isFinite(y) ? formatY(y) : formatNumber(y)}${told}`;
  });
  return [formatX(x), ...rows].join("\n");
}
