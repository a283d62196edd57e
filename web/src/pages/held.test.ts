import { describe, expect, it } from "vitest";
import { embedded } from "../source";
import type { Detail } from "../snapshot";
import { tableOf, type Held } from "./held";
import type { ExampleRow, ExamplesPage, OneExample } from "./types";

const row = (line: number, change: Partial<ExampleRow>) => ({
  id: `id ${line}`, line, pattern: "x", bin: "0-100", tokens: 3, ce: 1, kinds: ["right"], went: "1", correct: true, ...change,
}) as ExampleRow;
const whole = (line: number, asked: string, golden: string, said: string) => ({
  id: `id ${line}`, golden, messages: [{ role: "system", content: "unseen" }, { role: "user", content: asked }],
  went: [{ said: { same: "", other: "old" } }, { said: { same: said.slice(0, 2), other: said.slice(2) } }],
}) as OneExample;
const rows = [
  row(1, { ce: "NaN", pattern: "b" }),
  row(2, { ce: 0.5, kinds: ["wrong"], went: "10-1", correct: false }),
  row(10, { ce: "Infinity", bin: "100-300", pattern: "a", tokens: 9 }),
];
const held: Held = {
  page: { rows, total: 3, offset: 0, n: 3, evals: [0, 5, 10, 15] } as unknown as ExamplesPage,
  whole: {
    "id 1": whole(1, "Straße", "Yes", "Yes"), "id 2": whole(2, "?", "No", "Never"), "id 10": whole(10, "?", "Maybe", "Maybe"),
  },
};
const source = embedded({ run: { id: "r/1" } as Detail, answers: {}, examples: held, written: 1 });
const lines = async (query: string) =>
  (await source.get(`api/runs/r%2F1/examples?${query}`) as ExamplesPage).rows.map(({ line }) => line);

describe("the examples of a report file", () => {
  it.each([
    ["", [1, 2, 10]],
    ["sort=-line", [10, 2, 1]],
    ["sort=ce", [2, 10, 1]],
    ["sort=-ce", [1, 10, 2]],
    ["sort=tokens", [1, 2, 10]],
    ["sort=pattern", [10, 1, 2]],
    ["sort=-changes", [2, 10, 1]],
    ["kind=wrong", [2]],
    ["pattern=a&bin=100-300", [10]],
    ["text=STRASSE", []],
    ["text=stra%C3%9Fe", [1]],
    ["text=never", [2]],
    ["text=old", []],
    ["text=unseen", []],
    ["offset=1&limit=1", [2]],
  ])("answers %s", async (query, expected) => {
    expect(await lines(query)).toEqual(expected);
  });

  it("counts what fits, and gives one example in full", async () => {
    const found = await source.get("api/runs/r%2F1/examples?kind=right&offset=1&limit=1") as ExamplesPage;
    expect([found.total, found.n, found.offset]).toEqual([2, 3, 1]);
    expect(await source.get("api/runs/r%2F1/examples/id%2010")).toBe(held.whole["id 10"]);
    await expect(source.get("api/runs/r%2F1/examples/toString")).rejects.toThrow("does not hold it");
  });

  it("is saved with whole texts and a column an evaluation", () => {
    const { columns, rows: saved } = tableOf([rows[1] as ExampleRow], [held.whole["id 2"] as OneExample], held.page.evals);
    const first = Object.fromEntries(columns.map((name, i) => [name, saved[0]?.[i]]));
    expect(first).toMatchObject({
      line: 2, correct: 0, kinds: "wrong", prompt: "?", golden: "No", model: "Never", "step 0": 1, "step 5": 0, "step 10": null, "step 15": 1,
    });
  });
});
