/** What lies over a plot: the pointer and the keys move the shared cursor and range. */

import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { moved, SharedAxis, useCursor, zoomed, type Range, type Unit } from "./axis";
import type { Plot } from "./draw";
import { nearest, next, read, Stroke, told, type Line } from "./lines";

/** Farther than this a pointer has dragged, not clicked. */
const DRAG_PIXELS = 5;

/** Shows the cursor, a selection and, where the pointer is, the values. */
export function Glass({ plot, lines, name }: { plot: Plot; lines: Line[]; name: string }) {
  const axis = useContext(SharedAxis);
  const cursor = useCursor();
  const [drag, setDrag] = useState<{ from: number; to: number; pan: boolean } | null>(null);
  const [anchor, setAnchor] = useState<number | null>(null);
  const holder = useRef({}).current;
  const glass = useRef<HTMLDivElement>(null);
  const { left, right, first, last } = plot;
  const { unit } = axis;
  const toStep = (x: number) => first + ((x - left) * (last - first)) / (right - left);
  const toPixel = (step: number) => left + ((step - first) * (right - left)) / (last - first);
  const at = (event: MouseEvent) => {
    const x = event.clientX - (glass.current as HTMLElement).getBoundingClientRect().left;
    return Math.min(Math.max(x, left), right);
  };
  const selection: Range | null = drag && !drag.pan ? { first: toStep(drag.from), last: toStep(drag.to) }
    : anchor !== null && cursor !== null && axis.holder === holder ? { first: anchor, last: cursor } : null;

  const turned = (event: WheelEvent) => {
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : 0;
    const width = right - left;
    const step = toStep(at(event));
    if (event.ctrlKey || event.metaKey) axis.soon((range) => zoomed(range, 1.002 ** event.deltaY, step));
    else if (sideways && axis.range) axis.soon((range) => moved(range, (sideways * (range.last - range.first)) / width, axis.whole));
    else return;
    event.preventDefault();
  };
  const latest = useRef(turned);
  latest.current = turned;
  useEffect(() => {
    // Not passive, so that zooming does not scroll: only with a modifier, or sideways.
    const element = glass.current as HTMLElement;
    const listen = (event: WheelEvent) => latest.current(event);
    element.addEventListener("wheel", listen, { passive: false });
    return () => element.removeEventListener("wheel", listen);
  }, []);

  const keys: Record<string, () => void> = {
    ArrowLeft: () => axis.point(next(lines, cursor ?? last, -1, plot), holder),
    ArrowRight: () => axis.point(next(lines, cursor ?? first, 1, plot), holder),
    Home: () => axis.point(next(lines, first - unit.grain / 2, 1, plot), holder),
    End: () => axis.point(next(lines, last + unit.grain / 2, -1, plot), holder),
    PageUp: () => axis.move(-0.5),
    PageDown: () => axis.move(0.5),
    "+": () => axis.zoom(0.5),
    "=": () => axis.zoom(0.5),
    "-": () => axis.zoom(2),
    Escape: () => anchor === null ? axis.show(null) : setAnchor(null),
    "0": () => axis.show(null),
    Enter: () => {
      if (selection) axis.show(selection);
      setAnchor(null);
    },
  };
  const isHere = axis.holder === holder;
  const title = unit.title[0]?.toUpperCase() + unit.title.slice(1);
  return (
    <div
      ref={glass} class={drag?.pan ? "glass panning" : "glass"} role="slider" tabIndex={0}
      aria-label={`${title} on ${name}`} aria-valuemin={first} aria-valuemax={last}
      aria-valuenow={cursor ?? last} aria-valuetext={told(lines, cursor ?? last, unit)}
      aria-keyshortcuts="ArrowLeft ArrowRight Shift+ArrowRight Enter + - Escape"
      onPointerMove={(event) => {
        const x = at(event);
        axis.point(nearest(lines, toStep(x)), holder);
        if (!drag) return;
        if (drag.pan) axis.soon((range) => moved(range, ((drag.to - x) * (range.last - range.first)) / (right - left), axis.whole));
        setDrag({ ...drag, to: x });
      }}
      onPointerLeave={() => { if (!drag) axis.point(null, null); }}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        glass.current?.setPointerCapture(event.pointerId);
        setAnchor(null);
        setDrag({ from: at(event), to: at(event), pan: event.shiftKey && axis.range !== null });
      }}
      onPointerUp={() => {
        if (drag && !drag.pan && selection && Math.abs(drag.to - drag.from) > DRAG_PIXELS) axis.show(selection);
        setDrag(null);
      }}
      onPointerCancel={() => setDrag(null)}
      onDblClick={() => axis.show(null)}
      onBlur={() => { setAnchor(null); axis.point(null, null); }}
      onKeyDown={(event) => {
        const act = keys[event.key];
        if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        if (event.key.startsWith("Arrow")) setAnchor(event.shiftKey ? anchor ?? cursor ?? last : null);
        act();
      }}
    >
      {cursor !== null && cursor >= first && cursor <= last && (
        <span
          class={isHere ? "cursor here" : "cursor"}
          style={{ left: `${toPixel(cursor)}px`, top: `${plot.top}px`, height: `${plot.bottom - plot.top}px` }}
        />
      )}
      {selection && (drag === null || Math.abs(drag.to - drag.from) > DRAG_PIXELS) && (
        <span
          class="selection"
          style={{
            left: `${toPixel(Math.min(selection.first, selection.last))}px`,
            width: `${Math.abs(toPixel(selection.last) - toPixel(selection.first))}px`,
            top: `${plot.top}px`, height: `${plot.bottom - plot.top}px`,
          }}
        />
      )}
      {isHere && cursor !== null && <Tip lines={lines} step={cursor} x={toPixel(cursor)} plot={plot} selection={selection} unit={unit} />}
    </div>
  );
}

/** The exact values beside the cursor. */
function Tip({ lines, step, x, plot, selection, unit }: {
  lines: Line[]; step: number; x: number; plot: Plot; selection: Range | null; unit: Unit;
}) {
  const whole = (at: number) => Math.round(at / unit.grain) * unit.grain;
  const toLeft = x > (plot.left + plot.right) / 2;
  return (
    <div class={toLeft ? "tip to-left" : "tip"} style={{ left: `${x}px` }} aria-hidden="true">
      <p class="tip-step">
        {unit.say(step)}
        {selection && selection.first !== selection.last
          && ` · Enter or release shows ${unit.span(whole(Math.min(selection.first, selection.last)), whole(Math.max(selection.first, selection.last)))}`}
      </p>
      {lines.map((line) => {
        const found = read(line, step, unit);
        return (
          <p key={line.name}>
            <Stroke line={line} />{line.name} <b>{found.exact}</b>
            {found.more && <span class="tip-more">{found.more}</span>}
          </p>
        );
      })}
    </div>
  );
}
