import { describe, expect, it, vi } from "vitest";

vi.stubGlobal("document", { baseURI: "http://host/sub/" });

const { list, parse, toQuery, value } = await import("../route");
const { fold } = await import("./lines");
const { matches, sorted, states } = await import("./table");
const { visible } = await import("./text");
const { inView, pagesOf } = await import("./window");
const { told } = await import("./said");
import type { RunLine } from "./types";

const HOME = "http://host/sub/";

function run(id: string, change: Partial<RunLine> = {}): RunLine {
  return {
    id, model: "tiny", source: "", state: "finished", step: 1, total_steps: 2, attempts: 1, started: 1,
    time: 1, em: null, em_low: null, em_high: null, n: null, em_step: null, has_set: true,
    best_checkpoint: null, best_em: null, action: null, alerts: {}, tokens_per_second: null,
    streaming_ce: null, spark: { what: "EM", steps: [], values: [] }, partial: false, tags: [], note: "",
    ...change,
  };
}

describe("addresses", () => {
  it("name a page under any sub-path", () => {
    expect(parse(`${HOME}#/runs`, HOME)).toEqual({ page: "runs", query: {} });
    expect(parse(`${HOME}run/a%2Fb`, HOME)).toEqual({ page: "run", id: "a/b" });
    expect(parse(`${HOME}#/run/a%20b/examples?kind=wrong`, HOME))
      .toEqual({ page: "examples", id: "a b", query: { kind: "wrong" } });
    expect(parse(HOME, HOME)).toEqual({ page: "home" });
    expect(parse(`${HOME}#/nothing/of/that/kind`, HOME)).toEqual({ page: "home" });
    expect(parse(`${HOME}#/run/%E0%A4%A/examples`, HOME)).toEqual({ page: "home" });
  });

  it("carry lists whose texts hold commas, ampersands and signs of other scripts", () => {
    const runs = ["a,b", "c&d=e", "é ü?#", "1+1"];
    const route = parse(`${HOME}#/compare${toQuery({ runs, axis: "tokens", log: true, settings: "" })}`, HOME);
    expect(route.page).toBe("compare");
    if (route.page !== "compare") return;
    expect(list(route.query, "runs")).toEqual(runs);
    expect(value(route.query, "axis")).toBe("tokens");
    expect(value(route.query, "log")).toBe("1");
    expect(route.query).not.toHaveProperty("settings");
  });

  it("read what a form has written, and no broken escape", () => {
    expect(value({ bin: "100-300+x" }, "bin")).toBe("100-300 x");
    expect(list({ runs: "%E0%A4%A" }, "runs")).toEqual([]);
  });
});

describe("the list of runs", () => {
  it("replaces what has changed, drops what is gone, and starts over when told", () => {
    const runs = [run("a"), run("b"), run("c")];
    const changed = fold(runs, { runs: [run("b", { step: 9 }), run("d")], gone: ["c"], whole: false, now: 0 });
    expect(changed.map(({ id, step }) => [id, step])).toEqual([["b", 9], ["d", 1], ["a", 1]]);
    expect(fold(runs, { runs: [run("e")], gone: [], whole: true, now: 0 }).map(({ id }) => id)).toEqual(["e"]);
  });

  it("sorts what is not known last in both directions, and ties by age", () => {
    const runs = [run("none"), run("nan", { em: "NaN" }), run("low", { em: 0.1 }), run("high", { em: 0.9 }), run("late", { em: 0.1, time: 5 })];
    expect(sorted(runs, "-em").map(({ id }) => id)).toEqual(["high", "late", "low", "nan", "none"]);
    expect(sorted(runs, "em").map(({ id }) => id)).toEqual(["late", "low", "high", "nan", "none"]);
    expect(sorted([run("r10"), run("r9")], "id").map(({ id }) => id)).toEqual(["r9", "r10"]);
  });

  it("puts one critical alert above many warnings", () => {
    const runs = [run("many", { alerts: { warning: 40 } }), run("one", { alerts: { critical: 1 } }), run("none")];
    expect(sorted(runs, "-alerts").map(({ id }) => id)).toEqual(["one", "many", "none"]);
  });

  it("finds every word in name, model, tags and note", () => {
    const it = run("night", { model: "Qwen", tags: ["keep"], note: "good one" });
    expect(matches(it, "QWEN good", [])).toBe(true);
    expect(matches(it, "keep bad", [])).toBe(false);
    expect(matches(it, "", ["running"])).toBe(false);
    expect(matches(it, "", ["running", "finished"])).toBe(true);
  });

  it("counts the states, those that need a look first, also one of tomorrow", () => {
    const runs = [run("a"), run("b", { state: "died" }), run("c"), run("d", { state: "paused" as RunLine["state"] })];
    expect(states(runs)).toEqual([["died", 1], ["finished", 2], ["paused", 1]]);
  });
});

describe("text of others", () => {
  it("shows control characters and marks of direction, and keeps lines and tabs", () => {
    expect(visible("\u001b[31mred\u0007")).toBe("⟨U+001B⟩[31mred⟨U+0007⟩");
    expect(visible("\u202egnp.exe\u2069")).toBe("⟨U+202E⟩gnp.exe⟨U+2069⟩");
    expect(visible("a\r\nb\tc")).toBe("a\nb\tc");
    expect(visible("héllo 👩‍👧 مرحبا")).toBe("héllo 👩‍👧 مرحبا");
  });
});

describe("rows in view", () => {
  it("are those on the screen and a few around it", () => {
    expect(inView(200, 800, 100, 10_000)).toEqual({ first: 0, end: 12 });
    expect(inView(-500_000, 800, 100, 10_000)).toEqual({ first: 4994, end: 5014 });
    expect(inView(-999_500, 800, 100, 10_000)).toEqual({ first: 9989, end: 10_000 });
    expect(inView(-5000, 800, 100, 3)).toEqual({ first: 3, end: 3 });
    expect(inView(100, 800, 100, 0)).toEqual({ first: 0, end: 0 });
  });

  it("lie on the pages that are asked for", () => {
    expect(pagesOf({ first: 95, end: 105 }, 100)).toEqual([0, 1]);
    expect(pagesOf({ first: 0, end: 100 }, 100)).toEqual([0]);
    expect(pagesOf({ first: 5, end: 5 }, 100)).toEqual([]);
  });
});

describe("how an example went", () => {
  it("is told in stretches", () => {
    expect(told("00111-", [0, 14, 28, 42, 56, 70]))
      .toBe("wrong at steps 0–14, right at steps 28–56, not scored at step 70");
    expect(told("", [])).toBe("");
  });
});
