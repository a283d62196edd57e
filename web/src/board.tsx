/** The page of one run: what to do on top, the range of steps in view, and the panels below. */

import { useEffect, useMemo } from "preact/hooks";
import { Panels, type Placed } from "./arrange";
import { Axis, SharedAxis, useRestingRange } from "./axis";
import { useDetail } from "./detail";
import { Events, moments } from "./events";
import type { RunView } from "./fold";
import { Headline } from "./headline";
import { PANELS } from "./panels";
import { RangeBar } from "./range";

export function Board({ view }: { view: RunView }) {
  const axis = useMemo(() => new Axis(), [view.id]);
  axis.whole = wholeOf(view);
  useEffect(() => {
    // A resume may take back steps that a range still points at.
    if (axis.range && axis.range.last > axis.whole.last) axis.show(axis.range);
  }, [view.snapshot.step]);
  const events = useMemo(() => moments(view.snapshot), [view.snapshot]);
  return (
    <SharedAxis.Provider value={axis}>
      <Events.Provider value={events}>
        <Headline view={view} />
        <RangeBar />
        <RunPanels view={view} />
      </Events.Provider>
    </SharedAxis.Provider>
  );
}

/** From the first step that anything was recorded at to the latest. */
function wholeOf({ series, snapshot }: RunView) {
  const starts = Object.values(series).map(({ steps }) => steps[0]).filter((step) => step !== undefined);
  const first = Math.min(...starts, ...snapshot.evals.slice(0, 1).map(({ step }) => step), snapshot.step);
  return { first, last: Math.max(snapshot.step, first + 1) };
}

/** Every panel of a run; finer points come once a gesture is at rest. */
function RunPanels({ view }: { view: RunView }) {
  const detailed = useDetail(view, useRestingRange());
  const drawn = new Set(PANELS.flatMap((panel) => panel.curves?.(view) ?? []));
  const panels = PANELS.map(({ component: Component, gist, ...panel }): Placed => ({
    ...panel, gist: gist?.(view, drawn) ?? "", content: () => <Component view={detailed} drawn={drawn} />,
  }));
  return <Panels panels={panels} page="panels" files={view.id} />;
}
