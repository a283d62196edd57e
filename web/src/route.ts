/** Which page the address names, and how to go to another one without loading everything anew. */

import { useEffect, useState } from "preact/hooks";
import { address } from "./api";

export type Route =
  | { page: "home" }
  | { page: "runs"; query: Query }
  | { page: "run"; id: string }
  | { page: "examples"; id: string; query: Query }
  | { page: "compare"; query: Query };

/** What follows the question mark; values are still encoded, since a list is split before it is decoded. */
export type Query = Readonly<Record<string, string>>;

/** Where the page's own addresses begin; taken once, since the address in the bar changes. */
const HOME = address("./");
const CHANGED = "heldout:address";

export function parse(href: string, home: string = HOME): Route {
  const url = new URL(href);
  const path = decode(/^#\/([^?]*)/.exec(url.hash)?.[1]) ?? ownPath(url, home);
  const query = parseQuery(/\?(.*)$/s.exec(url.hash)?.[1] ?? "");
  const [first = "", id = "", last = "", ...more] = path;
  if (more.length > 0) return { page: "home" };
  if (first === "runs" && id === "") return { page: "runs", query };
  if (first === "compare" && id === "") return { page: "compare", query };
  if (first === "run" && id !== "" && last === "") return { page: "run", id };
  if (first === "run" && id !== "" && last === "examples") return { page: "examples", id, query };
  return { page: "home" };
}

function ownPath(url: URL, home: string): string[] {
  const root = new URL(home).pathname;
  return url.pathname.startsWith(root) ? decode(url.pathname.slice(root.length)) ?? [] : [];
}

function decode(path: string | undefined): string[] | null {
  if (path === undefined) return null;
  try {
    return path.split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

function parseQuery(text: string): Query {
  const pairs = text.split("&").filter(Boolean).map((pair) => {
    const [name = "", ...value] = pair.split("=");
    return [name, value.join("=")] as const;
  });
  return Object.fromEntries(pairs);
}

/** One value of a query as text; "" where it is not there or broken. */
export function value(query: Query, name: string): string {
  return list(query, name).join(",");
}

/** A value that is a list of texts, each encoded by itself. */
export function list(query: Query, name: string): string[] {
  try {
    return (query[name] ?? "").replaceAll("+", "%20").split(",").filter(Boolean).map(decodeURIComponent);
  } catch {
    return [];
  }
}

/** The part behind the question mark; empty values are left out. */
export function toQuery(values: Readonly<Record<string, string | readonly string[] | boolean>>): string {
  const pairs = Object.entries(values).flatMap(([name, given]) => {
    const texts = typeof given === "boolean" ? (given ? ["1"] : []) : [given].flat().filter(Boolean);
    return texts.length ? [`${name}=${texts.map(encodeURIComponent).join(",")}`] : [];
  });
  return pairs.length ? `?${pairs.join("&")}` : "";
}

export const to = {
  runs: (values: Parameters<typeof toQuery>[0] = {}) => address(`#/runs${toQuery(values)}`),
  run: (id: string) => address(`run/${encodeURIComponent(id)}`),
  examples: (id: string, values: Parameters<typeof toQuery>[0] = {}) =>
    address(`#/run/${encodeURIComponent(id)}/examples${toQuery(values)}`),
  compare: (runs: readonly string[], values: Parameters<typeof toQuery>[0] = {}) =>
    address(`#/compare${toQuery({ runs, ...values })}`),
};

/** Show another page of ours; `replace` does so without a step back to this one. */
export function go(href: string, replace = false): void {
  if (href === location.href) return;
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  dispatchEvent(new Event(CHANGED));
}

/** The route, kept up to date; links to pages of ours do not load the document again. */
export function useRoute(): Route {
  const [href, setHref] = useState(location.href);
  useEffect(() => {
    const moved = () => setHref(location.href);
    const follow = (event: MouseEvent) => {
      if (event.defaultPrevented || event.button !== 0) return;
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element | null)?.closest?.("a[href]");
      if (!(link instanceof HTMLAnchorElement) || link.hasAttribute("download") || link.target) return;
      if (!link.href.startsWith(HOME) || parse(link.href).page === "home") return;
      event.preventDefault();
      go(link.href);
      scrollTo(0, 0);
    };
    addEventListener("popstate", moved);
    addEventListener("hashchange", moved);
    addEventListener(CHANGED, moved);
    document.addEventListener("click", follow);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener("hashchange", moved);
      removeEventListener(CHANGED, moved);
      document.removeEventListener("click", follow);
    };
  }, []);
  return parse(href);
}
