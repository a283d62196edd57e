/** All runs of the folder in one table: what each is doing now, and how well it does. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { JSX } from "preact";
import { toNumber } from "../fold";
import {
  formatDuration, formatExact, formatInterval, formatNumber, formatPercent, formatTime, formatValue, words,
} from "../format";
import { go, list, to, value, type Query } from "../route";
import { Spark } from "../spark";
import { Annotate } from "./annotate";
import { useKeys } from "./keys";
import type { Lines } from "./lines";
import { Save } from "./save";
import { COLUMNS, matches, sorted, states, tableOf, type ColumnId } from "./table";
import { Text } from "./text";
import type { RunLine } from "./types";

/** Rows of the first picture, then as many as are shown until all are asked for. */
const DRAWN_AT_ONCE = 40;
const SHOWN_AT_FIRST = 300;
const TICK_MILLISECONDS = 10_000;
/** As many as the server compares. */
const MOST_COMPARED = 8;

const LEVELS = ["critical", "error", "warning", "info"] as const;

export function RunsPage({ lines, query }: { lines: Lines; query: Query }) {
  const [chosen, choose] = useState<readonly string[]>([]);
  const [edited, edit] = useState<RunLine | null>(null);
  const [most, showMost] = useState(DRAWN_AT_ONCE);
  const box = useRef<HTMLDivElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const now = useNow(lines.ahead);

  const [text, state, sort] = [value(query, "q"), list(query, "state"), value(query, "sort") || "-time"];
  const show = (change: Partial<Record<"q" | "state" | "sort", string | string[]>>) =>
    go(to.runs({ q: text, state, sort: sort === "-time" ? "" : sort, ...change }), true);
  const found = useMemo(
    () => sorted((lines.runs ?? []).filter((run) => matches(run, text, state)), sort),
    [lines.runs, text, state.join(), sort],
  );
  const shown = found.slice(0, most);
  const drawn = lines.runs !== null;
  useEffect(() => {
    if (!drawn) return undefined;
    const timer = setTimeout(() => showMost((was) => Math.max(was, SHOWN_AT_FIRST)));
    return () => clearTimeout(timer);
  }, [drawn]);
  const toggle = (id: string) => choose(
    chosen.includes(id) ? chosen.filter((other) => other !== id) : [...chosen, id]);

  useKeys(box, ".run-name a", {
    "/": () => search.current?.focus(),
    x: (link) => { const id = link?.dataset["run"]; if (id) toggle(id); },
    e: (link) => edit(found.find((run) => run.id === link?.dataset["run"]) ?? null),
  });

  if (lines.runs === null) return <p class="waiting" role="status">{lines.trouble || "Loading…"}</p>;
  return (
    <section class="page runs" aria-labelledby="runs-title" ref={box}>
      <div class="page-head">
        <h1 id="runs-title">Runs</h1>
        <p class="page-note" role="status">
          {found.length === lines.runs.length ? `${formatNumber(found.length)} in this folder`
            : `${formatNumber(found.length)} of ${formatNumber(lines.runs.length)} shown`}
        </p>
        <span class="spacer" />
        {found.length > 0 && <Save name="runs" table={() => tableOf(found)} picture={() => box.current?.querySelector(".runs-table") ?? null} />}
        <CompareButton chosen={chosen} clear={() => choose([])} />
      </div>
      <div class="filters">
        <input
          ref={search} type="search" class="field search" value={text} aria-label="Search runs"
          placeholder="Name, model, tag or note" spellcheck={false}
          onInput={(event) => show({ q: event.currentTarget.value })}
        />
        <div class="chips" role="group" aria-label="State">
          <Chip pressed={state.length === 0} press={() => show({ state: [] })} n={lines.runs.length}>all</Chip>
          {states(lines.runs).map(([name, n]) => (
            <Chip
              key={name} n={n} pressed={state.includes(name)}
              press={() => show({ state: state.includes(name) ? state.filter((s) => s !== name) : [...state, name] })}
            >
              <StateSign state={name} /> {name}
            </Chip>
          ))}
        </div>
        <label class="sort-by">
          <span>Sort by</span>
          <select class="field" value={sort} onChange={(event) => show({ sort: event.currentTarget.value })}>
            {COLUMNS.flatMap(({ id, title }) => [`-${id}`, id].map((key) => (
              <option key={key} value={key}>{title} {key === id ? "↑" : "↓"}</option>
            )))}
          </select>
        </label>
      </div>
      {found.length === 0 ? <Nothing any={lines.runs.length > 0} clear={() => show({ q: "", state: [] })} /> : (
        <table class="runs-table" role="table" aria-label="Runs" aria-rowcount={found.length + 1}>
          <thead role="rowgroup">
            <tr role="row">
              <th scope="col" role="columnheader"><span class="unseen">Compare</span></th>
              {COLUMNS.map(({ id, title, help }) => (
                <Head key={id} id={id} title={title} help={help} sort={sort} show={(next) => show({ sort: next })} />
              ))}
              <th scope="col" role="columnheader"><span class="unseen">Tags and note</span></th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {shown.map((run) => (
              <Row
                key={run.id} run={run} now={now} chosen={chosen.includes(run.id)}
                toggle={() => toggle(run.id)} edit={() => edit(run)} find={(tag) => show({ q: tag })}
              />
            ))}
          </tbody>
        </table>
      )}
      {most >= SHOWN_AT_FIRST && shown.length < found.length && (
        <p><button type="button" class="button" onClick={() => showMost(Infinity)}>Show all {formatNumber(found.length)}</button></p>
      )}
      <p class="keys-note">
        <kbd>/</kbd> search <kbd>j</kbd> <kbd>k</kbd> move <kbd>Enter</kbd> open <kbd>x</kbd> choose to
        compare <kbd>e</kbd> tags and note
      </p>
      {edited && <Annotate run={edited} close={() => edit(null)} />}
    </section>
  );
}

function Row({ run, now, chosen, toggle, edit, find }: {
  run: RunLine; now: number; chosen: boolean; toggle: () => void; edit: () => void; find: (tag: string) => void;
}) {
  const total = run.total_steps;
  return (
    <tr role="row" class={chosen ? "chosen" : ""}>
      <td role="cell" class="cell-choose">
        <input type="checkbox" checked={chosen} onChange={toggle} aria-label={`Compare ${run.id}`} />
      </td>
      <th role="rowheader" scope="row" class="run-name">
        <a href={to.run(run.id)} data-run={run.id}><Text>{run.id}</Text></a>
        <span class="sub">
          <Text>{run.model}</Text>
          {run.attempts > 1 && <span title="One run: it was started again and resumed from a checkpoint"> · resumed {formatNumber(run.attempts - 1)}×</span>}
          {run.source && ` · read from ${run.source}`}
        </span>
        {(run.tags.length > 0 || run.note) && (
          <span class="said">
            {run.tags.map((tag) => (
              <button type="button" key={tag} class="tag" onClick={() => find(tag)} title={`Show runs with ${tag}`}><Text>{tag}</Text></button>
            ))}
            {run.note && <span class="note-line" title={run.note}><Text>{run.note}</Text></span>}
          </span>
        )}
      </th>
      <td role="cell" data-label="State"><span class={`state state-${stateOf(run)}`}><StateSign state={stateOf(run)} /> {run.state}</span>{stateOf(run) !== run.state && <span class="sub">went wrong</span>}</td>
      <td role="cell" data-label="Steps" class="number">
        {formatNumber(run.step)}{total > 0 && <span class="sub-inline"> of {formatNumber(total)}</span>}
        {total > 0 && <progress max={total} value={Math.min(run.step, total)} aria-label={`Steps of ${run.id}`} />}
      </td>
      <td role="cell" data-label={capital(run.spark.what)} class="curve"><Curve run={run} /></td>
      <td role="cell" data-label="EM" class="number">
        {run.em === null ? <None why={run.partial ? "not read yet" : run.has_set ? "not evaluated yet" : "no fixed set"} /> : (
          <span title={`${formatExact(run.em)} at step ${formatNumber(run.em_step)}`}>
            <b>{formatPercent(run.em)}</b>
            <span class="sub">{formatInterval(run.em_low, run.em_high)} · n {formatNumber(run.n)}</span>
          </span>
        )}
      </td>
      <td role="cell" data-label="Best checkpoint">
        {run.best_checkpoint === null ? <None why={run.partial ? "not read yet" : "none judged yet"} /> : (
          <>
            <Text>{run.best_checkpoint}</Text>
            <span class="sub" title={formatExact(run.best_em)}>{run.best_em === null ? "" : `EM ${formatPercent(run.best_em)}`}</span>
          </>
        )}
      </td>
      <td role="cell" data-label="Open alerts"><Alerts run={run} /></td>
      <td role="cell" data-label="Tokens/s" class="number" title={formatExact(run.tokens_per_second, "tokens/s")}>
        {run.tokens_per_second === null ? <None why="not recorded" /> : formatNumber(run.tokens_per_second)}
      </td>
      <td role="cell" data-label="Last record" class="number" title={`Last record ${formatTime(run.time)}; started ${formatTime(run.started)}`}>
        {ago(now - toNumber(run.time))}
      </td>
      <td role="cell" class="cell-edit">
        <button type="button" class="button small" onClick={edit} aria-label={`Tags and note of ${run.id}`} title="Tags and note">✎</button>
      </td>
    </tr>
  );
}

function Curve({ run }: { run: RunLine }) {
  const { what, steps, values } = run.spark;
  if (run.partial) return <None why="being read" />;
  if (steps.length < 2) return <None why="no curve yet" />;
  const latest = formatNumber(values.at(-1));
  const exact = formatExact(values.at(-1), what === "EM" ? "" : "nats");
  const told = `${what} over ${formatNumber(steps[0])} to ${formatNumber(steps.at(-1))} steps; latest ${latest}`;
  return (
    <span class="curve-box" title={`${capital(what)}: latest ${exact}`}>
      <Spark series={{ steps, values: values.map(toNumber) }} label={told} />
      <span class="sub">{capital(what)} {what === "EM" ? formatPercent(values.at(-1)) : formatValue(values.at(-1), "nats")}</span>
    </span>
  );
}

function Alerts({ run }: { run: RunLine }) {
  const open = LEVELS.filter((level) => (run.alerts[level] ?? 0) > 0);
  if (open.length === 0) return run.partial ? <None why="not read yet" /> : <span class="muted">none</span>;
  return (
    <ul class="levels">
      {open.map((level) => (
        <li key={level} class={`level-${level}`}><span class="level">{formatNumber(run.alerts[level])} {level}</span></li>
      ))}
    </ul>
  );
}

/** A run that has finished with an error is no success. */
function stateOf({ state, alerts }: RunLine): string {
  return state === "finished" && (alerts["critical"] ?? 0) + (alerts["error"] ?? 0) > 0 ? "failed" : state;
}

function None({ why }: { why: string }) {
  return <span class="muted small">{why}</span>;
}

const SIGNS: Record<string, string> = {
  running: "●", starting: "○", finished: "✓", failed: "✕", interrupted: "✕", died: "⊘", stalled: "‖",
};

export function StateSign({ state }: { state: string }) {
  return <span class={`sign sign-${state}`} aria-hidden="true">{SIGNS[state] ?? "•"}</span>;
}

function Chip({ pressed, press, n, children }: {
  pressed: boolean; press: () => void; n: number; children: JSX.Element | string | (JSX.Element | string)[];
}) {
  return (
    <button type="button" class="chip" aria-pressed={pressed} onClick={press}>
      {children} <span class="count">{formatNumber(n)}</span>
    </button>
  );
}

function Head({ id, title, help, sort, show }: {
  id: ColumnId; title: string; help: string; sort: string; show: (sort: string) => void;
}) {
  const way = sort === id ? "ascending" : sort === `-${id}` ? "descending" : "none";
  return (
    <th scope="col" role="columnheader" aria-sort={way} class={`head-${id}`}>
      <button type="button" class="head" title={help} onClick={() => show(way === "descending" ? id : `-${id}`)}>
        {title}<span class="way" aria-hidden="true">{way === "none" ? "" : way === "ascending" ? "↑" : "↓"}</span>
      </button>
    </th>
  );
}

function CompareButton({ chosen, clear }: { chosen: readonly string[]; clear: () => void }) {
  if (chosen.length === 0) return <span class="page-note">Tick runs to compare them.</span>;
  return (
    <span class="choice">
      <button type="button" class="button" onClick={clear}>Clear</button>
      <a class="button strong" href={to.compare(chosen.slice(0, MOST_COMPARED))}>
        Compare {formatNumber(Math.min(chosen.length, MOST_COMPARED))}
      </a>
      {chosen.length > MOST_COMPARED && <span class="page-note">the first {MOST_COMPARED} of {chosen.length}</span>}
    </span>
  );
}

function Nothing({ any, clear }: { any: boolean; clear: () => void }) {
  return any ? (
    <p class="empty">
      No run shown, because none fits the search and the states chosen. <button type="button" class="button small" onClick={clear}>Show all</button>
    </p>
  ) : (
    <div class="waiting"><h2>No runs yet</h2><p>This folder holds no run. One that starts writing here appears by itself.</p></div>
  );
}

function ago(seconds: number): string {
  return seconds < 60 ? "just now" : `${formatDuration(seconds)} ago`;
}

function capital(text: string): string {
  return words(text.charAt(0).toUpperCase() + text.slice(1));
}

/** The server's clock, in steps that a reader can follow. */
function useNow(ahead: number): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now() / 1000), TICK_MILLISECONDS);
    return () => clearInterval(timer);
  }, []);
  return now + ahead;
}
