/** The page: the bar on top, the headline, and the panels in as many columns as fit. */

import { useEffect, useState } from "preact/hooks";
import { address, follow, listRuns, runInAddress, runPath, type Link } from "./api";
import { Bar } from "./bar";
import type { RunView } from "./fold";
import { Headline } from "./headline";
import { Frame } from "./panel";
import { PANELS } from "./panels";
import type { RunSummary } from "./snapshot";
import { Theme, useTheme } from "./theme";

const LIST_EVERY_MILLISECONDS = 10_000;
const TWO_COLUMNS = "(min-width: 62rem)";

const WIDE = PANELS.filter((panel) => panel.wide);
const IN_COLUMNS = PANELS.filter((panel) => !panel.wide);
const DRAWN: ReadonlySet<string> = new Set(PANELS.flatMap((panel) => panel.curves ?? []));

export function App() {
  const theme = useTheme();
  const { runs, problem } = useRuns();
  const [chosen, choose] = useChosenRun();
  const id = chosen ?? runs?.[0]?.id ?? null;
  const { view, link, trouble } = useRun(id);
  const state = view?.snapshot.state;

  useEffect(() => {
    document.title = view ? `${view.id} · heldout` : "heldout";
  }, [view?.id]);

  return (
    <Theme.Provider value={theme.shown}>
      <Bar
        runs={runs ?? []} id={id} choose={choose} view={view} link={link} theme={theme}
        trouble={trouble}
      />
      <main class={link === "reconnecting" ? "stale" : ""} data-state={state}>
        {view ? <Run view={view} /> : <Waiting id={id} runs={runs} problem={trouble || problem} />}
      </main>
    </Theme.Provider>
  );
}

function Run({ view }: { view: RunView }) {
  const columns = useColumns();
  return (
    <>
      <Headline view={view} />
      <div class="columns">
        {Array.from({ length: columns }, (_, column) => (
          <div class="column" key={column}>
            {IN_COLUMNS.filter((_, i) => i % columns === column).map((panel) => (
              <Frame key={panel.id} panel={panel} view={view} drawn={DRAWN} />
            ))}
          </div>
        ))}
      </div>
      {WIDE.map((panel) => <Frame key={panel.id} panel={panel} view={view} drawn={DRAWN} />)}
    </>
  );
}

function Waiting({ id, runs, problem }: {
  id: string | null; runs: RunSummary[] | null; problem: string;
}) {
  return (
    <div class="waiting" role="status">
      {problem ? (
        <>
          <h1>This run cannot be shown</h1>
          <p>{problem}. Trying again.</p>
          <p><a href={address("./")}>Show the newest run</a></p>
        </>
      ) : runs?.length === 0 && id === null ? (
        <>
          <h1>No runs yet</h1>
          <p>This folder holds no run. One that starts writing here appears by itself.</p>
        </>
      ) : <p>Loading…</p>}
    </div>
  );
}

function useRuns(): { runs: RunSummary[] | null; problem: string } {
  const [runs, setRuns] = useState<RunSummary[] | null>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    let stopped = false;
    const load = async () => {
      if (document.hidden) return;
      try {
        const found = await listRuns();
        if (stopped) return;
        setRuns(found);
        setProblem("");
      } catch (error) {
        if (!stopped) setProblem(error instanceof Error ? error.message : String(error));
      }
    };
    void load();
    const timer = setInterval(() => void load(), LIST_EVERY_MILLISECONDS);
    return () => {
      stopped = true;
      clearInterval(timer);
    };
  }, []);
  return { runs, problem };
}

function useChosenRun(): [string | null, (id: string) => void] {
  const [id, setId] = useState(runInAddress);
  useEffect(() => {
    const moved = () => setId(runInAddress());
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  return [id, (next) => {
    history.pushState(null, "", address(runPath(next)));
    setId(next);
  }];
}

function useRun(id: string | null): { view: RunView | null; link: Link; trouble: string } {
  const [view, setView] = useState<RunView | null>(null);
  const [status, setStatus] = useState<{ link: Link; trouble: string }>({ link: "loading", trouble: "" });
  useEffect(() => {
    setView(null);
    setStatus({ link: "loading", trouble: "" });
    if (id === null) return undefined;
    return follow(id, { view: setView, link: (link, trouble) => setStatus({ link, trouble }) });
  }, [id]);
  // Between choosing another run and its first data the old one must not be shown under its name.
  return { view: view?.id === id ? view : null, ...status };
}

function useColumns(): number {
  const [wide] = useState(() => matchMedia(TWO_COLUMNS));
  const [columns, setColumns] = useState(wide.matches ? 2 : 1);
  useEffect(() => {
    const changed = () => setColumns(wide.matches ? 2 : 1);
    wide.addEventListener("change", changed);
    return () => wide.removeEventListener("change", changed);
  }, []);
  return columns;
}
