/** Readings of the layers that were asked for, for as long as the run has not taken them back. */

import type { LoraLayers, Snapshot } from "../snapshot";

export interface Kept {
  /** Which attempt of the run they were read in. */
  attempt: string;
  byStep: Map<number, LoraLayers>;
}

export function attemptOf({ run }: Pick<Snapshot, "run">): string {
  return run === null ? "" : `${run.time} ${run.step}`;
}

/** Those that still stand: all go with a new attempt, and those past `last` with a step back. */
export function standing(kept: Kept, attempt: string, last: number): Kept {
  if (kept.attempt !== attempt) return { attempt, byStep: new Map() };
  for (const step of kept.byStep.keys()) {
    if (step > last) kept.byStep.delete(step);
  }
  return kept;
}
