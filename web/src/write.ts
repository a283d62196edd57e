/** What people say of a run: read, and written beside its journal. */

import { address, get } from "./api";
import type { Float } from "./records";

/** An opening of an alert that somebody has acknowledged; a later one asks again. */
export interface Seen {
  rule: string;
  scope: string;
  step: number;
  /** When it was acknowledged, Unix seconds. */
  time: Float;
}

export interface Annotations {
  tags: string[];
  note: string;
  acknowledged: Seen[];
  /** What a write has to carry. */
  write_key: string;
}

function path(id: string): string {
  return `api/runs/${encodeURIComponent(id)}/annotations`;
}

export function loadAnnotations(id: string): Promise<Annotations> {
  return get<Annotations>(path(id));
}

/**
 * Send a change; resolves to what stands now. Rejects with an Error that says what went wrong.
 * The key is asked for each time: a server that was started again since has another one.
 */
export async function write(id: string, said: object): Promise<Partial<Annotations>> {
  const { write_key: key } = await loadAnnotations(id);
  const answer = await fetch(address(path(id)), {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Heldout-Write": key },
    body: JSON.stringify(said),
  }).catch(() => { throw new Error("the server does not answer"); });
  const body = (await answer.json().catch(() => null)) as Partial<Annotations> & { error?: string } | null;
  if (answer.ok && body !== null) return body;
  throw new Error(body?.error ?? `the server answered ${answer.status}`);
}
