import { describe, expect, it } from "vitest";
import { STEPS } from "./axis";
import { draw, extent, trace, type Picture } from "./draw";
import { nearest, next, table, told, type Line } from "./lines";
import { svgPaper } from "./paper";
import { sparkOf } from "./spark";

const WIDTH = 400;

function series(values: readonly number[], first = 0) {
  return { steps: values.map((_, i) => first + i), values };
}

/** What the pen does, with steps over `WIDTH` pixels and values as they are. */
function traced(values: readonly number[], range = { first: 0, last: values.length - 1 }, log = false) {
  const moves: [string, number, number][] = [];
  const alone: [number, number][] = [];
  const pen = {
    moveTo: (x: number, y: number) => void moves.push(["M", x, y]),
    lineTo: (x: number, y: number) => void moves.push(["L", x, y]),
  };
  const x = (step: number) => (WIDTH * (step - range.first)) / (range.last - range.first);
  trace(pen, series(values), { plot: range, x, y: (value) => value, log }, alone);
  return { moves, alone };
}

describe("a line on paper", () => {
  it("is no longer than the picture is wide and holds every spike", () => {
    const values = Array.from({ length: 100_000 }, (_, i) => Math.sin(i / 1000));
    for (const [at, spike] of [[12_345, 99], [54_321, -99], [99_999, 77], [0, -77]] as const) values[at] = spike;
    const { moves } = traced(values);
    expect(moves.length).toBeLessThan(4 * (WIDTH + 2));
    const heights = new Set(moves.map(([, , y]) => y));
    for (const spike of [99, -99, 77, -77]) expect(heights).toContain(spike);
  });

  it("goes through every point where there is room", () => {
    expect(traced([1, 3, 2]).moves).toEqual([["M", 0, 1], ["L", 200, 3], ["L", 400, 2]]);
  });

  it("is broken where a value is not finite, and a point alone stands alone", () => {
    const { moves, alone } = traced([1, 2, NaN, 4, Infinity, 6, 7]);
    expect(moves.map(([kind, , y]) => `${kind}${y}`)).toEqual(["M1", "L2", "M4", "M6", "L7"]);
    expect(alone.map(([, y]) => y)).toEqual([4]);
  });

  it("is broken on a log scale where a value is not above 0", () => {
    expect(traced([1, 0, 2, 3, -1], undefined, true).moves.map(([kind, , y]) => `${kind}${y}`)).toEqual(["M1", "M2", "L3"]);
  });

  it("runs on to one point outside of the range on either side, and no farther", () => {
    expect(traced([0, 1, 2, 3, 4, 5, 6], { first: 2, last: 4 }).moves.map(([, , y]) => y)).toEqual([1, 2, 3, 4, 5]);
  });

  it("spans what it shows in the range, also where it only crosses it", () => {
    expect(extent(series([0, 10, 5, 20]), { first: 1, last: 2 }, false)).toEqual({ low: 5, high: 10 });
    expect(extent({ steps: [0, 100], values: [0, 50] }, { first: 20, last: 40 }, false)).toEqual({ low: 10, high: 20 });
    expect(extent(series([NaN, NaN]), { first: 0, last: 1 }, false)).toEqual({ low: Infinity, high: -Infinity });
    expect(extent(series([1, 2]), { first: 0, last: 1 }, false, [[0.5, 1.5], [NaN, 9]])).toEqual({ low: 0.5, high: 9 });
  });

  it("is drawn small for every range, without a number that is none", () => {
    const line = { steps: [0, 10, 20, 30], values: [1, NaN, 3, 4] };
    for (const range of [{ first: 0, last: 30 }, { first: 2, last: 4 }, { first: 12, last: 18 }, { first: 22, last: 28 }, { first: 30, last: 30 }]) {
      expect(sparkOf(line, range).path).not.toContain("NaN");
    }
    expect(sparkOf(line, { first: 0, last: 30 }).ticks).toHaveLength(1);
    expect(sparkOf({ steps: [], values: [] }, { first: 0, last: 0 }).path).toBe("");
  });
});

const LINES: Line[] = [
  { name: "raw", series: series([1, 2, NaN, 4], 10), colour: "--raw" },
  { name: "EM <b>", series: { steps: [10, 20], values: [0.5, 0.75] }, colour: "--series-1", dots: true, mark: "A",
    intervals: [[0.4, 0.6], [0.7, 0.8]] },
];

function picture(change: Partial<Picture["props"]> = {}): Picture {
  return {
    props: { lines: LINES, height: 200, ...change }, shown: { first: 10, last: 20 }, alarms: [], unit: STEPS,
    colour: (name) => `var(${name})`, width: 600, height: 200,
  };
}

describe("a whole chart", () => {
  it("keeps its plot inside of the picture and tells where the steps lie", () => {
    globalThis.OffscreenCanvas ??= class { getContext() { return null; } } as unknown as typeof OffscreenCanvas;
    const paper = svgPaper(600, 200, "sans-serif");
    const plot = draw(paper, picture());
    expect(plot).toMatchObject({ first: 10, last: 20 });
    expect(plot.left).toBeGreaterThan(4);
    expect([plot.right < 600, plot.bottom < 200, plot.top]).toEqual([true, true, 24]);
    const text = paper.svg();
    for (const part of ["NaN at 12", ">A</text>", ">20</text>"]) expect(text).toContain(part);
    expect(text).not.toMatch(/[" L]NaN/);
    expect(text).not.toContain("<b>");
  });

  it("draws nothing that is no number where there is nothing to draw", () => {
    for (const lines of [[], [{ ...LINES[0], series: { steps: [], values: [] } } as Line]]) {
      for (const log of [true, false]) {
        const paper = svgPaper(600, 200, "sans-serif");
        draw(paper, picture({ lines, log }));
        expect(paper.svg()).not.toContain("NaN");
      }
    }
  });
});

describe("the cursor", () => {
  it("goes to the nearest step that any line has, and from step to step", () => {
    expect(nearest(LINES, 16)).toBe(13);
    expect(nearest(LINES, 17)).toBe(20);
    expect(nearest([], 3)).toBeNull();
    const range = { first: 10, last: 20 };
    expect([9.5, 10, 12, 13, 20].map((step) => next(LINES, step, 1, range))).toEqual([10, 11, 13, 20, 20]);
    expect([20.5, 20, 13, 10].map((step) => next(LINES, step, -1, range))).toEqual([20, 13, 12, 10]);
  });

  it("is told in words with the values there", () => {
    expect(told(LINES, 12, STEPS)).toBe("step 12: raw NaN; EM <b> 0.5, 0.4 to 0.6, of step 10");
  });

  it("has its rows in the saved table", () => {
    expect(table(LINES, { first: 11, last: 20 }, STEPS)).toEqual({
      columns: ["step", "raw", "EM <b>", "EM <b> low", "EM <b> high"],
      rows: [[11, 2, null, null, null], [12, NaN, null, null, null], [13, 4, null, null, null], [20, null, 0.75, 0.7, 0.8]],
    });
  });
});
