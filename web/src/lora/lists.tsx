/** The layers that stand out, and the modules that are not ok. */

import { type Series, toNumber } from "../fold";
import { formatExact, formatNumber, formatShare } from "../format";
import { Fold } from "../panel";
import type { Float, Layer } from "../records";
import type { LayerCurve, LoraLayers } from "../snapshot";
import { Spark } from "../spark";
import { formatMoved, GLYPHS, IMPACT, moved, nameOf } from "./quantities";
import { State } from "./table";

export function Leaders({ lora }: { lora: LoraLayers }) {
  const { movement, top_moved: far, top_impact: weighty } = lora;
  const measure = movement === "relative" ? "‖ΔW‖ / ‖W₀‖" : "‖ΔW‖";
  const impact = (layer: Layer) => layer.impact_share === null ? ""
    : `impact ${formatShare(layer.impact_share)}`;
  return (
    <div class="pair lists" data-picture="Layers that stand out">
      <div>
        <h3>Moved most</h3>
        <p class="axis-title">{measure}</p>
        <List
          lora={lora} layers={far} curve="moved" paint="--series-1" note={impact}
          value={(layer) => formatMoved(layer, movement)} exact={(layer) => formatExact(moved(layer, movement))}
        />
      </div>
      {weighty.length > 0 && (
        <div>
          <h3>The training loss depends most on</h3>
          <p class="axis-title">share of the impact ({IMPACT})</p>
          <List
            lora={lora} layers={weighty} curve="impact_share" paint="--series-2"
            value={(layer) => formatShare(layer.impact_share)} exact={(layer) => formatExact(layer.impact_share)}
            note={(layer) => `moved ${formatMoved(layer, movement)}`}
          />
        </div>
      )}
    </div>
  );
}

function List({ lora, layers, curve, paint, value, exact, note }: {
  lora: LoraLayers;
  layers: readonly Layer[];
  curve: "moved" | "impact_share";
  paint: string;
  value: (layer: Layer) => string;
  exact: (layer: Layer) => string;
  note: (layer: Layer) => string;
}) {
  const { steps, layers: curves } = lora.over_time;
  return (
    <ol class="leaders">
      {layers.map((layer) => {
        const series = known(steps, find(curves, layer)?.[curve] ?? []);
        return (
          <li key={nameOf(layer, lora.stacks)}>
            <span class="leader-name">
              {nameOf(layer, lora.stacks)} <State state={layer.state} />
              <span class="leader-note">{note(layer)}</span>
            </span>
            {series.values.length > 1 ? (
              <Spark
                paint={paint} label={`${nameOf(layer, lora.stacks)} by step; latest ${value(layer)}`}
                series={series}
              />
            ) : <span />}
            <span class="leader-value" title={exact(layer)}>{value(layer)}</span>
          </li>
        );
      })}
    </ol>
  );
}

/** The readings that there are: one that was not made is no NaN. */
function known(steps: readonly number[], readings: readonly (Float | null)[]): Series {
  const made = readings.flatMap((x, i) => x === null ? [] : [{ step: steps[i] as number, x }]);
  return { steps: made.map(({ step }) => step), values: made.map(({ x }) => toNumber(x)) };
}

function find(curves: readonly LayerCurve[], { stack, layer }: Layer): LayerCurve | undefined {
  return curves.find((each) => each.stack === stack && each.layer === layer);
}

/** Grouped by state, worst first; what may be meant so is folded. */
export function Troubles({ lora }: { lora: LoraLayers }) {
  const { troubles, states, num_troubles: total } = lora;
  if (total === 0) return null;
  return (
    <>
      <h3>Modules that do not train normally ({formatNumber(total)})</h3>
      {states.map(({ state, meaning, modules }) => {
        const named = troubles.filter((trouble) => trouble.state === state);
        const more = modules - named.length;
        return (
          <div key={state} class={`trouble state-${state}`}>
            <Fold
              id={`lora-${state}`} startsOpen={state !== "frozen"}
              title={
                <>
                  <b><span aria-hidden="true">{GLYPHS[state]} </span>{state}</b>
                  {` ${formatNumber(modules)} ${modules === 1 ? "module" : "modules"}: ${meaning}`}
                </>
              }
            >
              <ul>
                {named.map(({ module }) => <li key={module}>{breakable(module)}</li>)}
                {more > 0 && (
                  <li class="more">
                    {named.length > 0 ? `and ${formatNumber(more)} more` : `${formatNumber(more)} not named here`}
                  </li>
                )}
              </ul>
            </Fold>
          </div>
        );
      })}
    </>
  );
}

/** A dotted name that breaks at its dots. */
function breakable(name: string) {
  return name.split(".").flatMap((part, i) => i === 0 ? [part] : [".", <wbr key={i} />, part]);
}
