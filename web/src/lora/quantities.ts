/** What can be shown of a layer or of one kind of its modules, and how each number is written. */

import { toNumber } from "../fold";
import { formatNumber, formatShare } from "../format";
import type { Float, Layer, Part } from "../records";
import type { LayerState, LoraLayers } from "../snapshot";

export type Cell = Layer | Part;
export type Movement = LoraLayers["movement"];

export const IMPACT = "dependence of the training loss";

export interface Quantity {
  id: "moved" | "impact" | "speed" | "rank" | "grad" | "state";
  title: string;
  /** What the number is, in one line. */
  about: (movement: Movement) => string;
  value: (cell: Cell, movement: Movement) => Float | null;
  text: (cell: Cell, movement: Movement) => string;
  /** Not shaded: more of it is neither better nor worse. */
  plain?: true;
}

const RELATIVE = "‖ΔW‖ / ‖W₀‖, how far the weights have moved, relative to the frozen weights";

export const QUANTITIES: readonly Quantity[] = [
  {
    id: "moved",
    title: "moved",
    about: (movement) => movement === "relative" ? RELATIVE : "‖ΔW‖, how far the weights have moved",
    value: moved,
    text: formatMoved,
  },
  {
    id: "impact",
    title: "impact",
    about: () => `share of the impact: ${IMPACT}`,
    value: (cell) => cell.impact_share,
    text: (cell) => formatShare(cell.impact_share),
  },
  {
    id: "speed",
    title: "speed",
    about: () => "what one optimizer step changed, relative to the frozen weights",
    value: (cell) => cell.speed,
    text: (cell) => formatShare(cell.speed),
  },
  {
    id: "rank",
    title: "rank in use",
    about: () => "(Σσ²)² / Σσ⁴ of ΔW's singular values, of the rank there is; low is usual",
    value: (cell) => cell.rank,
    text: ({ rank, rank_of: of }) => rank === null ? "–"
      : `${formatRank(rank)}${of === null ? "" : ` of ${formatRank(of)}`}`,
    plain: true,
  },
  {
    id: "grad",
    title: "gradient",
    about: () => "norm of the gradients before clipping, at the last sampled step",
    value: (cell) => cell.grad,
    text: (cell) => formatNumber(cell.grad),
  },
  {
    id: "state",
    title: "state",
    about: () => "whether the modules train as they should",
    value: ({ state }) => state === "ok" ? 0 : 1,
    text: ({ state }) => state === "ok" ? "ok" : `${GLYPHS[state]} ${state}`,
    plain: true,
  },
];

/** Those that were read anywhere. */
export function known({ layers, movement }: Pick<LoraLayers, "layers" | "movement">): Quantity[] {
  return QUANTITIES.filter((quantity) =>
    quantity.id === "state" || layers.some((layer) => [layer, ...Object.values(layer.parts)]
      .some((cell) => quantity.value(cell, movement) !== null)));
}

export function moved(cell: Cell, movement: Movement): Float | null {
  return movement === "relative" ? cell.relative : norm(cell);
}

export function norm(cell: Cell): Float {
  return "norm" in cell ? cell.norm : cell.delta_norm;
}

export function formatMoved(cell: Cell, movement: Movement): string {
  return movement === "relative" ? formatShare(cell.relative) : formatNumber(norm(cell));
}

const TITLES: Readonly<Record<string, string>> = { qkv: "q k v" };
const ORDER = ["qkv", "o", "mlp", "other"];

/** The kinds of module that any layer has adapted, in the order of a layer's computation. */
export function kindsOf(layers: readonly Layer[]): { key: string; title: string }[] {
  const found = [...new Set(layers.flatMap((layer) => Object.keys(layer.parts)))];
  const place = (key: string) => ORDER.includes(key) ? ORDER.indexOf(key) : ORDER.length;
  return found.sort((a, b) => place(a) - place(b)).map((key) => ({ key, title: kindTitle(key) }));
}

export function kindTitle(key: string): string {
  return TITLES[key] ?? key;
}

export type Place = Pick<Layer, "stack" | "layer">;

export type Stacks = LoraLayers["stacks"];

/** Names a layer: its number, with its stack where there are several. */
export function nameOf({ stack, layer }: Place, stacks: Stacks): string {
  if (layer < 0) return "outside the layers";
  return stack ? `${stacks[stack] ?? stack} ${layer}` : `layer ${layer}`;
}

export const GLYPHS: Readonly<Record<LayerState, string>> = {
  "ok": "", "frozen": "■", "no-gradient": "▲", "stalled": "▲", "rounding": "▲", "blow-up": "✕",
};

/** The largest finite value; 0 where there is none. */
export function largest(values: readonly (Float | null)[]): number {
  return values.reduce<number>((most, value) => Math.max(most, finite(value)), 0);
}

/** 0 for what is unknown or not finite, which is marked in another way than by size. */
export function finite(value: Float | null): number {
  const x = value === null ? 0 : toNumber(value);
  return Number.isFinite(x) ? x : 0;
}

/** A rank in two digits: 3.2, 16. */
function formatRank(value: Float): string {
  const x = toNumber(value);
  return formatNumber(Number.isFinite(x) ? Number(x.toPrecision(x >= 10 ? 3 : 2)) : x);
}
