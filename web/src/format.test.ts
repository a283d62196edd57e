import { describe, expect, it } from "vitest";
import {
  formatAny, formatChange, formatDuration, formatExact, formatInterval, formatLeft, formatNames, formatNumber,
  formatPercent, formatPercentTick, formatShare, formatValue, words,
} from "./format";

/** Narrow spaces as plain ones, to keep the expectations readable. */
const plain = (text: string) => text.replaceAll("\u202f", " ");

describe("numbers", () => {
  it.each([
    [0, "0"], [0.82134, "0.8213"], [14200, "14,200"], [1462722.4, "1,462,722"], [-3.5, "−3.5"],
    [0.00002, "2e-5"], [0.000371, "3.71e-4"], [-0.0001, "−1e-4"], [2.5e12, "2.5e12"], [1e10, "1e10"],
  ])("%d is written %s", (x, text) => expect(formatNumber(x)).toBe(text));

  it.each([
    [NaN, "NaN"], ["NaN", "NaN"], [Infinity, "∞"], ["-Infinity", "−∞"],
  ] as const)("%s stays visible as %s", (x, text) => expect(formatNumber(x)).toBe(text));

  it.each([
    [12345678901, "12,345,678,901"], [Number.MAX_SAFE_INTEGER, "9,007,199,254,740,991"], [2 ** 60, "1.152921504606847e18"],
    [0, "0"], [-7, "−7"], [0.1, "0.1"], [0.1 + 0.2, "0.30000000000000004"], [1.9506198214, "1.9506198214"],
    [14200.123456789, "14,200.123456789"], [-1234567.25, "−1,234,567.25"], [0.00012345678912, "0.00012345678912"],
    [1.5e-7, "1.5e-7"], [2e-5, "2e-5"], [1e15, "1,000,000,000,000,000"], [1e300, "1e300"], [5e-324, "5e-324"],
  ])("%d is exactly %s", (x, text) => {
    expect(formatExact(x)).toBe(text);
    expect(Number(text.replaceAll(",", "").replace("−", "-"))).toBe(x);
  });

  it.each([[NaN, "NaN"], ["-Infinity", "−∞"], [null, "–"]] as const)("%s is exactly %s", (x, text) => expect(formatExact(x, "nats")).toBe(text));

  it("gives an exact number its unit", () => {
    expect(plain(formatExact(12345678901, "bytes"))).toBe("12,345,678,901 bytes");
    expect(formatExact(0.25, "1")).toBe("0.25");
  });

  it("shows a missing number as a dash, never as zero", () => {
    expect(formatNumber(null)).toBe("–");
    expect(formatPercent(undefined)).toBe("–");
    expect(formatInterval(null, 1)).toBe("–");
  });
});

describe("units", () => {
  it.each([
    [0.5, "nats", "0.5 nats"], [7, "", "7"], [2 ** 31, "bytes", "2 GiB"], [1500, "bytes", "1.46 KiB"],
    [3.68e14, "FLOP/s", "368 TFLOP/s"], [12, "FLOP/s", "12 FLOP/s"], [0.57, "s", "570 ms"], [2.08, "s", "2.08 s"], [185, "s", "3 min 5 s"], ["NaN", "nats", "NaN"],
  ] as const)("%s %s is written %s", (x, unit, text) => expect(plain(formatValue(x, unit))).toBe(text));

  it.each([
    [0, "0 s"], [59.6, "1 min"], [3600, "1 h"], [7440, "2 h 4 min"], [266400, "3 d 2 h"],
  ])("%d seconds are %s", (seconds, text) => expect(plain(formatDuration(seconds))).toBe(text));

  it.each([
    [3, "about 5 s left"], [42, "about 40 s left"], [740, "about 12 min left"],
    [7750, "about 2 h 10 min left"], [273600, "about 3 d 4 h left"], ["NaN", "unknown"],
  ] as const)("%s seconds to go are %s", (seconds, text) => expect(plain(formatLeft(seconds))).toBe(text));
});

describe("rates", () => {
  it("writes a fraction as a percentage with its interval", () => {
    expect(plain(formatPercent(0.815))).toBe("81.5 %");
    expect(plain(formatInterval(0.798, 0.831))).toBe("79.8–83.1 %");
    expect(plain(formatPercentTick(0.6))).toBe("60 %");
  });

  it.each([
    [0, "0 %"], [0.005, "0.50 %"], [0.0812, "8.1 %"], [0.0997, "10 %"], [0.515, "52 %"], [2, "200 %"],
    [0.0000066, "0.00066 %"], [3.2e-9, "3.2e-7 %"], ["NaN", "NaN"], [null, "–"],
  ] as const)("a share of %s is %s", (x, text) => expect(plain(formatShare(x))).toBe(text));

  it("gives a change its sign and says that it is points", () => {
    expect(plain(formatChange(0.021))).toBe("+2.1 points");
    expect(plain(formatChange(-0.04))).toBe("−4.0 points");
    expect(formatChange("NaN")).toBe("NaN");
  });
});

describe("text", () => {
  it("writes any evidence as plain text", () => {
    expect(formatAny({ em: 0.5, steps: [1, 2], ok: true, loss: "NaN", none: null }))
      .toBe("em 0.5, steps 1, 2, ok yes, loss NaN, none –");
    expect(formatAny("<b>x</b>")).toBe("<b>x</b>");
  });

  it("shortens a long list of names and says how many are left out", () => {
    expect(formatNames(["a", "b"])).toBe("a, b");
    expect(formatNames(["a", "b", "c", "d"])).toBe("a, b, c, d");
    expect(formatNames(["a", "b", "c", "d", "e"])).toBe("a, b, c and 2 more");
  });

  it("makes words of a field name", () => expect(words("em_change_low")).toBe("em change low"));
});
