import { describe, expect, it } from "vitest";
import type { Detail } from "./snapshot";
import { embedded } from "./source";

const run = { id: "a b" } as Detail;
const answers = { "api/runs/a%20b/layers/20": { step: 20 } };
const source = embedded({ run, answers, examples: null, written: 1 });

describe("the data of a report file", () => {
  it("answers what it holds, and has no other pages", async () => {
    expect([source.pages, source.examples]).toEqual([false, false]);
    expect(await source.get("api/runs/a%20b/layers/20")).toEqual({ step: 20 });
  });

  it.each(["api/runs", "api/runs/a%20b/layers/21", "api/runs/a%20b/examples?", "toString", "__proto__"])("refuses %s in words", async (path) => {
    await expect(source.get(path)).rejects.toThrow("does not hold it");
  });
});
