/** What a panel is, and the frame around each: a heading that collapses it and remembers. */

import type { ComponentChildren, ComponentType } from "preact";
import type { RunView } from "./fold";
import { useRemembered } from "./remember";

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
  /** The metrics it draws over steps: nothing shows them a second time. */
  curves?: readonly string[];
  startsCollapsed?: boolean;
  /** Spans the page, below the columns. */
  wide?: boolean;
}

export function Frame({ panel, view, drawn }: PanelProps & { panel: Panel }) {
  const initial = panel.startsCollapsed ? "closed" : "open";
  const [state, set] = useRemembered(`panel:${panel.id}`, ["open", "closed"] as const, initial);
  const isOpen = state === "open";
  const body = `panel-body-${panel.id}`;
  const Component = panel.component;
  return (
    <section class={panel.wide ? "panel wide" : "panel"} id={`panel-${panel.id}`} aria-labelledby={`panel-title-${panel.id}`}>
      <h2 class="panel-head">
        <button
          type="button" aria-expanded={isOpen} aria-controls={body}
          onClick={() => set(isOpen ? "closed" : "open")}
        >
          <span class="chevron" aria-hidden="true" />
          <span class="panel-title" id={`panel-title-${panel.id}`}>{panel.title}</span>
          <span class="gist">{panel.gist?.(view, drawn) ?? ""}</span>
        </button>
      </h2>
      <div id={body} class="panel-body" hidden={!isOpen}>
        {isOpen && <Component view={view} drawn={drawn} />}
      </div>
    </section>
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

/** Says why there is nothing to draw. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export interface FactProps {
  label: string;
  value: ComponentChildren;
  note?: ComponentChildren;
}

/** A number with its name above and its interval, n or unit below. */
export function Fact({ label, value, note }: FactProps) {
  return (
    <div class="fact">
      <dt>{label}</dt>
      <dd>
        <span class="fact-value">{value}</span>
        {note !== undefined && <span class="fact-note">{note}</span>}
      </dd>
    </div>
  );
}
