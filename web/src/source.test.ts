import { describe, expect, it } from "vitest";
import type { Detail } from "./snapshot";
import { embedded } from "./source";

const source = embedded({ run: {} as Detail, answers: { "api/runs/a%20b/layers/20": { step: 20 } }, written: 1 });

describe("the data of a report file", () => {
  it("answers what it holds, and has no other pages", async () => {
    expect(source.pages).toBe(false);
    expect(await source.get("api/runs/a%20b/layers/20")).toEqual({ step: 20 });
  });

  it.each(["api/runs", "api/runs/a%20b/layers/21", "toString", "__proto__"])("refuses %s in words", async (path) => {
    await expect(source.get(path)).rejects.toThrow("does not hold it");
  });
});
