/** Where the page's data come from: a live server, or the document of a report file. */

import { answer, type Held } from "./pages/held";
import type { Detail } from "./snapshot";

export interface Source {
  /** Whether a server is there: for other runs, exports, and what people say. */
  pages: boolean;
  /** Whether the Examples page has something to show. */
  examples: boolean;
  /** The JSON at a path of the server. Rejects with an Error whose message says what is wrong. */
  get: (path: string) => Promise<unknown>;
}

/** What a report file holds: the run as the server sends it, and the answers to what panels ask. */
export interface Embedded {
  run: Detail;
  /** By the server's path, as `api/runs/first/layers/20`. */
  answers: Record<string, unknown>;
  /** Null where they were left out. */
  examples: Held | null;
  /** Unix seconds. */
  written: number;
}

/** The data of a report file; nothing leaves the document. */
export function embedded({ run, answers, examples }: Embedded): Source {
  const prefix = `api/runs/${encodeURIComponent(run.id)}/examples`;
  const find = (path: string) => Object.hasOwn(answers, path) ? answers[path]
    : examples && path.startsWith(prefix) ? answer(examples, path.slice(prefix.length)) : undefined;
  return {
    pages: false,
    examples: examples !== null,
    get: (path) => {
      const found = find(path);
      return found === undefined
        ? Promise.reject(new Error("this report file does not hold it; the live page does")) : Promise.resolve(found);
    },
  };
}
