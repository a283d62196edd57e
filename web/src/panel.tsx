/** What a panel is, and the frame around each: it folds, moves, fills the screen and saves what it shows. */

import type { ComponentChildren, ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Placed } from "./arrange";
import type { RunView } from "./fold";
import { exporting } from "./marks";
import { download, nameOf, type Kind } from "./picture";
import { useRemembered } from "./remember";
import type { TableData } from "./tables";

export interface PanelProps {
  view: RunView;
  /** The metrics whose curves other panels draw. */
  drawn: ReadonlySet<string>;
}

/** One file in panels/ exports one of these as `panel`; nothing else has to be edited. */
export interface Panel {
  id: string;
  title: string;
  /** Place on the page, smallest first; ties by id. */
  order: number;
  component: ComponentType<PanelProps>;
  /** A few words for the heading, seen also while collapsed. */
  gist?: (view: RunView, drawn: ReadonlySet<string>) => string;
  /** The metrics that it draws of a run: nothing shows them a second time. */
  curves?: (view: RunView) => readonly string[];
  startsCollapsed?: boolean;
  /** Spans both columns. */
  wide?: boolean;
}

interface FrameProps {
  panel: Placed;
  /** What the names of saved files begin with. */
  files: string;
  /** Where it stands among `places` panels, from 0. */
  place: number;
  places: number;
  move: (to: number, focus?: boolean) => void;
  /** Another panel was dropped on this one. */
  drop: (id: string) => void;
}

const DRAGGED = "application/x-heldout-panel";

export function Frame({ panel, files, place, places, move, drop }: FrameProps) {
  const initial = panel.startsCollapsed ? "closed" : "open";
  const [state, set] = useRemembered(`panel:${panel.id}`, ["open", "closed"] as const, initial);
  const [full, setFull] = useState(false);
  const [over, setOver] = useState(false);
  const isOpen = state === "open";
  const body = `panel-body-${panel.id}`;
  const carried = (event: DragEvent) => event.dataTransfer?.types.includes(DRAGGED) ?? false;
  return (
    <section
      class={`panel${panel.wide ? " wide" : ""}${over ? " drop-here" : ""}`} id={`panel-${panel.id}`}
      aria-labelledby={`panel-title-${panel.id}`} data-open={isOpen ? "1" : "0"}
      onDragOver={(event) => {
        if (!carried(event)) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        setOver(false);
        const id = event.dataTransfer?.getData(DRAGGED);
        if (!id || id === panel.id) return;
        event.preventDefault();
        drop(id);
      }}
    >
      <div class="panel-head">
        <h2>
          <button
            type="button" aria-expanded={isOpen} aria-controls={body}
            aria-keyshortcuts="Alt+ArrowUp Alt+ArrowDown"
            onClick={() => set(isOpen ? "closed" : "open")}
            onKeyDown={(event) => {
              const by = event.altKey ? { ArrowUp: -1, ArrowDown: 1 }[event.key] : undefined;
              if (by === undefined) return;
              event.preventDefault();
              move(place + by);
            }}
          >
            <span class="chevron" aria-hidden="true" />
            <span class="panel-title" id={`panel-title-${panel.id}`}>{panel.title}</span>
            <span class="gist">{panel.gist}</span>
          </button>
        </h2>
        <span
          class="grip" draggable aria-hidden="true" title="Drag to move"
          onDragStart={(event) => event.dataTransfer?.setData(DRAGGED, panel.id)}
        >⠿</span>
        <Menu
          title={panel.title} body={body} files={files} isOpen={isOpen} maximise={() => setFull(true)}
          {...(place > 0 ? { up: () => move(place - 1) } : {})}
          {...(place < places - 1 ? { down: () => move(place + 1) } : {})}
        />
      </div>
      <div id={body} class="panel-body" hidden={!isOpen}>
        {isOpen && !full && panel.content()}
      </div>
      {full && (
        <FullScreen
          title={panel.title} close={() => setFull(false)} body={`${body}-full`}
          menu={<Menu title={panel.title} body={`${body}-full`} files={files} isOpen />}
        >
          {panel.content()}
        </FullScreen>
      )}
    </section>
  );
}

/** What can be done with a panel: a button that discloses more of them. */
function Menu({ title, body, files, isOpen, maximise, up, down }: {
  title: string; body: string; files: string; isOpen: boolean;
  maximise?: () => void; up?: () => void; down?: () => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const [open, setOpen] = useState(false);
  const [failed, setFailed] = useState("");
  const act = (action: () => void) => () => {
    setOpen(false);
    action();
  };
  useEffect(() => {
    if (!open) return undefined;
    box.current?.querySelector<HTMLElement>(".menu-list button")?.focus();
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
    };
  }, [open]);
  const save = (element: Element, kind: Kind) => {
    setFailed("");
    download(element, kind, files).then(
      () => { setOpen(false); opener.current?.focus(); },
      (error: unknown) => setFailed(error instanceof Error ? error.message : String(error)),
    );
  };
  return (
    <div
      class="menu" ref={box}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !open) return;
        event.stopPropagation();
        setOpen(false);
        opener.current?.focus();
      }}
    >
      <button
        type="button" class="menu-button" ref={opener} aria-expanded={open} aria-label={`Options of ${title}`}
        onClick={() => setOpen(!open)}
      >
        <span aria-hidden="true">⋯</span>
      </button>
      {open && (
        <div class="menu-list" role="group" aria-label={`Options of ${title}`}>
          {isOpen && maximise && <button type="button" onClick={act(maximise)}>Full screen</button>}
          {up && <button type="button" onClick={act(up)}>Move up</button>}
          {down && <button type="button" onClick={act(down)}>Move down</button>}
          {isOpen && exportsOf(body).map(({ element, name, kinds }) => (
            <div class="menu-export" role="group" aria-label={`Save ${name}`} key={name + kinds.join()}>
              <span>{name}</span>
              {kinds.map((kind) => (
                <button type="button" key={kind} aria-label={`Save ${name} as ${kind}`} onClick={() => save(element, kind)}>{kind}</button>
              ))}
            </div>
          ))}
          {failed && <p role="alert">Not saved: {failed}</p>}
        </div>
      )}
    </div>
  );
}

/** The pictures and tables that stand in a panel now, by what they are called. */
function exportsOf(body: string): { element: Element; name: string; kinds: Kind[] }[] {
  const found = [...document.querySelectorAll<HTMLElement>(`#${body} [data-picture], #${body} [data-data]`)];
  return found.map((element) => ({
    element,
    name: nameOf(element),
    kinds: [
      ...(element.dataset["picture"] === undefined ? [] : ["PNG", "SVG"] as const),
      ...(element.dataset["data"] === undefined ? [] : ["CSV", "JSON"] as const),
    ],
  }));
}

/** The panel over everything else; Escape leaves it, and the focus returns to where it was. */
function FullScreen({ title, close, body, menu, children }: {
  title: string; close: () => void;
  /** The id of what holds the content. */
  body: string;
  menu: ComponentChildren; children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current?.showModal();
    return () => before?.focus();
  }, []);
  return (
    <dialog class="full" ref={dialog} aria-label={title} onClose={close}>
      <div class="full-head">
        <h2>{title}</h2>
        {menu}
        <button type="button" class="button" onClick={() => dialog.current?.close()}>Leave full screen</button>
      </div>
      <div class="full-body" id={body}>{children}</div>
    </dialog>
  );
}

/** More of the same for who wants it: a disclosure that remembers whether it is open. */
export function Fold({ id, title, startsOpen = false, children }: {
  id: string; title: ComponentChildren; startsOpen?: boolean; children: ComponentChildren;
}) {
  const initial = startsOpen ? "open" : "closed";
  const [state, set] = useRemembered(`fold:${id}`, ["open", "closed"] as const, initial);
  return (
    <details
      open={state === "open"}
      onToggle={(event) => {
        const now = event.currentTarget.open ? "open" : "closed";
        if (now !== state) set(now);
      }}
    >
      <summary>{title}</summary>
      {state === "open" && children}
    </details>
  );
}

/** Something that saves as a table with exact values, under a name of its own. */
export function Saved({ name, table, children }: { name: string; table: () => TableData; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => exporting(box.current as HTMLElement, { table }));
  return <div ref={box} data-data={name}>{children}</div>;
}

/** Says why there is nothing to draw. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export interface FactProps {
  label: string;
  value: ComponentChildren;
  note?: ComponentChildren;
  /** All its digits, told on hovering. */
  exact?: string;
}

/** A number with its name above and its interval, n or unit below. */
export function Fact({ label, value, note, exact }: FactProps) {
  return (
    <div class="fact">
      <dt>{label}</dt>
      <dd>
        <span class="fact-value" title={exact}>{value}</span>
        {note !== undefined && <span class="fact-note">{note}</span>}
      </dd>
    </div>
  );
}

/** Radio buttons that look like one control: arrow keys choose. */
export function Segments<T extends string>({ name, legend, choices, chosen, choose }: {
  name: string; legend: string; choices: readonly { id: T; title: string }[]; chosen: T; choose: (id: T) => void;
}) {
  return (
    <fieldset class="segments">
      <legend class="unseen">{legend}</legend>
      {choices.map(({ id, title }) => (
        <label key={id} class={id === chosen ? "segment chosen" : "segment"}>
          <input
            type="radio" class="unseen" name={name} value={id} checked={id === chosen}
            onChange={() => choose(id)}
          />
          {title}
        </label>
      ))}
    </fieldset>
  );
}
