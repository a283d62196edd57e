import { describe, expect, it } from "vitest";
import type { LoraLayers } from "../snapshot";
import { attemptOf, standing, type Kept } from "./kept";

function kept(...steps: number[]): Kept {
  return { attempt: "1 0", byStep: new Map(steps.map((step) => [step, { step } as LoraLayers])) };
}

const steps = ({ byStep }: Kept) => [...byStep.keys()];

describe("readings of the layers that are kept", () => {
  it("stay while the run goes on", () => {
    const all = kept(20, 40);
    expect(standing(all, "1 0", 60)).toBe(all);
    expect(steps(all)).toEqual([20, 40]);
  });

  it("go with a new attempt, whose readings do not mix with what is still on its way", () => {
    const old = kept(20, 40);
    const now = standing(old, "2 20", 20);
    expect(now).toEqual({ attempt: "2 20", byStep: new Map() });
    old.byStep.set(40, { step: 40 } as LoraLayers);
    expect(steps(now)).toEqual([]);
  });

  it("go where the run went back behind them", () => expect(steps(standing(kept(20, 40), "1 0", 20))).toEqual([20]));

  it("are of an attempt by when it began and from where", () => {
    const attempts = [{ time: 1, step: 0 }, { time: 2, step: 0 }, { time: 2, step: 20 }, null]
      .map((run) => attemptOf({ run } as Parameters<typeof attemptOf>[0]));
    expect(new Set(attempts).size).toBe(4);
  });
});
