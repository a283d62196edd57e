import { describe, expect, it } from "vitest";
import { whyAbsent } from "./absent";
import type { Snapshot } from "./snapshot";

function said(...notes: [topic: string, text: string][]): Pick<Snapshot, "notes"> {
  return { notes: notes.map(([topic, text], step) => ({ step, time: 1, topic, text })) };
}

describe("why a number is not there", () => {
  it("is what the run itself wrote of it, the latest last", () => {
    const run = said(["signal", "no token entropy: the old reason"], ["signal", "no token entropy: the loss is fused"], ["data", "no token entropy: not of a signal"]);
    expect(whyAbsent(run, "token entropy", "not said")).toBe("No token entropy: the loss is fused.");
  });

  it("is told in general where the run wrote nothing", () => {
    const run = said(["signal", "no model FLOPs utilisation (MFU): no peak FLOP/s is known of cpu"], ["signal", "some token entropy: 1"]);
    expect(whyAbsent(run, "token entropy", "the trainer reports none")).toBe("No token entropy, because the trainer reports none.");
    expect(whyAbsent(run, "model FLOPs utilisation (MFU)", "x")).toBe("No model FLOPs utilisation (MFU): no peak FLOP/s is known of cpu.");
  });
});
