/** Layers by depth and kinds of module in one quantity, as colour; the table below has the numbers. */

import { formatExact } from "../format";
import type { Layer } from "../records";
import type { LoraLayers } from "../snapshot";
import {
  finite, formatMoved, GLYPHS, kindsOf, largest, nameOf, type Cell, type Quantity,
} from "./quantities";
import { columnsOf, tickEvery } from "./profile";

export function Heat({ lora, quantity, layers }: {
  lora: LoraLayers; quantity: Quantity;
  /** Those of one stack. */
  layers: readonly Layer[];
}) {
  const { movement, stacks } = lora;
  const columns = columnsOf(layers);
  const kinds = kindsOf(layers);
  // A layer as a whole is larger than its parts: the scale is the parts'.
  const most = largest(layers.flatMap((layer) => Object.values(layer.parts)).map((cell) => quantity.value(cell, movement)));
  const every = tickEvery(columns.length);
  const text = (cell: Cell) => quantity.id === "moved" ? formatMoved(cell, movement) : quantity.text(cell, movement);
  const strongest = strongestOf(layers, (cell) => finite(quantity.value(cell, movement)));
  const isState = quantity.id === "state";
  const bad = layers.flatMap((layer) => Object.values(layer.parts)).filter(({ state }) => state !== "ok").length;
  return (
    <div
      class="heat" role="img" style={{ gridTemplateColumns: `var(--lora-label) repeat(${columns.length}, minmax(0, 1fr))` }}
      aria-label={isState
        ? `State of ${kinds.length} kinds of module in ${layers.length} layers: ${bad === 0 ? "all ok" : `${bad} not ok`}.`
        : `${quantity.title} of ${kinds.length} kinds of module in ${layers.length} layers${strongest ? `: most ${text(strongest.cell)} in ${strongest.kind} of ${nameOf(strongest.layer, stacks)}` : ""}.`}
    >
      {kinds.map(({ key, title }) => [
        <span class="heat-label" key={key}>{title}</span>,
        ...columns.map(({ index, layer }) => {
          const cell = layer?.parts[key];
          const where = layer ? `${nameOf(layer, stacks)}, ${title}` : `layer ${index}`;
          if (cell === undefined) return <span class="heat-cell unknown" key={key + index} title={`${where}: not adapted`} />;
          const value = quantity.value(cell, movement);
          const broken = value !== null && !Number.isFinite(Number(value));
          const off = cell.state !== "ok";
          return (
            <span
              class={`heat-cell${value === null ? " unread" : ""}${broken ? " broken" : ""}${off ? ` off state-${cell.state}` : ""}${isState ? " plain" : ""}`}
              key={key + index} title={`${where}: ${value === null ? "not known" : isState ? text(cell) : `${text(cell)} (${formatExact(value)})`}${off && !isState ? `, ${cell.state}` : ""}`}
              style={isState || value === null || broken ? {} : { "--em": String(most > 0 ? finite(value) / most : 0) }}
            >
              {off && <span>{GLYPHS[cell.state]}</span>}
            </span>
          );
        }),
      ])}
      <span />
      {columns.map(({ index }, i) => (
        <span class="profile-tick" key={`tick${index}`}>{i % every === 0 && <span>{index}</span>}</span>
      ))}
    </div>
  );
}

function strongestOf(layers: readonly Layer[], value: (cell: Cell) => number) {
  const cells = layers.flatMap((layer) => Object.entries(layer.parts).map(([kind, cell]) => ({ layer, kind, cell })));
  const most = Math.max(0, ...cells.map(({ cell }) => value(cell)));
  return most > 0 ? cells.find(({ cell }) => value(cell) === most) : undefined;
}
