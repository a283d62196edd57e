/** What happened to the run, on the time axis: alerts, evaluations, checkpoints, resumes. */

import { createContext } from "preact";
import { useContext, useRef, useState } from "preact/hooks";
import { SharedAxis } from "./axis";
import type { Plot } from "./draw";
import { formatInterval, formatNumber, formatPercent } from "./format";
import type { Alert, AlertThread, Snapshot } from "./snapshot";

export interface RunMoment {
  step: number;
  kind: "alert" | "evaluation" | "checkpoint" | "note";
  /** Told apart by its shape, not by its colour alone. */
  sign: string;
  text: string;
  /** A CSS variable. */
  colour: string;
}

export const Events = createContext<readonly RunMoment[]>([]);

export const SIGNS: Record<Alert["level"], string> = { critical: "⬣", error: "◆", warning: "▲", info: "●" };

const COLOURS: Record<Alert["level"], string> = {
  critical: "--bad", error: "--bad", warning: "--warn", info: "--info",
};

export function isAlarm({ kind, colour }: RunMoment): boolean {
  return kind === "alert" && colour !== "--info";
}

/** Everything worth a mark, by step. */
export function moments(snapshot: Snapshot): RunMoment[] {
  const { checkpoints, evals, alert_history: threads, notes, fixed_eval: held, decision } = snapshot;
  const recommended = decision?.checkpoint ?? held.best_ckpt;
  const found: RunMoment[] = [
    ...threads.flatMap(openings),
    ...evals.map((result): RunMoment => ({
      step: result.step, kind: "evaluation", sign: "┃", colour: "--series-1",
      text: `evaluation: EM ${formatPercent(result.em)} (${formatInterval(result.em_low, result.em_high)}, n ${formatNumber(result.n)})`,
    })),
    ...checkpoints.map(({ step, path }): RunMoment => ({
      step, kind: "checkpoint", sign: path === recommended ? "★" : "◇", colour: "--ink",
      text: `${path} saved${path === recommended ? ", recommended" : held.tied?.includes(path) ? ", tied with the best" : ""}`,
    })),
    ...notes.filter(({ topic }) => topic === "resume").map(({ step, text }): RunMoment => (
      { step, kind: "note", sign: "↻", colour: "--muted", text: `resumed: ${text}` })),
  ];
  return found.sort((a, b) => a.step - b.step);
}

function openings({ rule, scope, changes }: AlertThread): RunMoment[] {
  return changes.filter(({ state }) => state === "open" || state === "escalated").map((change) => ({
    step: change.step, kind: "alert", sign: SIGNS[change.level], colour: COLOURS[change.level],
    text: `${change.level} ${rule}${scope ? ` (${scope})` : ""} ${change.state === "open" ? "opened" : change.state}: ${change.message}`,
  }));
}

export interface Cluster {
  /** Pixels from the left of the chart. */
  x: number;
  moments: RunMoment[];
}

const APART_PIXELS = 17;
const ORDER: readonly RunMoment["kind"][] = ["alert", "note", "checkpoint", "evaluation"];

/** Marks that would touch become one, which tells them all. */
export function clusters(events: readonly RunMoment[], { first, last, left, right }: Plot): Cluster[] {
  const found: Cluster[] = [];
  for (const event of events) {
    if (event.step < first || event.step > last) continue;
    const x = left + ((event.step - first) * (right - left)) / (last - first || 1);
    const open = found.at(-1);
    if (open && x - open.x < APART_PIXELS) open.moments.push(event);
    else found.push({ x, moments: [event] });
  }
  for (const { moments } of found) moments.sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
  return found;
}

const TOLD_AT_ONCE = 5;

/** One tab stop; the arrow keys go from mark to mark. */
export function EventStrip({ events, plot }: { events: readonly RunMoment[]; plot: Plot }) {
  const axis = useContext(SharedAxis);
  const strip = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState(0);
  const [told, tell] = useState<number | null>(null);
  const marks = clusters(events, plot);
  if (marks.length === 0) return null;
  const current = Math.min(at, marks.length - 1);
  const go = (i: number) => {
    const next = Math.min(Math.max(i, 0), marks.length - 1);
    setAt(next);
    strip.current?.querySelectorAll("button")[next]?.focus();
  };
  const keys: Record<string, () => void> = {
    ArrowLeft: () => go(current - 1), ArrowRight: () => go(current + 1), Home: () => go(0),
    End: () => go(marks.length - 1), Escape: () => tell(null),
  };
  const open = told === null ? undefined : marks[told];
  const width = plot.right - plot.left;
  return (
    <div
      class="event-strip" ref={strip} role="toolbar" aria-label="Alerts, evaluations and checkpoints by step"
      onKeyDown={(event) => {
        const act = keys[event.key];
        if (!act) return;
        event.preventDefault();
        act();
      }}
      onMouseLeave={() => { tell(null); axis.point(null, null); }}
    >
      {marks.map(({ x, moments: [head, ...rest] }, i) => head && (
        <button
          type="button" key={`${head.kind}${head.step}`} class="event-mark" tabIndex={i === current ? 0 : -1}
          style={{ left: `${x}px`, color: `var(${head.colour})` }}
          aria-label={[head, ...rest].map(sentence).join("; ")}
          onMouseEnter={() => { tell(i); axis.point(head.step, strip); }}
          onFocus={() => { setAt(i); tell(i); axis.point(head.step, strip); }}
          onBlur={() => { tell(null); axis.point(null, null); }}
          onClick={() => jumpTo(head)}
        >
          <span aria-hidden="true">{head.sign}{rest.some(({ kind }) => kind === "checkpoint") ? rest.find(({ kind }) => kind === "checkpoint")?.sign : ""}</span>
        </button>
      ))}
      {open && (
        <div
          class={open.x > plot.left + width / 2 ? "tip event-tip to-left" : "tip event-tip"} aria-hidden="true"
          style={{ left: `${open.x}px` }}
        >
          {open.moments.slice(0, TOLD_AT_ONCE).map((moment, i) => (
            <p key={i}><span style={{ color: `var(${moment.colour})` }}>{moment.sign}</span> <b>step {formatNumber(moment.step)}</b> {moment.text}</p>
          ))}
          {open.moments.length > TOLD_AT_ONCE && <p class="tip-more">and {open.moments.length - TOLD_AT_ONCE} more; zoom in to tell them apart</p>}
        </div>
      )}
    </div>
  );
}

/** What the signs on the time axis mean, of those that are there. */
export function StripKey({ events }: { events: readonly RunMoment[] }) {
  const signs = new Map(events.map((event) => [event.sign, MEANINGS[event.sign] ?? event.kind]));
  if (signs.size === 0) return null;
  return (
    <p class="strip-key" aria-hidden="true">
      {[...signs].map(([sign, meaning]) => <span key={sign}><span>{sign}</span> {meaning}</span>)}
    </p>
  );
}

const MEANINGS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(SIGNS).map(([level, sign]) => [sign, `${level} alert`])),
  "┃": "evaluation", "◇": "checkpoint", "★": "checkpoint to use", "↻": "resumed",
};

function sentence({ step, text }: RunMoment): string {
  return `step ${formatNumber(step)}: ${text}`;
}

function jumpTo({ kind }: RunMoment): void {
  const panel = { alert: "alerts", evaluation: "fixed-eval", checkpoint: "fixed-eval", note: "log" }[kind];
  const found = document.querySelector(`#panel-${panel}`);
  found?.scrollIntoView({ block: "start" });
  found?.querySelector<HTMLElement>("h2 button")?.focus({ preventScroll: true });
}
