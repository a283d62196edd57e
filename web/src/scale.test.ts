import { describe, expect, it } from "vitest";
import { SECONDS, STEPS } from "./axis";
import { linear, logarithmic, places, roundUp, share } from "./scale";

describe("the numbers on an axis", () => {
  it.each([[0.3, 0.5], [1, 1], [1.01, 2], [7, 10], [0, 1], [NaN, 1], [2e-5, 2e-5], [4.2e8, 5e8]])(
    "rounds %d up to %d", (x, expected) => expect(roundUp(x)).toBeCloseTo(expected, 12));

  it.each([
    [1, 60, STEPS, [20, 40, 60]],
    [12_340, 12_350, STEPS, [12_340, 12_342, 12_344, 12_346, 12_348, 12_350]],
    [3, 5, STEPS, [3, 4, 5]],
    [0, 1, STEPS, [0, 1]],
    [0, 700, SECONDS, [0, 300, 600]],
    [0, 3.2, SECONDS, [0, 1, 2, 3]],
    [0, 0.9, SECONDS, [0, 0.2, 0.4, 0.6, 0.8]],
    [0, 10 * 86_400, SECONDS, [0, 172_800, 345_600, 518_400, 691_200, 864_000]],
  ])("labels %d to %d in round places of its unit", (first, last, unit, expected) =>
    expect(places(first, last, 5, unit)).toEqual(expected));

  it.each([
    [0.13, 0.87, 4, {}, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [0.02, 0.96, 4, {}, [0, 0.25, 0.5, 0.75, 1]],
    [3, 3, 2, {}, [0, 2, 4, 6]],
    [0, 0, 4, {}, [0, 0.25, 0.5, 0.75, 1]],
    [850, 950, 2, { min: 0 }, [0, 500, 1000]],
    [NaN, NaN, 2, {}, [0, 0.5, 1]],
    [Infinity, -Infinity, 2, { min: 0 }, [0, 0.5, 1]],
    [0, 3.5 * 2 ** 30, 2, { min: 0, bytes: true }, [0, 2 ** 31, 2 ** 32]],
    [-0.3, 0.4, 4, {}, [-0.4, -0.2, 0, 0.2, 0.4]],
  ])("spans %d to %d by about %d ticks", (low, high, count, fixed, expected) => {
    const scale = linear(low, high, count, fixed);
    expect(scale.ticks).toEqual(expected);
    expect(scale.low).toBeLessThan(scale.high);
    if (low <= high) expect([scale.low <= low, scale.high >= high]).toEqual([true, true]);
  });

  it.each([
    [0.5, 90, [0.5, 1, 2, 5, 10, 20, 50, 100]],
    [1, 1, [1, 2]],
    [3, 4, [2, 5]],
    [1e-6, 1e3, [1e-6, 1e-4, 1e-2, 1, 1e2]],
    [NaN, NaN, [0.1, 1]],
  ])("spans %d to %d on a log scale", (low, high, expected) => {
    const scale = logarithmic(low, high);
    expect(scale.ticks).toEqual(expected);
    if (low <= high) expect([scale.low <= low, scale.high >= high]).toEqual([true, true]);
  });

  it("places values from the bottom to the top", () => {
    expect(share(linear(0, 10, 2), 2.5)).toBe(0.25);
    expect(share(logarithmic(1, 100), 10)).toBeCloseTo(0.5, 12);
    expect(share(linear(0, 10, 2), NaN)).toBeNaN();
  });
});
