import { describe, expect, it } from "vitest";
import { moveIn, ordered, spread } from "./order";

const IDS = ["loss", "eval", "alerts"];

describe("the order of the panels", () => {
  it.each([
    [null, IDS], ["", IDS], ["alerts loss eval", ["alerts", "loss", "eval"]],
    ["alerts gone loss", ["alerts", "eval", "loss"]], ["eval eval", ["loss", "eval", "alerts"]],
  ])("reads %o as %o", (remembered, expected) => expect(ordered(IDS, remembered)).toEqual(expected));

  it("moves one and keeps the others in order", () => {
    expect(moveIn(IDS, "alerts", 0)).toEqual(["alerts", "loss", "eval"]);
    expect(moveIn(IDS, "loss", 1)).toEqual(["eval", "loss", "alerts"]);
    expect(moveIn(IDS, "loss", 99)).toEqual(["eval", "alerts", "loss"]);
    expect(moveIn(IDS, "loss", -1)).toEqual(IDS);
  });
});

describe("two columns", () => {
  const items = (...heights: number[]) => heights.map((height) => ({ height, wide: false }));

  it("differ as little in height as they can", () => {
    const found = spread(items(600, 1140, 540, 130, 650), null);
    const height = (column: number) => [600, 1140, 540, 130, 650]
      .reduce((sum, each, i) => sum + (found[i]?.column === column ? each : 0), 0);
    expect(Math.abs(height(1) - height(2))).toBe(300);
    expect(found[0]).toEqual({ column: 1, top: 0 });
  });

  it("are read from left to right where they are as even either way", () => {
    expect(spread(items(300, 301, 300, 299), null).map(({ column }) => column)).toEqual([1, 2, 1, 2]);
  });

  it("begin anew below a wide one", () => {
    const found = spread([...items(100, 50), { height: 30, wide: true }, ...items(10, 10)], null);
    expect(found).toEqual([
      { column: 1, top: 0 }, { column: 2, top: 0 }, { column: 0, top: 100 },
      { column: 1, top: 130 }, { column: 2, top: 130 },
    ]);
  });

  it("stay as they were while only heights change", () => {
    expect(spread(items(100, 10, 10), [1, 2, 2]).map(({ column }) => column)).toEqual([1, 2, 2]);
    expect(spread(items(10, 500, 10), [1, 2, 2]).map(({ top }) => top)).toEqual([0, 0, 500]);
  });

  it("take more panels than all ways could be tried of", () => {
    const found = spread(items(...Array.from({ length: 30 }, () => 10)), null);
    expect(found.filter(({ column }) => column === 1)).toHaveLength(15);
  });
});
