/** Keys that move through a list of links or buttons, as readers of mail and code know them. */

import { useEffect, useRef } from "preact/hooks";

type Action = (focused: HTMLElement | null) => void;

const MOVES: Record<string, number> = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };

/**
 * While nothing is being typed and no dialog is open: j, k and the arrows move the focus through what
 * `stops` selects inside `box`, Home and End go to its ends, and `actions` are called by their keys.
 */
export function useKeys(
  box: { readonly current: HTMLElement | null }, stops: string, actions: Readonly<Record<string, Action>>,
): void {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      const target = event.target as HTMLElement;
      if (target.closest("input:not([type=checkbox]), textarea, select, dialog, [contenteditable]")) {
        if (event.key === "Escape" && target instanceof HTMLInputElement) target.blur();
        return;
      }
      const found = [...box.current?.querySelectorAll<HTMLElement>(stops) ?? []];
      const at = found.indexOf(document.activeElement as HTMLElement);
      const act = latest.current[event.key];
      const step = MOVES[event.key];
      if (act) act(at < 0 ? null : found[at] as HTMLElement);
      else if (step !== undefined && (at >= 0 || !event.key.startsWith("Arrow"))) {
        move(found[at < 0 ? 0 : Math.min(found.length - 1, Math.max(0, at + step))]);
      } else if (at >= 0 && (event.key === "Home" || event.key === "End")) {
        move(found.at(event.key === "Home" ? 0 : -1));
      } else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [stops]);
}

function move(element: HTMLElement | undefined): void {
  element?.focus({ preventScroll: true });
  element?.closest("tr, [role=row]")?.scrollIntoView({ block: "nearest" });
}
