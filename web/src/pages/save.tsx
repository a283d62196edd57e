/** Buttons that save a table as a file, with every digit and every row, also those not drawn. */

import { fileName, toCsv, toJson, type TableData } from "../tables";

const KINDS = { CSV: { write: toCsv, type: "text/csv" }, JSON: { write: toJson, type: "application/json" } } as const;

export function Save({ name, table }: { name: string; table: () => TableData }) {
  const save = (kind: keyof typeof KINDS) => {
    const { write, type } = KINDS[kind];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([write(table())], { type: `${type};charset=utf-8` }));
    link.download = `${fileName(name)}.${kind.toLowerCase()}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  return (
    <span class="choice">
      {(Object.keys(KINDS) as (keyof typeof KINDS)[]).map((kind) => (
        <button key={kind} type="button" class="button small" onClick={() => save(kind)} aria-label={`${kind}: save ${name}`}>{kind}</button>
      ))}
    </span>
  );
}
