/** The panels of a page in the order and the columns that its reader gave them. */

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { moveIn, ordered, spread } from "./order";
import { Frame } from "./panel";
import { keep, recall } from "./remember";

const GAP_PIXELS = 16;
const TWO_COLUMNS = "(min-width: 62rem)";

/** What stands in a frame of the page. */
export interface Placed {
  id: string;
  title: string;
  /** A few words for the heading, seen also while collapsed. */
  gist: string;
  startsCollapsed?: boolean;
  /** Spans both columns. */
  wide?: boolean;
  content: () => ComponentChildren;
}

export function Panels({ panels, page, files }: {
  panels: readonly Placed[];
  /** The order is remembered for each kind of page. */
  page: string;
  /** What the names of saved files begin with. */
  files: string;
}) {
  const box = useRef<HTMLDivElement>(null);
  const ids = panels.map(({ id }) => id);
  const [remembered, remember] = useState(() => recall(page));
  const [said, say] = useState("");
  const order = ordered(ids, remembered);
  const shown = order.map((id) => panels.find((panel) => panel.id === id)).filter((panel) => panel !== undefined);
  useColumns(box, order.join(" "));
  const move = (id: string, to: number, focus: boolean) => {
    const next = moveIn(order, id, to);
    keep(page, next.join(" "));
    remember(next.join(" "));
    say(`${panels.find((panel) => panel.id === id)?.title} is now panel ${next.indexOf(id) + 1} of ${next.length}`);
    if (focus) requestAnimationFrame(() => document.querySelector<HTMLElement>(`#panel-${id} h2 button`)?.focus());
  };
  return (
    <div class="panels" ref={box}>
      {shown.map((panel, i) => (
        <Frame
          key={panel.id} panel={panel} files={files} place={i} places={shown.length}
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
