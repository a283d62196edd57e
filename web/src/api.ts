/** The network: load a run, follow it, come back after a cut. All addresses are relative. */

import { apply, fold, needsReload, open, type RunView, type Series } from "./fold";
import type { Detail, LoraLayers, RunEvent, RunSummary, WireSeries } from "./snapshot";
import type { Source } from "./source";
import { hear } from "./stream";

/** Taken once: the address in the bar changes when another run is chosen. */
const BASE = document.baseURI;
const RETRY_MILLISECONDS = [500, 1000, 2000, 5000] as const;
/** An answer not here by then never comes; a dead line would hold one of the browser's few for ever. */
const LONGEST_ANSWER_MILLISECONDS = 120_000;

export type Link = "loading" | "live" | "reconnecting";

export function address(path: string): string {
  return new URL(path, BASE).href;
}

export function runPath(id: string): string {
  return `run/${encodeURIComponent(id)}`;
}

let source: Source = { pages: true, examples: true, get: ask };

/** Take the data from somewhere else than the server, from now on. */
export function readFrom(other: Source): void {
  source = other;
}

/** Whether a server is there, with other runs, exports, and what people say. */
export function hasPages(): boolean {
  return source.pages;
}

/** Whether there is an Examples page to link to. */
export function hasExamples(): boolean {
  return source.examples;
}

export async function get<T>(path: string): Promise<T> {
  return await source.get(path) as T;
}

async function ask(path: string): Promise<unknown> {
  const signal = AbortSignal.timeout(LONGEST_ANSWER_MILLISECONDS);
  const response = await fetch(address(path), { headers: { Accept: "application/json" }, signal })
    .catch(() => { throw new Error("the server does not answer"); });
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body;
  const error = (body as { error?: unknown } | null)?.error;
  throw new Error(typeof error === "string" ? error : `the server answered ${response.status}`);
}

export async function listRuns(): Promise<RunSummary[]> {
  return (await get<{ runs: RunSummary[] }>("api/runs?brief=1")).runs;
}

/** The series between two steps, thinned less than over the whole run. */
export async function loadSeries(id: string, first: number, last: number): Promise<Record<string, Series>> {
  const path = `api/runs/${encodeURIComponent(id)}/series?first=${first}&last=${last}`;
  return fold((await get<{ series: Record<string, WireSeries> }>(path)).series);
}

/** The layers as they were read at `step`. */
export function loadLayers(id: string, step: number): Promise<LoraLayers> {
  return get<LoraLayers>(`api/runs/${encodeURIComponent(id)}/layers/${step}`);
}

export interface Listener {
  view: (view: RunView) => void;
  link: (link: Link, problem: string) => void;
}

/** Load the run, then follow its events for ever; returns how to stop. */
export function follow(id: string, listener: Listener): () => void {
  const path = `api/runs/${encodeURIComponent(id)}`;
  let view: RunView | null = null;
  let silence = () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let stopped = false;

  async function load(): Promise<void> {
    silence();
    try {
      const loaded = open(await get<Detail>(path));
      if (stopped) return;
      view = loaded;
      listener.view(loaded);
      listen();
    } catch (error) {
      if (!stopped) again(error instanceof Error ? error.message : String(error), load);
    }
  }

  function listen(): void {
    silence();
    silence = hear(() => address(`${path}/events?cursor=${view?.cursor ?? 0}`), {
      open: () => {
        failures = 0;
        listener.link("live", "");
      },
      message: (message) => {
        if (view === null) return;
        const event = JSON.parse(message.data) as RunEvent;
        if (needsReload(view, event)) {
          void load();
          return;
        }
        view = apply(view, event, Number(message.lastEventId));
        listener.view(view);
      },
      cut: (problem) => listener.link("reconnecting", problem),
      refused: () => again("the server does not answer", load),
    });
  }

  function again(problem: string, action: () => Promise<void>): void {
    listener.link(view === null ? "loading" : "reconnecting", problem);
    const wait = RETRY_MILLISECONDS[Math.min(failures, RETRY_MILLISECONDS.length - 1)];
    failures += 1;
    clearTimeout(timer);
    timer = setTimeout(() => void action(), wait);
  }

  void load();
  return () => {
    stopped = true;
    clearTimeout(timer);
    silence();
  };
}
