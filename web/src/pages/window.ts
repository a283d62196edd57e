/** Which rows of a long list are in view, and which pages of them have to be asked for. Pure. */

/** Rows drawn above and below the view, so that scrolling meets no gap. */
const MARGIN = 6;

export interface Window {
  first: number;
  /** Behind the last. */
  end: number;
}

/** The rows in view where the list's top edge stands `top` pixels below the view's. */
export function inView(top: number, viewHeight: number, rowHeight: number, rows: number): Window {
  const first = Math.min(rows, Math.max(0, Math.floor(-top / rowHeight) - MARGIN));
  const end = Math.min(rows, Math.max(first, Math.ceil((viewHeight - top) / rowHeight) + MARGIN));
  return { first, end };
}

/** The numbers of the pages that hold the rows of a window. */
export function pagesOf({ first, end }: Window, pageSize: number): number[] {
  if (end <= first) return [];
  const [from, to] = [Math.floor(first / pageSize), Math.floor((end - 1) / pageSize)];
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
