/** Which reading of the layers is shown: the latest, or one of those before. */

import { useEffect, useRef, useState } from "preact/hooks";
import { loadLayers } from "../api";
import type { RunView } from "../fold";
import { formatNumber } from "../format";
import type { LoraLayers } from "../snapshot";
import { attemptOf, standing, type Kept } from "./kept";

export interface Reading {
  lora: Partial<LoraLayers>;
  /** The step asked for; null follows the latest. */
  chosen: number | null;
  choose: (step: number | null) => void;
  problem: string;
}

/** The reading to show. While an earlier one is on its way, the one before stays. */
export function useReading(view: RunView): Reading {
  const latest = view.snapshot.lora;
  const [chosen, choose] = useState<number | null>(null);
  const [shown, show] = useState<LoraLayers | null>(null);
  const [problem, setProblem] = useState("");
  const attempt = attemptOf(view.snapshot);
  const last = latest.over_time?.steps.at(-1) ?? 0;
  const isGone = chosen !== null && chosen > last;
  const asked = isGone ? null : chosen;
  const known = useRef<Kept>({ attempt, byStep: new Map() });
  known.current = standing(known.current, attempt, last);
  useEffect(() => {
    if (isGone) choose(null);
  }, [isGone]);
  useEffect(() => {
    if (asked === null) {
      show(null);
      setProblem("");
      return undefined;
    }
    const { byStep } = known.current;
    const before = byStep.get(asked);
    if (before) {
      show(before);
      setProblem("");
      return undefined;
    }
    let stopped = false;
    loadLayers(view.id, asked).then(
      (found) => {
        byStep.set(asked, found);
        if (stopped) return;
        show(found);
        setProblem("");
      },
      (error: unknown) => { if (!stopped) setProblem(error instanceof Error ? error.message : String(error)); },
    );
    return () => { stopped = true; };
  }, [asked, view.id, attempt]);
  return { lora: asked === null ? latest : shown ?? latest, chosen: asked, choose, problem };
}

export function TimeSlider({ steps, lora, chosen, choose, problem }: Reading & { steps: readonly number[] }) {
  if (steps.length < 2) return null;
  const end = steps.length - 1;
  const at = chosen === null ? end : Math.max(0, steps.findLastIndex((step) => step <= chosen));
  return (
    <div class="time-slider">
      <label>
        <span>read at step <b>{formatNumber(lora.step)}</b></span>
        <input
          type="range" min={0} max={end} step={1} value={at}
          aria-label="Reading of the layers, by step" aria-valuetext={`step ${formatNumber(steps[at])}`}
          onInput={(event) => {
            const i = event.currentTarget.valueAsNumber;
            choose(i === end ? null : steps[i] ?? null);
          }}
        />
        <span class="time-ends"><span>{formatNumber(steps[0])}</span><span>{formatNumber(steps[end])}</span></span>
      </label>
      <button type="button" class="button small" disabled={chosen === null} onClick={() => choose(null)}>Latest</button>
      {problem && <p role="alert">This reading could not be loaded: {problem}</p>}
    </div>
  );
}
