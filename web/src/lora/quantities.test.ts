import { describe, expect, it } from "vitest";
import type { Layer, Part } from "../records";
import { QUANTITIES, kindsOf, known, largest, nameOf } from "./quantities";

const READING = {
  relative: null, spectral: null, rank: null, rank_of: null, speed: null, impact: null,
  impact_share: null, grad: null, state: "ok",
} as const;

const part = (change: Partial<Part> = {}): Part => ({ ...READING, norm: 1, ...change });

function layer(index: number, change: Partial<Layer> = {}): Layer {
  return {
    ...READING, stack: "", layer: index, qkv: null, o: null, mlp: null, other: null, delta_norm: 1,
    parts: {}, ...change,
  };
}

const text = (id: string, cell: Layer | Part, movement: "relative" | "norm" = "relative") =>
  QUANTITIES.find((quantity) => quantity.id === id)?.text(cell, movement).replaceAll("\u202f", " ");

describe("what the table of layers can show", () => {
  it("offers only what was read anywhere", () => {
    const ids = (layers: Layer[]) => known({ layers, movement: "norm" }).map(({ id }) => id);
    expect(ids([layer(0)])).toEqual(["moved", "state"]);
    expect(ids([layer(0), layer(1, { parts: { mlp: part({ rank: 3, grad: 0 }) } })]))
      .toEqual(["moved", "rank", "grad", "state"]);
    expect(known({ layers: [layer(0)], movement: "relative" }).map(({ id }) => id)).toEqual(["state"]);
  });

  it.each([
    ["moved", part({ relative: 0.005 }), "0.50 %"], ["moved", part(), "–"],
    ["impact", part({ impact_share: 0.515 }), "52 %"], ["impact", part({ impact_share: "NaN" }), "NaN"],
    ["rank", part({ rank: 3.214, rank_of: 16 }), "3.2 of 16"], ["rank", part({ rank: 15.97 }), "16"],
    ["grad", part({ grad: 0 }), "0"], ["grad", part(), "–"],
    ["state", part(), "ok"], ["state", part({ state: "stalled" }), "▲ stalled"],
  ] as const)("writes %s of %o as %s", (id, cell, expected) => expect(text(id, cell)).toBe(expected));

  it("shows ‖ΔW‖ where movement relative to the weights is not known", () => {
    expect(text("moved", layer(0, { delta_norm: 0.25 }), "norm")).toBe("0.25");
    expect(text("moved", part({ norm: 0.5 }), "norm")).toBe("0.5");
  });
});

describe("layers and kinds", () => {
  it("orders the kinds as a layer computes them, a kind of tomorrow last", () => {
    const layers = [layer(0, { parts: { router: part(), mlp: part() } }), layer(1, { parts: { qkv: part() } })];
    expect(kindsOf(layers).map(({ title }) => title)).toEqual(["q k v", "mlp", "router"]);
  });

  it("names layers, with the stack where there are several", () => {
    expect(nameOf({ stack: "", layer: 3 }, {})).toBe("layer 3");
    expect(nameOf({ stack: "", layer: -1 }, {})).toBe("outside the layers");
    expect(nameOf({ stack: "model.text.layers", layer: 3 }, { "model.text.layers": "text" })).toBe("text 3");
  });

  it("scales by what is finite", () => {
    expect(largest([1, "NaN", null, 3, "Infinity"])).toBe(3);
    expect(largest([null, "NaN"])).toBe(0);
  });
});
