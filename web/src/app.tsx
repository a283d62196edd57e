/** The page: the bar on top, and below it what the address names. */

import { useEffect, useState } from "preact/hooks";
import { follow, listRuns, type Link } from "./api";
import { Bar } from "./bar";
import { Board } from "./board";
import type { RunView } from "./fold";
import { ComparePage } from "./pages/compare";
import { ExamplesPage } from "./pages/examples";
import { useLines } from "./pages/lines";
import { RunsPage } from "./pages/runs";
import type { RunLine } from "./pages/types";
import { go, to, useRoute, type Route } from "./route";
import type { RunSummary } from "./snapshot";
import { Theme, useTheme } from "./theme";

const LIST_EVERY_MILLISECONDS = 10_000;

export function App() {
  const theme = useTheme();
  const route = useRoute();
  const ofOneRun = route.page === "home" || route.page === "run" || route.page === "examples";
  const { runs, problem } = useRuns(ofOneRun);
  const shown = useHome(route, runs);
  const id = shown.page === "run" || shown.page === "examples" ? shown.id : null;
  const { view, link, trouble } = useRun(shown.page === "run" ? shown.id : null);
  const lines = useLines(shown.page === "runs" || shown.page === "examples" || shown.page === "compare");
  const isRun = shown.page === "run" || shown.page === "home";
  const stands = isRun ? { link, trouble } : lines;

  useEffect(() => {
    document.title = [TITLES[shown.page], id ?? "", "heldout"].filter(Boolean).join(" · ");
  }, [shown.page, id]);

  return (
    <Theme.Provider value={theme.shown}>
      <Bar
        page={shown.page} runs={runs ?? []} id={id} view={view} link={stands.link} theme={theme}
        trouble={stands.trouble} choose={(next) => go(shown.page === "examples" ? to.examples(next) : to.run(next))}
      />
      <main class={stands.link === "reconnecting" ? "stale" : ""} data-state={view?.snapshot.state}>
        {shown.page === "runs" ? <RunsPage lines={lines} query={shown.query} />
          : shown.page === "compare" ? <ComparePage lines={lines} query={shown.query} />
          : shown.page === "examples" ? <ExamplesPage key={shown.id} id={shown.id} query={shown.query} version={evaluated(lines.runs, shown.id)} />
          : view ? <Board key={view.id} view={view} />
          : <Waiting id={id} runs={runs} problem={trouble || problem} />}
      </main>
    </Theme.Provider>
  );
}

const TITLES: Partial<Record<Route["page"], string>> = { runs: "Runs", examples: "Examples", compare: "Compare" };

/** The page that the bare address means: the list of runs, or the run where there is only one. */
function useHome(route: Route, runs: RunSummary[] | null): Route {
  const [home, set] = useState<Route | null>(null);
  const first = runs?.[0];
  useEffect(() => {
    if (home !== null || first === undefined) return;
    set((runs?.length ?? 0) > 1 ? { page: "runs", query: {} } : { page: "run", id: first.id });
  }, [first === undefined, home]);
  return route.page === "home" ? home ?? route : route;
}

/** Changes whenever the run was evaluated again. */
function evaluated(runs: readonly RunLine[] | null, id: string): string {
  const run = runs?.find((line) => line.id === id);
  return run ? `${run.em_step} ${run.attempts}` : "";
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
          <p><a href={to.runs()}>Show all runs</a></p>
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

function useRuns(wanted: boolean): { runs: RunSummary[] | null; problem: string } {
  const [runs, setRuns] = useState<RunSummary[] | null>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (!wanted) return undefined;
    let stopped = false;
    let isAsking = false;
    const load = async () => {
      if (document.hidden || isAsking) return;
      isAsking = true;
      try {
        const found = await listRuns();
        if (stopped) return;
        setRuns(found);
        setProblem("");
      } catch (error) {
        if (!stopped) setProblem(error instanceof Error ? error.message : String(error));
      }
      isAsking = false;
    };
    void load();
    const timer = setInterval(() => void load(), LIST_EVERY_MILLISECONDS);
    return () => {
      stopped = true;
      clearInterval(timer);
    };
  }, [wanted]);
  return { runs, problem };
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
