/** Runs side by side: curves on shared axes, a paired test, last numbers, and what their settings differ in. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { gaps, toNumber } from "../fold";
import {
  formatChange, formatDuration, formatExact, formatInterval, formatNumber, formatPercent,
  formatPercentTick, formatValue,
} from "../format";
import type { Float } from "../records";
import { go, list, to, value, type Query } from "../route";
import type { TableData } from "../tables";
import { Curves, LETTERS, colourOf, type Curve } from "./curves";
import type { Lines } from "./lines";
import { StateSign } from "./runs";
import { Save } from "./save";
import { Text } from "./text";
import type { Comparison, EvalField, Pair, Setting, Side } from "./types";

const MOST_RUNS = LETTERS.length;
/** A run that goes on is asked for again no more often than this. */
const AGAIN_MILLISECONDS = 5000;

type AxisName = "steps" | "tokens" | "seconds";
const AXES: readonly { name: AxisName; title: string; format: (x: number) => string }[] = [
  { name: "steps", title: "steps", format: formatNumber },
  { name: "tokens", title: "tokens", format: (x) => formatShort(x) },
  { name: "seconds", title: "training time", format: formatDuration },
];

export function ComparePage({ lines, query }: { lines: Lines; query: Query }) {
  const runs = list(query, "runs").slice(0, MOST_RUNS);
  const axis = AXES.find(({ name }) => name === value(query, "axis")) ?? AXES[0] as (typeof AXES)[number];
  const log = value(query, "log") === "1";
  const every = value(query, "settings") === "all";
  const show = (change: { runs?: string[]; axis?: string; log?: boolean; settings?: string }) => {
    const next = { runs, axis: axis.name, log, settings: every ? "all" : "", ...change };
    go(to.compare(next.runs, { axis: next.axis === "steps" ? "" : next.axis, log: next.log, settings: next.settings }), true);
  };
  const { found, problem } = useComparison(runs, lines);
  const others = (lines.runs ?? []).filter((run) => !runs.includes(run.id));
  return (
    <section class="page compare" aria-labelledby="compare-title">
      <div class="page-head">
        <h1 id="compare-title">Compare</h1>
        <p class="page-note">The link in the address bar shows this again.</p>
        <span class="spacer" />
        {runs.length < MOST_RUNS && others.length > 0 && (
          <label class="sort-by">
            <span class="unseen">Add a run</span>
            <select class="field" value="" onChange={(event) => show({ runs: [...runs, event.currentTarget.value] })}>
              <option value="" disabled>Add a run…</option>
              {others.map(({ id }) => <option key={id} value={id}>{id}</option>)}
            </select>
          </label>
        )}
      </div>
      {runs.length === 0 && (
        <p class="empty">Nothing is compared, because no run is chosen. Add one here, or tick some in the list of <a href={to.runs()}>runs</a>.</p>
      )}
      {problem && <p class="empty" role="alert">Nothing is compared, because {problem}.</p>}
      {runs.length > 0 && !found && !problem && <p class="waiting" role="status">Loading…</p>}
      {found && runs.length > 0 && (
        <>
          <Legend sides={found.runs} drop={(id) => show({ runs: runs.filter((run) => run !== id) })} first={(id) => show({ runs: [id, ...runs.filter((run) => run !== id)] })} />
          <div class="options">
            <fieldset class="segments">
              <legend class="unseen">Shared axis</legend>
              {AXES.map(({ name, title }) => (
                <label key={name} class={`segment ${name === axis.name ? "chosen" : ""}`}>
                  <input type="radio" class="unseen" name="axis" checked={name === axis.name} onChange={() => show({ axis: name })} />
                  {title}
                </label>
              ))}
            </fieldset>
            <button type="button" class="button small" aria-pressed={log} onClick={() => show({ log: !log })}>log scale of losses</button>
          </div>
          <div class="compare-charts">
            <Chart title="exact match, with 95 % intervals" sides={found.runs} axis={axis} field="em" format={formatPercentTick} why="no run here was evaluated on a fixed set" />
            <Chart title="streaming CE of training, nats per token" sides={found.runs} axis={axis} log={log} why="no run here recorded a streaming CE" />
            <Chart title="held-out CE, nats per token, with 95 % intervals" sides={found.runs} axis={axis} field="ce" log={log} why="no run here was evaluated on a fixed set" />
            <Chart title="calibration error (ECE), with 95 % intervals" sides={found.runs} axis={axis} field="ece" why="no run here was evaluated on a fixed set" />
          </div>
          <SameSet sides={found.runs} />
          <Pairs sides={found.runs} pairs={found.pairs} />
          <Finals sides={found.runs} />
          <Settings sides={found.runs} settings={found.settings} every={every} show={(all) => show({ settings: all ? "all" : "" })} />
        </>
      )}
    </section>
  );
}

function Name({ sides, place }: { sides: readonly Side[]; place: number }) {
  return <><Letter place={place} /> <Text>{sides[place]?.id ?? ""}</Text></>;
}

function Letter({ place }: { place: number }) {
  return <span class="letter" style={{ color: `var(${colourOf(place)})` }}>{LETTERS[place]}</span>;
}

function Legend({ sides, drop, first }: { sides: readonly Side[]; drop: (id: string) => void; first: (id: string) => void }) {
  return (
    <ul class="compared">
      {sides.map((side, place) => (
        <li key={side.id}>
          <Letter place={place} />
          <a href={to.run(side.id)}><Text>{side.id}</Text></a>
          <span class={`state state-${side.state}`}><StateSign state={side.state} /> {side.state}</span>
          <span class="sub-inline">step {formatNumber(side.step)}</span>
          {place === 0 ? sides.length > 1 && <span class="sub-inline">reference</span>
            : <button type="button" class="button small" onClick={() => first(side.id)} aria-label={`as reference: ${side.id}`}>as reference</button>}
          <button type="button" class="button small" onClick={() => drop(side.id)} aria-label={`Leave ${side.id} out`}>✕</button>
        </li>
      ))}
    </ul>
  );
}

function Chart({ title, sides, axis, field, log = false, format = formatNumber, why }: {
  title: string; sides: readonly Side[]; axis: (typeof AXES)[number]; field?: "em" | "ce" | "ece";
  log?: boolean; format?: (y: number) => string; why: string;
}) {
  const curves = sides.map((side, place) => curve(side, place, axis.name, field));
  const drawable = curves.filter(({ x }) => x.length > 0);
  const without = sides.filter((_, place) => curves[place]?.x.length === 0);
  const recorded = sides.some((side) => (field ? side.evals : side.streaming).steps.length > 0);
  const latest = drawable.map(({ place, y }) => `${LETTERS[place]} ${sides[place]?.id} ${format(y.at(-1) as number)}`);
  const broken = field ? [] : drawable.flatMap(({ place }) => {
    const { steps, values } = (sides[place] as Side).streaming;
    return gaps({ steps, values: values.map(toNumber) }).map((gap) =>
      `${LETTERS[place]} was ${formatNumber(gap.what)} at step ${formatNumber(gap.first)}${gap.count > 1 ? ` to ${formatNumber(gap.last)}` : ""}`);
  });
  return (
    <section class="card">
      <h2 class="axis-title">{title}, by {axis.title}</h2>
      {drawable.length === 0 ? <p class="empty">No curve, because {recorded ? `no run here recorded its ${axis.title}` : why}.</p> : (
        <Curves
          curves={drawable} log={log} height={230} formatX={axis.format} formatY={format}
          summary={`${title}, by ${axis.title}. Latest: ${latest.join("; ")}.`}
        />
      )}
      {broken.length > 0 && <p class="not-finite"><span aria-hidden="true">✕ </span>{broken.slice(0, 4).join("; ")}{broken.length > 4 && `; and ${broken.length - 4} more`}.</p>}
      {drawable.length > 0 && without.length > 0 && (
        <p class="small-print">Not drawn, because nothing is recorded: {without.map((side) => LETTERS[sides.indexOf(side)]).join(", ")}.</p>
      )}
    </section>
  );
}

function curve(side: Side, place: number, axis: AxisName, field?: "em" | "ce" | "ece"): Curve {
  const on = field ? side.evals : side.streaming;
  const x = on[axis].map(toNumber);
  if (!field) return { place, x, y: side.streaming.values.slice(0, x.length).map(toNumber) };
  const [low, high] = [side.evals[`${field}_low`], side.evals[`${field}_high`]];
  return {
    place, x, y: side.evals[field].slice(0, x.length).map(toNumber),
    intervals: x.map((_, i) => [toNumber(low[i] as Float), toNumber(high[i] as Float)] as const),
  };
}

function SameSet({ sides }: { sides: readonly Side[] }) {
  const hashes = new Set(sides.map(({ set }) => set?.hash).filter((hash) => hash !== undefined));
  if (hashes.size < 2) return null;
  return <p class="remark">These runs were scored on {hashes.size} different fixed sets, so their EM, CE and ECE are not of the same examples.</p>;
}

function Pairs({ sides, pairs }: { sides: readonly Side[]; pairs: readonly Pair[] }) {
  if (pairs.length === 0) return null;
  const reference = sides[0]?.id ?? "";
  return (
    <section class="card" aria-labelledby="pairs-title">
      <h2 id="pairs-title">Which answers the fixed set better</h2>
      <p class="small-print">
        The latest evaluation of each run, example by example, against <Name sides={sides} place={0} />. Each test is by
        itself at its own 95 %: with several runs, expect one in twenty to look different by chance.
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Paired tests">
        <table class="grid">
          <thead>
            <tr>
              <th scope="col">Run</th><th scope="col">Change of EM, 95 % interval</th><th scope="col">McNemar's p</th>
              <th scope="col">Examples that differ</th><th scope="col">What it says</th>
            </tr>
          </thead>
          <tbody>
            {pairs.map((pair, i) => (
              <tr key={pair.other}>
                <th scope="row"><Name sides={sides} place={i + 1} /></th>
                {"reason" in pair ? <td colSpan={4} class="muted">Not compared, because {pair.reason}.</td> : (
                  <>
                    <td class="number" title={`${formatExact(pair.em_change)} (${formatExact(pair.em_change_low)} to ${formatExact(pair.em_change_high)}), Bonett-Price`}>
                      <b>{formatChange(pair.em_change)}</b>
                      <span class="sub">{formatChange(pair.em_change_low)} to {formatChange(pair.em_change_high)} · n {formatNumber(pair.n)}</span>
                    </td>
                    <td class="number" title={pair.p === null ? "" : formatExact(pair.p)}>{pair.p === null ? <span class="muted small">none: examples of one group depend on each other</span> : formatNumber(pair.p)}</td>
                    <td>
                      <a href={to.examples(pair.other, { kind: "gained", against: reference })}>{formatNumber(pair.learned)} right only in {LETTERS[i + 1]}</a>
                      <a class="second" href={to.examples(pair.other, { kind: "lost", against: reference })}>{formatNumber(pair.forgotten)} right only in {LETTERS[0]}</a>
                    </td>
                    <td>
                      <b>{pair.says === "no difference shown" ? "No difference shown" : `${LETTERS[i + 1]} is ${pair.says}`}</b>
                      <span class="sub">{formatChange(pair.detectable).slice(1)} is the smallest difference this set would show · steps {formatNumber(pair.steps[0])} and {formatNumber(pair.steps[1])}</span>
                    </td>
                  </>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const rate = (side: Side, field: "em") => side.final[field] === null ? null : (
  <><b>{formatPercent(side.final[field])}</b><span class="sub">{formatInterval(side.final.em_low, side.final.em_high)} · n {formatNumber(side.final.n)}</span></>
);

const ranged = (side: Side, field: "ce" | "ece", unit: string) => side.final[field] === null ? null : (
  <><b>{formatValue(side.final[field], unit)}</b><span class="sub">{formatNumber(side.final[`${field}_low` as EvalField])}–{formatNumber(side.final[`${field}_high` as EvalField])}</span></>
);

const FINALS: readonly { title: string; of: (side: Side) => ComponentChildren; exact?: (side: Side) => Float | null }[] = [
  { title: "Exact match (EM)", of: (side) => rate(side, "em"), exact: ({ final }) => final.em },
  { title: "Held-out CE", of: (side) => ranged(side, "ce", "nats"), exact: ({ final }) => final.ce },
  { title: "Calibration error (ECE)", of: (side) => ranged(side, "ece", ""), exact: ({ final }) => final.ece },
  { title: "Evaluated at step", of: ({ final }) => known(final.eval_step), exact: ({ final }) => final.eval_step },
  { title: "Best checkpoint", of: ({ final }) => final.best_checkpoint && <Text>{final.best_checkpoint}</Text> },
  { title: "Decision", of: ({ final }) => final.action },
  { title: "Streaming CE", of: ({ final }) => final.streaming_ce === null ? null : formatValue(final.streaming_ce, "nats"), exact: ({ final }) => final.streaming_ce },
  { title: "Steps", of: (side) => `${formatNumber(side.step)}${side.final.total_steps ? ` of ${formatNumber(side.final.total_steps)}` : ""}` },
  { title: "Tokens trained on", of: ({ final }) => known(final.tokens), exact: ({ final }) => final.tokens },
  { title: "Tokens per second", of: ({ final }) => known(final.tokens_per_second), exact: ({ final }) => final.tokens_per_second },
  { title: "Training time", of: ({ final }) => final.seconds === null ? null : formatDuration(toNumber(final.seconds)), exact: ({ final }) => final.seconds },
];

function Finals({ sides }: { sides: readonly Side[] }) {
  return (
    <section class="card" aria-labelledby="finals-title">
      <div class="chart-head">
        <h2 id="finals-title">Latest numbers</h2>
        <Save name="latest numbers" table={() => finalsOf(sides)} />
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Latest numbers of each run">
        <table class="grid">
          <HeadRow first="Number" sides={sides} />
          <tbody>
            {FINALS.map(({ title, of, exact }) => (
              <tr key={title}>
                <th scope="row">{title}</th>
                {sides.map((side) => {
                  const value = exact?.(side);
                  return <td key={side.id} class="number" title={value === undefined || value === null ? "" : formatExact(value)}>{of(side) ?? <span class="muted small">not recorded</span>}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const FINAL_FIELDS = [
  "em", "em_low", "em_high", "n", "ce", "ce_low", "ce_high", "ece", "ece_low", "ece_high", "eval_step",
  "best_checkpoint", "action", "streaming_ce", "tokens", "tokens_per_second", "seconds", "total_steps",
] as const;

/** A row a number, a column a run. */
function finalsOf(sides: readonly Side[]): TableData {
  return {
    columns: ["number", ...sides.map(({ id }) => id)],
    rows: [
      ["state", ...sides.map(({ state }) => state)], ["step", ...sides.map(({ step }) => step)],
      ...FINAL_FIELDS.map((field) => [field, ...sides.map(({ final }) => final[field])]),
    ],
  };
}

function Settings({ sides, settings, every, show }: {
  sides: readonly Side[]; settings: readonly Setting[]; every: boolean; show: (all: boolean) => void;
}) {
  const differing = settings.filter(({ differs }) => differs);
  const shown = every ? settings : differing;
  return (
    <section class="card" aria-labelledby="settings-title">
      <div class="chart-head">
        <h2 id="settings-title">Settings</h2>
        <span class="choice">
          <button type="button" class="button small" aria-pressed={every} onClick={() => show(!every)}>show all {formatNumber(settings.length)}</button>
          <Save
            name="settings"
            table={() => ({ columns: ["setting", ...sides.map(({ id }) => id)], rows: shown.map(({ name, values }) => [name, ...values]) })}
          />
        </span>
      </div>
      <p class="small-print">
        {sides.length < 2 ? "One run differs from nothing." : `${formatNumber(differing.length)} of ${formatNumber(settings.length)} differ.`}
      </p>
      {shown.length === 0 ? sides.length > 1 && <p class="empty">No setting shown, because none that was recorded differs.</p> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Settings of each run">
          <table class="grid settings">
            <HeadRow first="Setting" sides={sides} />
            <tbody>
              {shown.map(({ name, values, differs }) => (
                <tr key={name} class={differs && every ? "differs" : ""}>
                  <th scope="row"><Text>{name}</Text>{differs && every && <span class="sub">differs</span>}</th>
                  {values.map((text, i) => (
                    <td key={i}>{text === null ? <span class="muted small">not set</span> : <Text>{text}</Text>}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function HeadRow({ first, sides }: { first: string; sides: readonly Side[] }) {
  return (
    <thead>
      <tr><th scope="col">{first}</th>{sides.map((side, place) => <th scope="col" key={side.id}><Name sides={sides} place={place} /></th>)}</tr>
    </thead>
  );
}

function known(x: Float | null): string | null {
  return x === null ? null : formatNumber(x);
}

/** 1,200 as 1.2k: for an axis. */
function formatShort(x: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.abs(x) || 1) / 3)));
  return `${formatNumber(Number((x / 1000 ** power).toPrecision(3)))}${["", "k", "M", "G", "T"][power] ?? ""}`;
}

/** Load the comparison, and again while its runs go on. */
function useComparison(runs: readonly string[], lines: Lines): { found: Comparison | null; problem: string } {
  const [found, setFound] = useState<Comparison | null>(null);
  const [problem, setProblem] = useState("");
  const asked = runs.map((id) => `run=${encodeURIComponent(id)}`).join("&");
  const stand = (lines.runs ?? []).filter(({ id }) => runs.includes(id))
    .map(({ id, step, state, em_step }) => `${id} ${step} ${state} ${em_step}`).sort().join();
  const [loaded, setLoaded] = useState({ asked: "", at: 0, stand: "" });
  useEffect(() => {
    if (asked === "") return undefined;
    if (loaded.asked === asked && loaded.stand === stand) return undefined;
    let stopped = false;
    const wait = loaded.asked === asked ? Math.max(0, loaded.at + AGAIN_MILLISECONDS - Date.now()) : 0;
    if (loaded.asked !== asked) setProblem("");
    const timer = setTimeout(() => {
      get<Comparison>(`api/compare?${asked}`).then((next) => {
        if (stopped) return;
        setFound(next);
        setProblem("");
        setLoaded({ asked, stand, at: Date.now() });
      }, (error: unknown) => {
        if (!stopped) setProblem(error instanceof Error ? error.message : String(error));
      });
    }, wait);
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [asked, stand, loaded]);
  // What is shown must be of the runs that are asked for.
  const fits = found !== null && found.runs.map(({ id }) => `run=${encodeURIComponent(id)}`).join("&") === asked;
  return { found: fits ? found : null, problem };
}
