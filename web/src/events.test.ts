import { describe, expect, it } from "vitest";
import { clusters, isAlarm, moments, type RunMoment } from "./events";
import type { EvalResult } from "./records";
import type { Snapshot } from "./snapshot";

const change = { level: "warning", time: 0, message: "it rose" } as const;

const SNAPSHOT = {
  checkpoints: [{ step: 20, path: "checkpoint-20" }, { step: 40, path: "checkpoint-40" }],
  evals: [{ step: 20, em: 0.5, em_low: 0.4, em_high: 0.6, n: 100 } as EvalResult],
  alert_history: [{
    rule: "loss-spike", scope: "", changes: [
      { ...change, state: "pending", step: 9 }, { ...change, state: "open", step: 10 },
      { ...change, state: "escalated", level: "critical", step: 12 }, { ...change, state: "resolved", step: 30 },
    ],
  }],
  notes: [{ step: 25, time: 0, topic: "resume", text: "from checkpoint-20" }, { step: 1, time: 0, topic: "signal", text: "" }],
  fixed_eval: { tied: ["checkpoint-20", "checkpoint-40"], best_ckpt: "checkpoint-40" },
  decision: { action: "stop", checkpoint: "checkpoint-20", tied: [], reason: "", step: 40, evidence: {} },
} as unknown as Snapshot;

describe("what is marked on the time axis", () => {
  const found = moments(SNAPSHOT);

  it("is every opening and escalation of an alert, every evaluation, checkpoint and resume", () => {
    expect(found.map(({ step, kind, sign }) => `${step} ${kind} ${sign}`)).toEqual([
      "10 alert ▲", "12 alert ⬣", "20 evaluation ┃", "20 checkpoint ★", "25 note ↻", "40 checkpoint ◇",
    ]);
    expect(found.filter(isAlarm).map(({ step }) => step)).toEqual([10, 12]);
  });

  it("is told in words", () => {
    expect(found[0]?.text).toBe("warning loss-spike opened: it rose");
    expect(found[3]?.text).toBe("checkpoint-20 saved, recommended");
    expect(found[5]?.text).toBe("checkpoint-40 saved, tied with the best");
  });

  it("is one mark where several would touch, the gravest first", () => {
    const plot = { first: 0, last: 100, left: 0, right: 500, top: 0, bottom: 1 };
    const marks = clusters(found, plot);
    expect(marks.map(({ x, moments: held }) => [x, held.length])).toEqual([[50, 2], [100, 2], [125, 1], [200, 1]]);
    expect(marks[1]?.moments.map(({ kind }) => kind)).toEqual(["checkpoint", "evaluation"]);
  });

  it("is left out beyond the steps in view", () => {
    const plot = { first: 15, last: 30, left: 0, right: 100, top: 0, bottom: 1 };
    expect(clusters(found as RunMoment[], plot).flatMap(({ moments: held }) => held.map(({ step }) => step))).toEqual([20, 20, 25]);
  });
});
