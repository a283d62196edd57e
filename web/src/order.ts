/** The order of the panels and the columns they stand in. Pure. */

/** The remembered order, with panels it does not know in the places they have by themselves. */
export function ordered(ids: readonly string[], remembered: string | null): string[] {
  const kept = (remembered ?? "").split(" ").filter((id) => ids.includes(id));
  if (kept.length === 0) return [...ids];
  const found = [...new Set(kept)];
  ids.forEach((id, i) => {
    if (!found.includes(id)) found.splice(i, 0, id);
  });
  return found;
}

export function moveIn(ids: readonly string[], id: string, to: number): string[] {
  const rest = ids.filter((other) => other !== id);
  rest.splice(Math.min(Math.max(to, 0), rest.length), 0, id);
  return rest;
}

export interface Placed {
  /** 1 or 2; 0 spans both. */
  column: number;
  top: number;
}

/** Below each other in the columns they had (`columns`), else in those that differ least in height. */
export function spread(
  items: readonly { height: number; wide: boolean }[], columns: readonly number[] | null,
): Placed[] {
  const chosen = columns ?? balanced(items);
  let [left, right] = [0, 0];
  return items.map(({ height, wide }, i) => {
    if (wide) {
      const top = Math.max(left, right);
      left = right = top + height;
      return { column: 0, top };
    }
    const column = chosen[i] || 1;
    const top = column === 1 ? left : right;
    if (column === 1) left += height;
    else right += height;
    return { column, top };
  });
}

/** A difference of two columns that nobody minds. */
const UNSEEN_PIXELS = 16;
/** Past this many between two wide ones each goes where there is more room, without trying all ways. */
const MOST_TRIED = 10;

/** The column of each; between two wide ones the two columns end as near to each other as they can. */
function balanced(items: readonly { height: number; wide: boolean }[]): number[] {
  const found: number[] = [];
  let block: number[] = [];
  const flush = () => {
    found.push(...split(block));
    block = [];
  };
  for (const { height, wide } of items) {
    if (!wide) block.push(height);
    else {
      flush();
      found.push(0);
    }
  }
  flush();
  return found;
}

/** 1 or 2 for each height, the first always 1. */
function split(heights: readonly number[]): number[] {
  const total = heights.reduce((sum, height) => sum + height, 0);
  if (heights.length > MOST_TRIED) {
    let [left, right] = [0, 0];
    return heights.map((height) => {
      const column = left <= right ? 1 : 2;
      if (column === 1) left += height;
      else right += height;
      return column;
    });
  }
  let best = { columns: [] as number[], off: Infinity, turns: 0 };
  for (let ways = 0; ways < 2 ** Math.max(0, heights.length - 1); ways += 1) {
    const columns = heights.map((_, i) => i > 0 && (ways >> (i - 1)) & 1 ? 2 : 1);
    const right = heights.reduce((sum, height, i) => sum + (columns[i] === 2 ? height : 0), 0);
    const off = Math.round(Math.abs(total - 2 * right) / UNSEEN_PIXELS);
    // Of two that are as even, the one that is read from left to right.
    const turns = columns.filter((column, i) => i > 0 && column !== columns[i - 1]).length;
    if (off < best.off || (off === best.off && turns > best.turns)) best = { columns, off, turns };
  }
  return best.columns;
}
