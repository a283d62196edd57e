/** Tables as text, and the names of the files they go to. */

export type Value = string | number | null;

export interface TableData {
  columns: string[];
  rows: Value[][];
}

/** A cell that a spreadsheet would take for a formula is kept as text. */
export function toCsv({ columns, rows }: TableData): string {
  const cell = (value: Value) => {
    if (value === null) return "";
    const text = typeof value === "string" && /^[=+@\t\r-]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

/** An object a row. A number that is not finite is its name, as everywhere in heldout. */
export function toJson({ columns, rows }: TableData): string {
  const plain = (value: Value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  return JSON.stringify(rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, plain(row[i] ?? null)]))), null, 1) + "\n";
}

export function fileName(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 80);
}
