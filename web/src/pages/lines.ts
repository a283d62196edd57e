/** The list of runs, live: loaded once, then kept up to date by server-sent events. */

import { useEffect, useState } from "preact/hooks";
import { address, get, type Link } from "../api";
import { hear } from "../stream";
import type { LinesEvent, RunLine, RunLines } from "./types";

const RETRY_MILLISECONDS = 3000;

export interface Lines {
  runs: RunLine[] | null;
  single: boolean;
  /** The server's clock less this browser's, in seconds. */
  ahead: number;
  link: Link;
  trouble: string;
}

const NONE: Lines = { runs: null, single: false, ahead: 0, link: "loading", trouble: "" };

/** Fold one event into the list: changed runs replace their lines, the newest stand first. */
export function fold(runs: readonly RunLine[], event: LinesEvent): RunLine[] {
  const changed = new Map(event.runs.map((run) => [run.id, run]));
  const gone = new Set(event.gone);
  const kept = event.whole ? [] : runs.filter((run) => !changed.has(run.id) && !gone.has(run.id));
  return [...event.runs, ...kept];
}

/** Follow the list while `wanted`. */
export function useLines(wanted: boolean): Lines {
  const [lines, setLines] = useState<Lines>(NONE);
  useEffect(() => {
    if (!wanted) return undefined;
    let silence = () => {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stopped = false;

    const again = (trouble: string) => {
      if (stopped) return;
      setLines((was) => ({ ...was, link: was.runs ? "reconnecting" : "loading", trouble }));
      timer = setTimeout(() => void load(), RETRY_MILLISECONDS);
    };

    const load = async () => {
      silence();
      try {
        const found = await get<RunLines>("api/runs");
        if (stopped) return;
        const { runs, single, now, version } = found;
        setLines({ runs, single, ahead: now - Date.now() / 1000, link: "live", trouble: "" });
        listen(version);
      } catch (error) {
        again(error instanceof Error ? error.message : String(error));
      }
    };

    const listen = (version: string) => {
      let since = version;
      silence = hear(() => address(`api/changes?since=${encodeURIComponent(since)}`), {
        open: () => setLines((was) => ({ ...was, link: "live", trouble: "" })),
        message: (message) => {
          since = message.lastEventId;
          const event = JSON.parse(message.data) as LinesEvent;
          setLines((was) => ({
            ...was, runs: fold(was.runs ?? [], event), ahead: event.now - Date.now() / 1000,
          }));
        },
        cut: (trouble) => setLines((was) => ({ ...was, link: "reconnecting", trouble })),
        refused: () => again("the server does not answer"),
      });
    };

    void load();
    return () => {
      stopped = true;
      clearTimeout(timer);
      silence();
    };
  }, [wanted]);
  return lines;
}
