/** Buttons that save a table as a file, with every digit and every row, also those not drawn. */

import { contentOf, give, pngOf, toSvg, type Kind } from "../picture";
import type { TableData } from "../tables";

export function Save({ name, table, picture }: {
  name: string; table: () => TableData;
  /** What is saved as a picture, if anything: as it stands on the page. */
  picture?: () => Element | null;
}) {
  const save = async (kind: Kind) => {
    const element = picture?.();
    if (kind === "CSV" || kind === "JSON") give(contentOf(table(), kind), name, kind);
    else if (element) give(kind === "SVG" ? toSvg(element, name) : await pngOf(element), name, kind);
  };
  const kinds: readonly Kind[] = picture ? ["CSV", "JSON", "PNG", "SVG"] : ["CSV", "JSON"];
  return (
    <span class="choice">
      {kinds.map((kind) => (
        <button key={kind} type="button" class="button small" onClick={() => void save(kind)} aria-label={`${kind}: save ${name}`}>{kind}</button>
      ))}
    </span>
  );
}
