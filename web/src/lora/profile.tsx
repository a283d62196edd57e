/** Movement and impact over depth, back to back: where one is tall and the other short is the news. */

import { formatExact, formatShare } from "../format";
import type { Float, Layer } from "../records";
import { toNumber } from "../fold";
import {
  finite, formatMoved, GLYPHS, IMPACT, largest, moved, nameOf, type Movement, type Stacks,
} from "./quantities";

const MOST_TICKS = 9;

export interface Column {
  index: number;
  layer: Layer | undefined;
}

export function Profile({ stack, stacks, layers, movement, top, topImpact }: {
  stack: string;
  stacks: Stacks;
  /** Those of the stack, by depth. */
  layers: readonly Layer[];
  movement: Movement;
  top: ReadonlySet<string>;
  topImpact: ReadonlySet<string>;
}) {
  const columns = columnsOf(layers);
  const hasImpact = layers.some((layer) => layer.impact_share !== null);
  const hasState = layers.some(({ state }) => state !== "ok");
  const farthest = most(layers, (layer) => moved(layer, movement));
  const weightiest = most(layers, (layer) => layer.impact_share);
  const every = tickEvery(columns.length);
  const measure = movement === "relative" ? "‖ΔW‖ / ‖W₀‖" : "‖ΔW‖";
  return (
    <figure class="profile">
      {stack && <p class="profile-stack">{stacks[stack] ?? stack}</p>}
      <Legend
        paint="--series-1" name="moved" about={measure}
        tallest={farthest && `${formatMoved(farthest, movement)} in ${nameOf(farthest, stacks)}`}
      />
      <div
        class="profile-grid" role="img"
        style={{ gridTemplateColumns: `var(--lora-label) repeat(${columns.length}, minmax(0, 1fr))` }}
        aria-label={told(layers, stacks, movement, farthest, weightiest)}
      >
        <span class="heat-label">moved</span>
        {columns.map(({ index, layer }) => (
          <Bar
            key={`up${index}`} up layer={layer}
            value={layer ? moved(layer, movement) : null}
            of={largest(layers.map((each) => moved(each, movement)))}
            title={layer ? `${nameOf(layer, stacks)}: moved ${formatMoved(layer, movement)} (${formatExact(moved(layer, movement))})` : `layer ${index}: not adapted`}
            marked={layer !== undefined && top.has(nameOf(layer, stacks))}
          />
        ))}
        <span />
        {columns.map(({ index }, i) => (
          <span class="profile-tick" key={`tick${index}`}>{i % every === 0 && <span>{index}</span>}</span>
        ))}
        {hasState && <span />}
        {hasState && columns.map(({ index, layer }) => (
          <span
            class={`profile-mark state-${layer?.state ?? "ok"}`} key={`mark${index}`}
            title={layer && `${nameOf(layer, stacks)}: ${layer.state}`}
          >
            {layer && GLYPHS[layer.state]}
          </span>
        ))}
        {hasImpact && <span class="heat-label">impact</span>}
        {hasImpact && columns.map(({ index, layer }) => (
          <Bar
            key={`down${index}`} layer={layer} value={layer?.impact_share ?? null}
            of={largest(layers.map((each) => each.impact_share))}
            title={layer ? `${nameOf(layer, stacks)}: ${formatShare(layer.impact_share)} of the impact (${formatExact(layer.impact_share)})` : `layer ${index}: not adapted`}
            marked={layer !== undefined && topImpact.has(nameOf(layer, stacks))}
          />
        ))}
      </div>
      {hasImpact && (
        <Legend
          paint="--series-2" name="impact" about={IMPACT}
          tallest={weightiest && `${formatShare(weightiest.impact_share)} in ${nameOf(weightiest, stacks)}`}
        />
      )}
    </figure>
  );
}

function Legend({ paint, name, about, tallest }: {
  paint: string; name: string; about: string; tallest: string | undefined;
}) {
  return (
    <p class="profile-legend">
      <span class="swatch" aria-hidden="true" style={{ background: `var(${paint})` }} />
      <b>{name}</b> {about}
      {tallest && <span class="profile-tallest">most: {tallest}</span>}
    </p>
  );
}

function Bar({ up = false, layer, value, of, title, marked }: {
  up?: boolean; layer: Layer | undefined; value: Float | null; of: number; title: string; marked: boolean;
}) {
  const kind = layer === undefined ? "absent" : value === null ? "unread"
    : !Number.isFinite(toNumber(value)) ? "broken" : marked ? "top" : "";
  const height = kind === "broken" || kind === "absent" ? 100 : of > 0 ? (100 * finite(value)) / of : 0;
  return (
    <span class={up ? "profile-cell up" : "profile-cell down"} title={title}>
      <span class={`profile-bar ${kind}`} style={{ height: `${height}%` }} />
    </span>
  );
}

/** One column an index from the first adapted layer to the last; those between may not be adapted. */
export function columnsOf(layers: readonly Layer[]): Column[] {
  const found = new Map(layers.map((layer) => [layer.layer, layer]));
  const [first, last] = [Math.min(...found.keys()), Math.max(...found.keys())];
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    index: first + i, layer: found.get(first + i),
  }));
}

export function tickEvery(columns: number): number {
  return [1, 2, 5, 10, 20, 50, 100].find((every) => columns / every <= MOST_TICKS) ?? 200;
}

function most(layers: readonly Layer[], value: (layer: Layer) => Float | null): Layer | undefined {
  const best = largest(layers.map(value));
  return best > 0 ? layers.find((layer) => finite(value(layer)) === best) : undefined;
}

function told(
  layers: readonly Layer[], stacks: Stacks, movement: Movement, farthest: Layer | undefined,
  weightiest: Layer | undefined,
): string {
  const first = `Movement of ${layers.length} layers by depth`;
  const far = farthest ? `: most ${formatMoved(farthest, movement)} in ${nameOf(farthest, stacks)}` : "";
  const weighty = weightiest
    ? ` Impact, the ${IMPACT}: most ${formatShare(weightiest.impact_share)} in ${nameOf(weightiest, stacks)}.` : "";
  return `${first}${far}.${weighty}`;
}
