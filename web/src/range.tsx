/** Which part of the axis every chart of the page shows, as numbers that can be typed. */

import { useContext } from "preact/hooks";
import { SharedAxis, useRange } from "./axis";
import { formatNumber } from "./format";

export function RangeBar() {
  const axis = useContext(SharedAxis);
  const range = useRange();
  const { first, last } = range ?? axis.whole;
  const { title, grain, count } = axis.unit;
  const step = grain === 1 ? 1 : "any";
  const set = (side: "first" | "last") => (event: { currentTarget: HTMLInputElement }) => {
    const value = event.currentTarget.valueAsNumber;
    if (Number.isFinite(value)) axis.show({ first, last, [side]: value });
    event.currentTarget.valueAsNumber = axis.shown[side];
  };
  return (
    <div class={range ? "range-bar zoomed" : "range-bar"} role="group" aria-label={`${title}s shown in all charts`}>
      <label>{title}s <input type="number" step={step} value={first} min={axis.whole.first} max={axis.whole.last} aria-label={`First ${title} shown`} onChange={set("first")} /></label>
      <label>to <input type="number" step={step} value={last} min={axis.whole.first} max={axis.whole.last} aria-label={`Last ${title} shown`} onChange={set("last")} /></label>
      <span class="range-buttons">
        <button type="button" class="button small" aria-label={`Earlier ${title}s`} disabled={!range} onClick={() => axis.move(-0.5)}><span aria-hidden="true">◂</span></button>
        <button type="button" class="button small" aria-label="Zoom in" onClick={() => axis.zoom(0.5)}><span aria-hidden="true">+</span></button>
        <button type="button" class="button small" aria-label="Zoom out" disabled={!range} onClick={() => axis.zoom(2)}><span aria-hidden="true">−</span></button>
        <button type="button" class="button small" aria-label={`Later ${title}s`} disabled={!range} onClick={() => axis.move(0.5)}><span aria-hidden="true">▸</span></button>
        <button type="button" class="button small" disabled={!range} onClick={() => axis.show(null)}>Reset</button>
      </span>
      <span class="range-hint">
        {range ? `${grain === 1 ? formatNumber(last - first) : count(last - first)} of ${count(axis.whole.last - axis.whole.first)}`
          : "drag over a chart to zoom all of them; double-click shows all again"}
      </span>
    </div>
  );
}
