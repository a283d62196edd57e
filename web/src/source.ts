/** Where the page's data come from: a live server, or the document of a report file. */

import type { Detail } from "./snapshot";

export interface Source {
  /** Whether there are other pages to link to: runs, examples, exports. */
  pages: boolean;
  /** The JSON at a path of the server. Rejects with an Error whose message says what is wrong. */
  get: (path: string) => Promise<unknown>;
}

/** What a report file holds: the run as the server sends it, and the answers to what panels ask. */
export interface Embedded {
  run: Detail;
  /** By the server's path, as `api/runs/first/layers/20`. */
  answers: Record<string, unknown>;
  /** Unix seconds. */
  written: number;
}

/** The data of a report file; nothing leaves the document. */
export function embedded({ answers }: Embedded): Source {
  return {
    pages: false,
    get: (path) => Object.hasOwn(answers, path) ? Promise.resolve(answers[path])
      : Promise.reject(new Error("this report file does not hold it; the live page does")),
  };
}
