import { describe, expect, it } from "vitest";
import { MAX_APPENDED, apply, gaps, needsReload, open } from "./fold";
import type { Detail, RunEvent, Snapshot } from "./snapshot";

const SNAPSHOT: Snapshot = {
  schema: 1, run: null, state: "running", step: 2, time: 10, metrics: {}, latest: {},
  streaming_ce: 2, streaming_course: "", current_entropy: 1, throughput: {}, evals: [], fixed_eval: {}, flips: {},
  bucket_matrix: {}, lora: {}, alerts: [], alert_history: [], not_checked: [], decision: null, advice: [],
  look_at: {}, data: null, checkpoints: [], notes: [],
};

function detail(): Detail {
  return {
    id: "run", snapshot: SNAPSHOT, cursor: 100, now: 11, exports: [], thinned: false,
    series: { "loss/step": { steps: [1, 1], values: [2, "NaN"] } },
  };
}

function event(samples: RunEvent["samples"], change: Partial<RunEvent> = {}): RunEvent {
  const live = {
    state: "running", step: 3, time: 12, latest: { "loss/step": 1 }, streaming_ce: 1.5, streaming_course: "smooth, flat",
    current_entropy: 0.9, throughput: { tokens_per_sec: 7 },
  } as const;
  return { samples, live, snapshot: null, reload: false, now: 12, ...change };
}

describe("folding a run", () => {
  it("reads the strings of non-finite numbers", () => {
    const view = open(detail());
    expect(view.series["loss/step"]).toEqual({ steps: [1, 2], values: [2, NaN] });
  });

  it("appends samples and keeps the live numbers fresh", () => {
    const view = apply(open(detail()), event([{ step: 3, values: { "loss/step": "Infinity" } }]), 150);
    expect(view.series["loss/step"]).toEqual({ steps: [1, 2, 3], values: [2, NaN, Infinity] });
    expect(view.snapshot.step).toBe(3);
    expect(view.snapshot.streaming_ce).toBe(1.5);
    expect(view.snapshot.throughput).toEqual({ tokens_per_sec: 7 });
    expect(view.cursor).toBe(150);
  });

  it("leaves the view before it as it was", () => {
    const before = open(detail());
    apply(before, event([{ step: 3, values: { "loss/step": 1 } }]), 150);
    expect(before.series["loss/step"]?.steps).toEqual([1, 2]);
  });

  it("starts a series for a metric never seen before", () => {
    const view = apply(open(detail()), event([{ step: 3, values: { "mine/new": 4 } }]), 150);
    expect(view.series["mine/new"]).toEqual({ steps: [3], values: [4] });
    expect(view.series["loss/step"]?.steps).toEqual([1, 2]);
  });

  it("joins a step recorded in parts", () => {
    const parts = [
      { step: 3, values: { "loss/step": 1 } },
      { step: 3, values: { "loss/step": 0.5, "grad/norm": 2 } },
    ];
    const view = apply(open(detail()), event(parts), 150);
    expect(view.series["loss/step"]?.steps).toEqual([1, 2, 3]);
    expect(view.series["loss/step"]?.values.at(-1)).toBe(0.5);
    expect(view.series["grad/norm"]).toEqual({ steps: [3], values: [2] });
  });

  it("ignores an event it has folded already", () => {
    const view = open(detail());
    expect(apply(view, event([{ step: 2, values: { "loss/step": 9 } }]), 100)).toBe(view);
  });

  it("takes a whole snapshot over the live fields", () => {
    const snapshot = { ...SNAPSHOT, state: "finished", step: 9 } as const;
    expect(apply(open(detail()), event([], { snapshot }), 150).snapshot).toBe(snapshot);
  });

  it("loads anew after a resume and when the tail has grown long", () => {
    const view = open(detail());
    expect(needsReload(view, event([]))).toBe(false);
    expect(needsReload(view, event([], { reload: true }))).toBe(true);
    const long = { ...view, appended: MAX_APPENDED };
    expect(needsReload(long, event([{ step: 3, values: {} }]))).toBe(true);
  });
});

describe("finding what is not finite", () => {
  it("joins neighbours of the same kind and keeps kinds apart", () => {
    const found = gaps({
      steps: [1, 2, 3, 4, 5, 6, 7], values: [NaN, 1, NaN, NaN, Infinity, -Infinity, 2],
    });
    expect(found).toEqual([
      { what: "NaN", first: 1, last: 1, count: 1 },
      { what: "NaN", first: 3, last: 4, count: 2 },
      { what: "Infinity", first: 5, last: 5, count: 1 },
      { what: "-Infinity", first: 6, last: 6, count: 1 },
    ]);
  });

  it("finds nothing in a finite series", () => {
    expect(gaps({ steps: [1, 2], values: [0, -3] })).toEqual([]);
  });
});
