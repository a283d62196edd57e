import { describe, expect, it } from "vitest";

/** As text: a panel draws on a canvas, which only a browser has. */
const SOURCES = import.meta.glob<string>("./panels/*.tsx", {
  query: "?raw", import: "default", eager: true,
});

describe("the folder of panels", () => {
  const files = Object.entries(SOURCES);
  const found = files.map(([, text]) => /export const panel: Panel = \{([\s\S]*?)\n\};/.exec(text)?.[1]);

  it("holds the panels the page promises", () => expect(files.length).toBeGreaterThanOrEqual(6));

  it.each(files.map(([name], i) => [name, i] as const))("%s exports one panel", (_, i) => {
    expect(found[i]).toMatch(/\bid: "[a-z-]+",/);
    expect(found[i]).toMatch(/\btitle: ".+",/);
    expect(found[i]).toMatch(/\border: \d+,/);
    expect(found[i]).toMatch(/\bcomponent: [A-Z]\w+,/);
  });

  it("names each panel once", () => {
    const ids = found.map((text) => /\bid: "([a-z-]+)"/.exec(text ?? "")?.[1]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("sets no markup from text", () => {
    for (const [name, text] of files) {
      expect(text, name).not.toMatch(/innerHTML|dangerouslySetInnerHTML|insertAdjacentHTML/);
    }
  });
});
