/** The rows of the examples, asked for in pages as they come into view. */

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api";
import { pagesOf, type Window } from "./window";
import type { ExampleRow, ExamplesPage } from "./types";

export const PAGE_SIZE = 100;
const RETRY_MILLISECONDS = 3000;
/** Pages kept; those asked for longest ago go first. */
const MOST_PAGES = 40;

export interface Rows {
  /** What came with the latest page: counts, filters, what is missing; null before the first. */
  about: Omit<ExamplesPage, "rows" | "offset"> | null;
  problem: string;
  row: (i: number) => ExampleRow | undefined;
}

/** Load what `window` shows of `path` (with its question mark); `version` says when to load it anew. */
export function useRows(path: string, version: string, view: Window): Rows {
  const pages = useRef(new Map<number, ExampleRow[]>());
  const asked = useRef(new Set<number>());
  const [about, setAbout] = useState<Rows["about"]>(null);
  const [problem, setProblem] = useState("");
  const [, drawAgain] = useState(0);
  const [attempt, tryAgain] = useState(0);
  const key = `${path} ${version}`;
  const current = useRef({ path, version });

  if (current.current.path !== path) {
    pages.current = new Map();
    asked.current = new Set();
  } else if (current.current.version !== version && current.current.version !== "") {
    asked.current = new Set(); // what is shown stays until what replaces it is here
  }
  current.current = { path, version };

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async (page: number) => {
      asked.current.add(page);
      try {
        const { rows, offset, ...rest } = await get<ExamplesPage>(
          `${path}&offset=${page * PAGE_SIZE}&limit=${PAGE_SIZE}`);
        if (current.current.path !== path) return;
        pages.current.set(offset / PAGE_SIZE, rows);
        const [oldest] = pages.current.keys();
        if (pages.current.size > MOST_PAGES && oldest !== undefined) {
          pages.current.delete(oldest);
          asked.current.delete(oldest);
        }
        setAbout(rest);
        setProblem("");
        drawAgain((n) => n + 1);
      } catch (error) {
        if (current.current.path !== path) return;
        asked.current.delete(page);
        setProblem(error instanceof Error ? error.message : String(error));
        timer = setTimeout(() => tryAgain((n) => n + 1), RETRY_MILLISECONDS);
      }
    };
    const wanted = new Set([...pagesOf(view, PAGE_SIZE), ...(pages.current.size ? [] : [0])]);
    for (const page of wanted) if (!asked.current.has(page)) void load(page);
    return () => clearTimeout(timer);
  }, [key, view.first, view.end, attempt]);

  return {
    about, problem,
    row: (i) => pages.current.get(Math.floor(i / PAGE_SIZE))?.[i % PAGE_SIZE],
  };
}
