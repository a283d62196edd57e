import { describe, expect, it } from "vitest";
import { Axis, moved, within, zoomed } from "./axis";
import { cut, merged } from "./fold";

const WHOLE = { first: 0, last: 100 };

describe("the range of steps in view", () => {
  it.each([
    [{ first: 10, last: 20 }, { first: 10, last: 20 }],
    [{ first: 20, last: 10 }, { first: 10, last: 20 }],
    [{ first: 10.4, last: 20.4 }, { first: 10, last: 20 }],
    [{ first: -5, last: 5 }, { first: 0, last: 10 }],
    [{ first: 95, last: 120 }, { first: 75, last: 100 }],
    [{ first: 50, last: 50 }, { first: 50, last: 52 }],
    [{ first: 0, last: 100 }, null],
    [{ first: -50, last: 400 }, null],
  ])("keeps %o inside of the run as %o", (range, expected) => expect(within(range, WHOLE)).toEqual(expected));

  it("zooms around a step that keeps its place", () => {
    expect(zoomed({ first: 0, last: 100 }, 0.5, 20)).toEqual({ first: 10, last: 60 });
  });

  it("moves no farther than the run goes", () => {
    expect(moved({ first: 10, last: 20 }, 50, WHOLE)).toEqual({ first: 60, last: 70 });
    expect(moved({ first: 10, last: 20 }, -50, WHOLE)).toEqual({ first: 0, last: 10 });
    expect(moved({ first: 80, last: 90 }, 50, WHOLE)).toEqual({ first: 90, last: 100 });
  });

  it("follows the run until a range is set, and again after it is reset", () => {
    const axis = new Axis();
    const told: string[] = [];
    axis.on((what) => told.push(what));
    axis.whole = WHOLE;
    axis.show({ first: 40, last: 60 });
    axis.whole = { first: 0, last: 200 };
    expect(axis.shown).toEqual({ first: 40, last: 60 });
    axis.show(null);
    expect(axis.shown).toEqual({ first: 0, last: 200 });
    axis.point(7, null);
    axis.point(7, null);
    expect(told).toEqual(["range", "range", "cursor"]);
  });
});

describe("cutting a line", () => {
  const series = { steps: [0, 10, 20, 30], values: [0, 100, 0, 30] };

  it("ends it where the picture ends", () => {
    expect(cut(series, 5, 25)).toEqual({ steps: [5, 10, 20, 25], values: [50, 100, 0, 15] });
  });

  it("keeps points on the edges as they are", () => {
    expect(cut(series, 10, 20)).toEqual({ steps: [10, 20], values: [100, 0] });
    expect(cut(series, -5, 99)).toEqual(series);
  });

  it("draws a line that only passes through", () => {
    expect(cut(series, 12, 18)).toEqual({ steps: [12, 18], values: [80, 20] });
  });

  it("never bridges what is not finite", () => {
    const broken = { steps: [0, 10, 20], values: [1, NaN, 3] };
    expect(cut(broken, 5, 15)).toEqual({ steps: [10], values: [NaN] });
    expect(cut(broken, 2, 8)).toEqual({ steps: [], values: [] });
  });

  it("puts the finer points in the place of the coarse ones, and keeps what came since", () => {
    const coarse = { steps: [0, 10, 20, 30, 40], values: [0, 1, 2, 3, 4] };
    const fine = { steps: [10, 15, 20], values: [1, 9, 2] };
    expect(merged(coarse, fine, { first: 10, last: 24 }, 40))
      .toEqual({ steps: [0, 10, 15, 20, 30, 40], values: [0, 1, 9, 2, 3, 4] });
    expect(merged(coarse, fine, { first: 10, last: 50 }, 20))
      .toEqual({ steps: [0, 10, 15, 20, 30, 40], values: [0, 1, 9, 2, 3, 4] });
  });
});
