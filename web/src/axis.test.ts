import { describe, expect, it, vi } from "vitest";
import { Axis, moved, SECONDS, TOKENS, within, zoomed } from "./axis";
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

  it("adds up moves of less than a step", () => {
    const frames: (() => void)[] = [];
    vi.stubGlobal("requestAnimationFrame", (frame: () => void) => frames.push(frame));
    const axis = new Axis();
    axis.whole = WHOLE;
    axis.show({ first: 10, last: 20 });
    let drawn = 0;
    axis.on(() => { drawn += 1; });
    for (let i = 0; i < 3; i += 1) {
      axis.soon((range) => moved(range, 0.2, WHOLE));
      axis.soon((range) => moved(range, 0.2, WHOLE));
      frames.shift()?.();
    }
    expect(drawn).toBe(3);
    expect(axis.shown).toEqual({ first: 11, last: 21 });
    axis.soon((range) => zoomed(range, 1e-9, 15));
    frames.shift()?.();
    axis.soon((range) => zoomed(range, 2, 15));
    frames.shift()?.();
    expect(axis.shown.last - axis.shown.first).toBe(20); // a zoom that is refused does not pile up
    vi.unstubAllGlobals();
  });

  it("rounds training time to milliseconds and tokens to one", () => {
    expect(within({ first: 0.12345, last: 0.9 }, { first: 0, last: 10 }, SECONDS.grain)).toEqual({ first: 0.123, last: 0.9 });
    expect(within({ first: 100.4, last: 200.4 }, { first: 0, last: 1e6 }, TOKENS.grain)).toEqual({ first: 100, last: 200 });
    expect([TOKENS.tick(1_200), TOKENS.tick(2.5e9), SECONDS.tick(3600)]).toEqual(["1.2k", "2.5G", "1\u202fh"]);
    expect([SECONDS.say(1.5), SECONDS.say(600)]).toEqual(["1.5\u202fs", "10\u202fmin"]);
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
