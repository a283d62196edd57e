/** The page of one run: what to do on top, the range of steps in view, and the panels below. */

import { useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Axis, SharedAxis, useRange } from "./axis";
import { Events, moments } from "./events";
import type { RunView } from "./fold";
import { formatNumber } from "./format";
import { Headline } from "./headline";
import { Frame } from "./panel";
import { PANELS } from "./panels";
import { moveIn, ordered, spread } from "./order";
import { keep, recall } from "./remember";
import { useDetail } from "./detail";

const GAP_PIXELS = 16;
const TWO_COLUMNS = "(min-width: 62rem)";

export function Board({ view }: { view: RunView }) {
  const axis = useMemo(() => new Axis(), [view.id]);
  axis.whole = wholeOf(view);
  useEffect(() => {
    // A resume may take back steps that a range still points at.
    if (axis.range && axis.range.last > axis.whole.last) axis.show(axis.range);
  }, [view.snapshot.step]);
  const events = useMemo(() => moments(view.snapshot), [view.snapshot]);
  return (
    <SharedAxis.Provider value={axis}>
      <Events.Provider value={events}>
        <Headline view={view} />
        <RangeBar />
        <Panels view={view} />
      </Events.Provider>
    </SharedAxis.Provider>
  );
}

/** From the first step that anything was recorded at to the latest. */
function wholeOf({ series, snapshot }: RunView) {
  const starts = Object.values(series).map(({ steps }) => steps[0]).filter((step) => step !== undefined);
  const first = Math.min(...starts, ...snapshot.evals.slice(0, 1).map(({ step }) => step), snapshot.step);
  return { first, last: Math.max(snapshot.step, first + 1) };
}

function Panels({ view }: { view: RunView }) {
  const range = useRange();
  const detailed = useDetail(view, range);
  const drawn = new Set(PANELS.flatMap((panel) => panel.curves?.(view) ?? []));
  const box = useRef<HTMLDivElement>(null);
  const [order, setOrder] = useState(() => ordered(PANELS.map(({ id }) => id), recall("panels")));
  const [said, say] = useState("");
  const panels = order.map((id) => PANELS.find((panel) => panel.id === id)).filter((panel) => panel !== undefined);
  useColumns(box, order.join(" "));
  const move = (id: string, to: number, focus: boolean) => {
    const next = moveIn(order, id, to);
    keep("panels", next.join(" "));
    setOrder(next);
    say(`${PANELS.find((panel) => panel.id === id)?.title} is now panel ${next.indexOf(id) + 1} of ${next.length}`);
    if (focus) requestAnimationFrame(() => document.querySelector<HTMLElement>(`#panel-${id} h2 button`)?.focus());
  };
  return (
    <div class="panels" ref={box}>
      {panels.map((panel, i) => (
        <Frame
          key={panel.id} panel={panel} view={detailed} drawn={drawn} place={i} places={panels.length}
          move={(to, focus = true) => move(panel.id, to, focus)}
          drop={(id) => move(id, i, false)}
        />
      ))}
      <p class="unseen" role="status">{said}</p>
    </div>
  );
}

/**
 * Lay the panels out in two columns of like height where there is room. The reading order stays the
 * order on the page; which column a panel stands in changes only when one is moved or folded, so
 * nothing jumps while a run goes on.
 */
function useColumns(box: { readonly current: HTMLElement | null }, order: string): void {
  useLayoutEffect(() => {
    const element = box.current as HTMLElement;
    const wide = matchMedia(TWO_COLUMNS);
    let known = { key: "", columns: [] as number[] };
    const lay = () => {
      const frames = [...element.querySelectorAll<HTMLElement>(":scope > .panel")];
      element.classList.toggle("two", wide.matches);
      if (!wide.matches) {
        for (const frame of frames) frame.style.gridArea = "";
        return;
      }
      const items = frames.map((frame) => ({
        height: frame.offsetHeight + GAP_PIXELS, wide: frame.classList.contains("wide"),
      }));
      const key = `${order} ${frames.map((frame) => frame.dataset["open"]).join("")}`;
      const found = spread(items, key === known.key ? known.columns : null);
      known = { key, columns: found.map(({ column }) => column) };
      found.forEach(({ column, top }, i) => {
        const frame = frames[i] as HTMLElement;
        const height = (items[i] as { height: number }).height;
        frame.style.gridArea = `${top + 1} / ${column || 1} / span ${height} / ${column ? "span 1" : "span 2"}`;
      });
    };
    const watch = new ResizeObserver(lay);
    for (const frame of element.querySelectorAll(":scope > .panel")) watch.observe(frame);
    wide.addEventListener("change", lay);
    lay();
    return () => {
      watch.disconnect();
      wide.removeEventListener("change", lay);
    };
  }, [order]);
}

/** Which steps every chart shows, as numbers that can be typed. */
function RangeBar() {
  const axis = useContext(SharedAxis);
  const range = useRange();
  const { first, last } = range ?? axis.whole;
  const set = (side: "first" | "last") => (event: { currentTarget: HTMLInputElement }) => {
    const value = event.currentTarget.valueAsNumber;
    if (Number.isFinite(value)) axis.show({ first, last, [side]: value });
    event.currentTarget.valueAsNumber = axis.shown[side];
  };
  return (
    <div class={range ? "range-bar zoomed" : "range-bar"} role="group" aria-label="Steps shown in all charts">
      <label>steps <input type="number" value={first} min={axis.whole.first} max={axis.whole.last} aria-label="First step shown" onChange={set("first")} /></label>
      <label>to <input type="number" value={last} min={axis.whole.first} max={axis.whole.last} aria-label="Last step shown" onChange={set("last")} /></label>
      <span class="range-buttons">
        <button type="button" class="button small" aria-label="Earlier steps" disabled={!range} onClick={() => axis.move(-0.5)}><span aria-hidden="true">◂</span></button>
        <button type="button" class="button small" aria-label="Zoom in" onClick={() => axis.zoom(0.5)}><span aria-hidden="true">+</span></button>
        <button type="button" class="button small" aria-label="Zoom out" disabled={!range} onClick={() => axis.zoom(2)}><span aria-hidden="true">−</span></button>
        <button type="button" class="button small" aria-label="Later steps" disabled={!range} onClick={() => axis.move(0.5)}><span aria-hidden="true">▸</span></button>
        <button type="button" class="button small" disabled={!range} onClick={() => axis.show(null)}>Reset</button>
      </span>
      <span class="range-hint">
        {range ? `${formatNumber(last - first)} of ${formatNumber(axis.whole.last - axis.whole.first)} steps`
          : "drag over a chart to zoom all of them; double-click shows all again"}
      </span>
    </div>
  );
}

