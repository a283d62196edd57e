/** The fixed set, example by example: what was asked, what is right, what the model says instead. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { address, get, hasPages } from "../api";
import { formatExact, formatNumber } from "../format";
import { contentOf, give } from "../picture";
import { go, to, value, type Query } from "../route";
import { OneExample, onePath } from "./example";
import { tableOf } from "./held";
import { useKeys } from "./keys";
import { useRows } from "./rows";
import { History, Kinds, Mark, SaidView, label } from "./said";
import { Text, visible } from "./text";
import type { ExampleRow, ExamplesPage as Page, OneExample as Example } from "./types";
import { inView, type Window } from "./window";

const TYPING_MILLISECONDS = 250;
const NARROW = "(max-width: 60rem)";
const ROW_PIXELS = { wide: 84, narrow: 196 } as const;
/** One more line where another run's answer stands beside. */
const AGAINST_PIXELS = 26;
const FIELDS = ["kind", "pattern", "bin", "text", "sort", "against"] as const;

const SORTS: readonly (readonly [string, string])[] = [
  ["line", "Line in the file"], ["-ce", "Cross-entropy, highest first"],
  ["ce", "Cross-entropy, lowest first"], ["-changes", "Changes of right and wrong"],
  ["-tokens", "Golden answer, longest first"], ["pattern", "Pattern"],
];

export function ExamplesPage({ id, query, version }: { id: string; query: Query; version: string }) {
  const asked = Object.fromEntries(FIELDS.map((name) => [name, value(query, name)])) as
    Record<(typeof FIELDS)[number], string>;
  const opened = value(query, "example");
  const show = (change: Partial<typeof asked & { example: string }>) =>
    go(to.examples(id, { ...asked, example: opened, ...change }), true);
  const filters = FIELDS.filter((name) => asked[name]).map((name) => `${name}=${encodeURIComponent(asked[name])}`).join("&");
  const path = `api/runs/${encodeURIComponent(id)}/examples?${filters}`;

  const narrow = useMedia(NARROW);
  const height = ROW_PIXELS[narrow ? "narrow" : "wide"] + (asked.against ? AGAINST_PIXELS : 0);
  const box = useRef<HTMLDivElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const [total, setTotal] = useState(0);
  const view = useWindow(box, height, total);
  const { about, problem, row } = useRows(path, version, view);
  useEffect(() => setTotal(about?.total ?? 0), [about?.total]);
  const page = useRef<HTMLElement>(null);
  useKeys(page, ".example-open", {
    "/": () => search.current?.focus(),
    // Only the rows in view exist, so the ends are reached by scrolling.
    Home: () => scrollTo(0, 0),
    End: () => scrollTo(0, document.documentElement.scrollHeight),
  });

  return (
    <section class="page examples" aria-labelledby="examples-title" ref={page}>
      <div class="page-head">
        <h1 id="examples-title">Examples</h1>
        {about && <p class="page-note" role="status">{counted(about, asked.against)}</p>}
        <span class="spacer" />
        {about && about.total > 0 && (hasPages() ? <Files id={id} filters={filters} n={about.total} /> : <FilesHeld id={id} path={path} n={about.total} />)}
      </div>
      {problem && <p class="empty" role="alert">{about ? "Not every example can be loaded now" : "No examples shown"}, because {problem}. Trying again.</p>}
      {about && about.n > 0 && (
        <>
          <Filters about={about} asked={asked} show={show} search={search} />
          {about.missing && <p class="remark">{sentence(about.missing)}</p>}
        </>
      )}
      {about && about.n === 0 && <p class="empty">{about.set
        ? "No examples, because the fixed set has not been evaluated yet."
        : "No examples, because this run was given no fixed set."}</p>}
      {about && about.n > 0 && about.total === 0 && (
        <p class="empty">
          No example shown, because none fits all the filters. <button
            type="button" class="button small"
            onClick={() => show({ kind: "", pattern: "", bin: "", text: "" })}
          >Show all {formatNumber(about.n)}</button>
        </p>
      )}
      <div class="example-table" role="table" aria-label="Examples" aria-rowcount={total + 1} hidden={total === 0}>
        <div role="rowgroup">
          <div role="row" class="example-head" aria-rowindex={1}>
            <span role="columnheader">Example</span>
            <span role="columnheader">Prompt</span>
            <span role="columnheader">Golden answer, and what the model says</span>
            <span role="columnheader">CE <span class="unit">nats</span></span>
            <span role="columnheader">Evaluations</span>
          </div>
        </div>
        <div role="rowgroup" class="example-rows" ref={box} style={{ height: `${total * height}px` }}>
          {Array.from({ length: view.end - view.first }, (_, i) => view.first + i).map((i) => (
            <Row
              key={i} i={i} top={i * height} height={height} row={row(i)} evals={about?.evals ?? []}
              against={asked.against} open={(example) => show({ example })}
            />
          ))}
        </div>
      </div>
      {about && about.total > 0 && (
        <p class="keys-note">
          <kbd>/</kbd> search <kbd>j</kbd> <kbd>k</kbd> move <kbd>Enter</kbd> open. What the model says is
          decoded only as far as it could still have been an accepted answer.
        </p>
      )}
      {opened && <OneExample run={id} example={opened} close={() => show({ example: "" })} />}
    </section>
  );
}

/** All the rows that fit the filters, also those not loaded, with whole texts. */
function Files({ id, filters, n }: { id: string; filters: string; n: number }) {
  return (
    <span class="choice">
      {["csv", "json"].map((kind) => (
        <a
          key={kind} class="button small" download="" aria-label={`${kind.toUpperCase()}: save these ${formatNumber(n)} examples`}
          href={address(`api/runs/${encodeURIComponent(id)}/examples.${kind}?${filters}`)}
        >{kind.toUpperCase()}</a>
      ))}
    </span>
  );
}

/** The same of a report file, which has no server to ask. */
function FilesHeld({ id, path, n }: { id: string; path: string; n: number }) {
  const save = async (kind: "CSV" | "JSON") => {
    const { rows, evals } = await get<Page>(path);
    const whole = await Promise.all(rows.map((row) => get<Example>(onePath(id, row.id))));
    give(contentOf(tableOf(rows, whole, evals), kind), `${id} examples`, kind);
  };
  return (
    <span class="choice">
      {(["CSV", "JSON"] as const).map((kind) => (
        <button
          key={kind} type="button" class="button small" onClick={() => void save(kind)}
          aria-label={`${kind}: save these ${formatNumber(n)} examples`}
        >{kind}</button>
      ))}
    </span>
  );
}

function Filters({ about, asked, show, search }: {
  about: Omit<Page, "rows" | "offset">;
  asked: Record<(typeof FIELDS)[number], string>;
  show: (change: Partial<Record<(typeof FIELDS)[number], string>>) => void;
  search: { current: HTMLInputElement | null };
}) {
  const [typed, type] = useState(asked.text);
  useEffect(() => {
    if (typed === asked.text) return undefined;
    const timer = setTimeout(() => show({ text: typed }), TYPING_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => type(asked.text), [asked.text]);
  return (
    <div class="filters">
      <input
        ref={search} type="search" class="field search" value={typed} aria-label="Search texts"
        placeholder="Text of prompt or answers" spellcheck={false} maxLength={200}
        onInput={(event) => type(event.currentTarget.value)}
      />
      <div class="chips" role="group" aria-label="Kind">
        <button type="button" class="chip" aria-pressed={asked.kind === ""} onClick={() => show({ kind: "" })}>
          all <span class="count">{formatNumber(about.n)}</span>
        </button>
        {about.kinds.map(({ kind, about: text, n }) => (
          <button
            type="button" class="chip" key={kind} title={sentence(text)} aria-pressed={asked.kind === kind}
            disabled={n === 0 && asked.kind !== kind} onClick={() => show({ kind: asked.kind === kind ? "" : kind })}
          >
            {label(kind)} <span class="count">{formatNumber(n)}</span>
          </button>
        ))}
      </div>
      <Choice name="Pattern" value={asked.pattern} options={about.patterns} choose={(pattern) => show({ pattern })} />
      <Choice name="Length" value={asked.bin} options={about.bins} choose={(bin) => show({ bin })} unit=" tokens" />
      <label class="sort-by">
        <span>Sort by</span>
        <select class="field" value={asked.sort || "line"} onChange={(event) => show({ sort: event.currentTarget.value === "line" ? "" : event.currentTarget.value })}>
          {SORTS.map(([key, title]) => <option key={key} value={key}>{title}</option>)}
        </select>
      </label>
    </div>
  );
}

function Choice({ name, value: chosen, options, choose, unit = "" }: {
  name: string; value: string; options: Record<string, number>; choose: (value: string) => void; unit?: string;
}) {
  const known = chosen === "" || chosen in options;
  return (
    <label class="sort-by">
      <span>{name}</span>
      <select class="field" value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="">all</option>
        {!known && <option value={chosen}>{visible(chosen)} (0)</option>}
        {Object.entries(options).map(([option, n]) => (
          <option key={option} value={option}>{visible(option)}{unit} ({n})</option>
        ))}
      </select>
    </label>
  );
}

function Row({ i, top, height, row, evals, against, open }: {
  i: number; top: number; height: number; row: ExampleRow | undefined; evals: readonly number[];
  against: string; open: (id: string) => void;
}) {
  const place = { transform: `translateY(${top}px)`, height: `${height}px` };
  if (row === undefined) {
    return <div role="row" class="example" style={place} aria-rowindex={i + 2}><span role="cell" class="muted">Loading…</span></div>;
  }
  return (
    <div role="row" class="example" style={place} aria-rowindex={i + 2}>
      <span role="cell" class="example-name">
        <button type="button" class="example-open" onClick={() => open(row.id)} aria-label={`Open the example of line ${row.line}, ${row.correct ? "right" : "wrong"}`}>
          <Mark correct={row.correct} /> line {formatNumber(row.line)}
        </button>
        <span class="sub"><Text>{row.pattern}</Text> · {formatNumber(row.tokens)} tokens</span>
        <Kinds of={row.kinds} />
      </span>
      <span role="cell" class="example-prompt clamp">{row.prompt === null ? <span class="muted">not known</span> : <Text>{row.prompt}</Text>}</span>
      <span role="cell" class="example-answers">
        <span class="answer"><span class="who">golden</span><span class="clamp">{row.golden === null ? <span class="muted">not known</span> : <Text>{row.golden}</Text>}</span></span>
        <span class="answer"><span class="who">model</span><span class="clamp"><SaidView said={row.said} correct={row.correct} token={row.token_correct} /></span></span>
        {row.other && <span class="answer"><span class="who" title={against}>other</span><span class="clamp"><Mark correct={row.other.correct} /> <SaidView said={row.other.said} correct={row.other.correct} token={false} /></span></span>}
      </span>
      <span role="cell" class="number" title={formatExact(row.ce, "nats per token")}><span class="narrow-label">CE </span>{formatNumber(row.ce)}</span>
      <span role="cell" class="example-history"><History went={row.went} evals={evals} /></span>
    </div>
  );
}

function counted(about: Omit<Page, "rows" | "offset">, against: string): string {
  if (about.n === 0) return "";
  const shown = about.total === about.n ? formatNumber(about.n) : `${formatNumber(about.total)} of ${formatNumber(about.n)}`;
  const evals = about.evals.length;
  const last = `${formatNumber(evals)} evaluation${evals === 1 ? "" : "s"}, the latest at step ${formatNumber(about.evals.at(-1))}`;
  return `${shown} examples · ${last}${against ? ` · against ${visible(against)}` : ""}`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function useMedia(query: string): boolean {
  const [list] = useState(() => matchMedia(query));
  const [matches, set] = useState(list.matches);
  useEffect(() => {
    const changed = () => set(list.matches);
    list.addEventListener("change", changed);
    return () => list.removeEventListener("change", changed);
  }, []);
  return matches;
}

/** The rows that the page shows as it is scrolled. */
function useWindow(box: { readonly current: HTMLElement | null }, height: number, rows: number): Window {
  const [view, set] = useState<Window>({ first: 0, end: 0 });
  useLayoutEffect(() => {
    let frame = 0;
    const look = () => {
      frame = 0;
      const top = box.current?.getBoundingClientRect().top ?? 0;
      const next = inView(top, innerHeight, height, rows);
      set((was) => (was.first === next.first && was.end === next.end ? was : next));
    };
    const later = () => { frame ||= requestAnimationFrame(look); };
    look();
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", later);
      removeEventListener("resize", later);
    };
  }, [height, rows]);
  return view;
}
