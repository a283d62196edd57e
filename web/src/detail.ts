/** What a zoom shows beyond the thinned series: the same steps again, thinned less. */

import { useEffect, useState } from "preact/hooks";
import { loadSeries } from "./api";
import type { Range } from "./axis";
import { merged, type RunView, type Series } from "./fold";

/** Let a drag or a turn of the wheel come to rest first. */
const REST_MILLISECONDS = 150;

interface Detail {
  id: string;
  range: Range;
  /** The last step the view had when this was asked for: later ones come from the view. */
  until: number;
  series: Record<string, Series>;
}

/** The view with the finest series known for `range`; the view itself while nothing finer is. */
export function useDetail(view: RunView, range: Range | null): RunView {
  const [detail, set] = useState<Detail | null>(null);
  const { id, thinned } = view;
  useEffect(() => {
    if (!range || !thinned) {
      set(null);
      return undefined;
    }
    let stopped = false;
    const until = view.snapshot.step;
    const timer = setTimeout(() => {
      loadSeries(id, range.first, range.last).then(
        (series) => { if (!stopped) set({ id, range, until, series }); },
        () => undefined, // what is drawn already stays; the next zoom asks again
      );
    }, REST_MILLISECONDS);
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [id, thinned, range?.first, range?.last]);
  if (!range || !detail || detail.id !== id || !covers(detail.range, range)) return view;
  const series: Record<string, Series> = { ...view.series };
  for (const [name, fine] of Object.entries(detail.series)) series[name] = merged(view.series[name], fine, detail.range, detail.until);
  return { ...view, series };
}

function covers(outer: Range, inner: Range): boolean {
  return outer.first <= inner.first && outer.last >= inner.last;
}
