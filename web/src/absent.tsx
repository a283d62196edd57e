/** Says in a line why numbers that a panel promises are not there. */

import type { Snapshot } from "./snapshot";

/** A number that a panel promises. */
export interface Promised {
  /** As the run's own note names it behind "no ". */
  name: string;
  isThere: boolean;
  /** Why, where the run wrote nothing of it. */
  why: string;
}

/** The run's latest note of it, else `why`. */
export function whyAbsent({ notes }: Pick<Snapshot, "notes">, name: string, why: string): string {
  const note = notes.findLast(({ topic, text }) => topic === "signal" && text.startsWith(`no ${name}: `));
  return note ? `N${note.text.slice(1)}.` : `No ${name}, because ${why}.`;
}

export function Absent({ snapshot, promised }: { snapshot: Snapshot; promised: readonly Promised[] }) {
  const told = promised.filter(({ isThere }) => !isThere).map(({ name, why }) => whyAbsent(snapshot, name, why));
  return told.length === 0 ? null : <p class="small-print">{told.join(" ")}</p>;
}
