/** Every layer and kind of module in one quantity, in numbers. */

import type { Layer } from "../records";
import type { LoraLayers } from "../snapshot";
import type { TableData, Value } from "../tables";
import {
  finite, formatMoved, GLYPHS, kindsOf, largest, nameOf, norm, type Cell, type Movement, type Quantity,
  type Stacks,
} from "./quantities";
import { formatExact, formatNumber } from "../format";

export function AllLayers({ lora, quantity }: { lora: LoraLayers; quantity: Quantity }) {
  const { layers, movement, stacks } = lora;
  return (
    <div data-data={`Layers, ${quantity.title}`}>
      <Table layers={layers} stacks={stacks} quantity={quantity} movement={movement} />
    </div>
  );
}

interface TableProps {
  layers: readonly Layer[];
  stacks: Stacks;
  quantity: Quantity;
  movement: Movement;
}

function Table({ layers, stacks, quantity, movement }: TableProps) {
  const kinds = kindsOf(layers);
  const cells: Cell[] = layers.flatMap((layer) => [layer, ...Object.values(layer.parts)]);
  const most = largest(cells.map((cell) => quantity.value(cell, movement)));
  const hasNorm = quantity.id === "moved" && movement === "relative";
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="All layers by kind">
      <table class="layers">
        <thead>
          <tr>
            <th scope="col">Layer</th>
            {kinds.map(({ key, title }) => <th scope="col" key={key}>{title}</th>)}
            <th scope="col">all</th>
            {hasNorm && <th scope="col">‖ΔW‖</th>}
          </tr>
        </thead>
        <tbody>
          {layers.map((layer) => (
            <tr key={nameOf(layer, stacks)}>
              <th scope="row">{nameOf(layer, stacks)} <State state={layer.state} /></th>
              {kinds.map(({ key }) => (
                <Value
                  key={key} cell={layer.parts[key]} most={most} quantity={quantity} movement={movement}
                />
              ))}
              <Value cell={layer} most={most} quantity={quantity} movement={movement} whole />
              {hasNorm && <td data-value={String(norm(layer))} title={formatExact(norm(layer))}>{formatNumber(norm(layer))}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Value({ cell, most, quantity, movement, whole = false }: {
  cell: Cell | undefined; most: number; quantity: Quantity; movement: Movement; whole?: boolean;
}) {
  if (cell === undefined) {
    return <td class="unknown" title="not adapted" data-value=""><span class="unseen">not adapted</span></td>;
  }
  const value = quantity.value(cell, movement);
  const shaded = value !== null && !quantity.plain;
  const marked = !whole && cell.state !== "ok";
  const text = quantity.id === "moved" ? formatMoved(cell, movement) : quantity.text(cell, movement);
  return (
    <td
      class={`${shaded ? "moved" : ""}${marked ? ` marked state-${cell.state}` : ""}`}
      style={shaded ? { "--em": String(most > 0 ? finite(value) / most : 0) } : {}}
      title={[marked ? cell.state : "", value === null || quantity.id === "state" ? "" : formatExact(value)].filter(Boolean).join(", ")}
      data-value={quantity.id === "state" ? cell.state : value === null ? "" : String(value)}
    >
      {marked && quantity.id !== "state" && <span class="mark" aria-hidden="true">{GLYPHS[cell.state]}</span>}
      {text}
      {marked && quantity.id !== "state" && <span class="unseen">{cell.state}</span>}
    </td>
  );
}

/** A state that is not ok, as a sign and a word. */
export function State({ state }: { state: Layer["state"] }) {
  if (state === "ok") return null;
  return <span class={`layer-state state-${state}`}><span aria-hidden="true">{GLYPHS[state]} </span>{state}</span>;
}

const FIELDS = ["norm", "relative", "spectral", "rank", "rank_of", "speed", "impact", "impact_share", "grad", "state"] as const;

/** Every number of every layer and of each kind of module in it, "all" for the layer. */
export function everyPart(layers: readonly Layer[]): TableData {
  const row = (layer: Layer, kind: string, cell: Cell): Value[] =>
    [layer.stack, layer.layer, kind, ...FIELDS.map((field) => field === "norm" ? norm(cell) : cell[field])];
  return {
    columns: ["stack", "layer", "kind", ...FIELDS],
    rows: layers.flatMap((layer) => [
      row(layer, "all", layer), ...Object.entries(layer.parts).map(([kind, part]) => row(layer, kind, part)),
    ]),
  };
}
