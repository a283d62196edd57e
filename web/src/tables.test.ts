import { describe, expect, it } from "vitest";
import { fileName, toCsv, toJson } from "./tables";

const TABLE = { columns: ["step", "said, \"so\""], rows: [[1, 0.25], [2, null], [3, NaN], [4, "=1+1"], [5, "a\nb"]] as (string | number | null)[][] };

describe("tables as files", () => {
  it("writes CSV that a spreadsheet reads back, and no formula", () => {
    expect(toCsv(TABLE)).toBe('step,"said, ""so"""\n1,0.25\n2,\n3,NaN\n4,\'=1+1\n5,"a\nb"\n');
  });

  it("writes JSON in which what is not finite is named", () => {
    const rows: unknown = JSON.parse(toJson({ columns: ["step", "value"], rows: [[1, Infinity], [2, null]] }));
    expect(rows).toEqual([{ step: 1, value: "Infinity" }, { step: 2, value: null }]);
  });

  it.each([["my run Loss, nats", "my-run-loss-nats"], ["../../etc/passwd", "etc-passwd"], ["×", ""]])(
    "names the file of %o %o", (text, expected) => expect(fileName(text)).toBe(expected));
});
