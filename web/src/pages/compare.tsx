/** Runs side by side: curves on shared axes, a paired test, last numbers, and what their settings differ in. */

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../api";
import { Panels, type Placed } from "../arrange";
import { Axis, SECONDS, SharedAxis, STEPS, TOKENS, useRestingRange, type Range, type Unit } from "../axis";
import { LineChartView, type Line } from "../chart";
import { before, toNumber } from "../fold";
import {
  formatChange, formatDuration, formatExact, formatInterval, formatNumber, formatPercent, formatPercentTick,
  formatValue,
} from "../format";
import { Empty, Saved, Segments } from "../panel";
import { RangeBar } from "../range";
import type { Float } from "../records";
import { go, list, to, value, type Query } from "../route";
import type { TableData, Value } from "../tables";
import type { Lines } from "./lines";
import { StateSign } from "./runs";
import { Text } from "./text";
import type { Comparison, EvalField, Pair, RunLine, Setting, Side, Streaming } from "./types";

const LETTERS = "ABCDEFGH";
const MOST_RUNS = LETTERS.length;
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5"] as const;
const DASHES = [undefined, "dashed", "dotted"] as const;
/** The bars of runs that were evaluated at the same steps stand side by side. */
const BAR_PIXELS = 4;
/** Past this many points dots would touch and hide the line. */
const MOST_DOTS = 40;
/** A run that goes on is asked for again no more often than this. */
const AGAIN_MILLISECONDS = 5000;
const RETRY_MILLISECONDS = 3000;

type AxisName = "steps" | "tokens" | "seconds";
const AXES: readonly { id: AxisName; title: string; unit: Unit }[] = [
  { id: "steps", title: "steps", unit: STEPS }, { id: "tokens", title: "tokens", unit: TOKENS },
  { id: "seconds", title: "training time", unit: SECONDS },
];

interface Asked {
  runs: string[];
  axis: AxisName;
  log: boolean;
  /** "all", or "" for those that differ. */
  settings: string;
  /** What of the axis is shown, "first-last"; "" for all. */
  range: string;
}

export function ComparePage({ lines, query }: { lines: Lines; query: Query }) {
  const asked: Asked = {
    runs: [...new Set(list(query, "runs"))].slice(0, MOST_RUNS), log: value(query, "log") === "1",
    axis: AXES.find(({ id }) => id === value(query, "axis"))?.id ?? "steps",
    settings: value(query, "settings") === "all" ? "all" : "", range: value(query, "range"),
  };
  const { runs } = asked;
  const show = (change: Partial<Asked>) => {
    const { runs: chosen, axis, ...rest } = { ...asked, ...change };
    go(to.compare(chosen, { axis: axis === "steps" ? "" : axis, ...rest }), true);
  };
  const gone = lines.runs === null ? [] : missing(runs, lines.runs);
  const there = runs.filter((id) => !gone.includes(id));
  const { found, problem } = useComparison(there, lines);
  const drop = (id: string) => show({ runs: runs.filter((run) => run !== id) });
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
      {gone.map((id) => (
        <p key={id} class="empty" role="alert">
          There is no run called '<Text>{id}</Text>' in this folder. <button type="button" class="button small" onClick={() => drop(id)}>Compare without it</button>
        </p>
      ))}
      {problem && <p class="empty" role="alert">{found ? "What is shown is old" : "Nothing is compared"}, because {problem}. Trying again.</p>}
      {there.length > 0 && !found && !problem && <p class="waiting" role="status">Loading…</p>}
      {found && there.length > 0 && (
        <>
          <Legend sides={found.runs} drop={drop} first={(id) => show({ runs: [id, ...runs.filter((run) => run !== id)] })} />
          <div class="options">
            <Segments name="axis" legend="Shared axis" choices={AXES} chosen={asked.axis} choose={(axis) => show({ axis, range: "" })} />
            <button type="button" class="button small" aria-pressed={asked.log} onClick={() => show({ log: !asked.log })}>log scale of losses</button>
          </div>
          <SameSet sides={found.runs} />
          <Compared key={asked.axis} found={found} asked={asked} show={show} />
        </>
      )}
    </section>
  );
}

/** Those of `ids` that are no run of the list. */
function missing(ids: readonly string[], runs: readonly RunLine[]): string[] {
  const known = new Set(runs.map(({ id }) => id));
  return ids.filter((id) => !known.has(id));
}

/** The charts on their shared axis, and the tables, as panels like those of one run. */
function Compared({ found, asked, show }: { found: Comparison; asked: Asked; show: (change: Partial<Asked>) => void }) {
  const { runs: sides, pairs, settings } = found;
  const shared = AXES.find(({ id }) => id === asked.axis) ?? AXES[0] as (typeof AXES)[number];
  const axis = useMemo(() => {
    const made = new Axis(shared.unit);
    made.whole = wholeOf(sides, shared.id);
    made.show(rangeOf(asked.range));
    return made;
  }, []);
  axis.whole = wholeOf(sides, shared.id);
  const range = useRestingRange(axis);
  const finer = useFiner(sides, shared.id, range);
  const text = range ? `${range.first}-${range.last}` : "";
  useEffect(() => { if (text !== asked.range) show({ range: text }); }, [text]);
  const panels: Placed[] = [
    ...CHARTS.map((chart): Placed => ({
      id: `compare-${chart.id}`, title: chart.title, gist: "",
      content: () => <Chart sides={finer} axis={shared} chart={chart} log={asked.log && chart.isLoss} />,
    })),
    ...(pairs.length === 0 ? [] : [{
      id: "compare-pairs", title: "Which answers the fixed set better", gist: "latest evaluations, example by example", wide: true,
      content: () => <Pairs sides={sides} pairs={pairs} />,
    }]),
    { id: "compare-finals", title: "Latest numbers", gist: "side by side", wide: true, content: () => <Finals sides={sides} /> },
    {
      id: "compare-settings", title: "Settings", gist: differ(sides, settings), wide: true,
      content: () => <Settings sides={sides} settings={settings} every={asked.settings === "all"} show={(all) => show({ settings: all ? "all" : "" })} />,
    },
  ];
  return (
    <SharedAxis.Provider value={axis}>
      <RangeBar />
      <Panels panels={panels} page="panels:compare" files="compare" />
    </SharedAxis.Provider>
  );
}

/** The sides with finer training curves where a range is shown, once they are here. */
function useFiner(sides: readonly Side[], axis: AxisName, range: Range | null): readonly Side[] {
  const [finer, set] = useState<{ range: Range; curves: (Streaming & { id: string })[] } | null>(null);
  const asked = range && `${sides.map(({ id }) => `run=${encodeURIComponent(id)}`).join("&")}&axis=${axis}&first=${range.first}&last=${range.last}`;
  const stand = sides.map(({ step }) => step).join();
  useEffect(() => {
    if (!asked || !range) {
      set(null);
      return undefined;
    }
    let stopped = false;
    get<{ curves: (Streaming & { id: string })[] }>(`api/compare/curves?${asked}`).then(
      ({ curves }) => { if (!stopped) set({ range, curves }); },
      () => undefined, // what is drawn already stays; the next zoom asks again
    );
    return () => { stopped = true; };
  }, [asked, stand]);
  return useMemo(() => !finer ? sides : sides.map((side) => {
    const curve = finer.curves.find(({ id }) => id === side.id);
    return curve && curve[axis].length > 0 ? { ...side, streaming: within(side.streaming, curve, axis, finer.range) } : side;
  }), [sides, finer]);
}

/** `fine` inside of the range, `coarse` outside. */
function within(coarse: Streaming, fine: Streaming, axis: AxisName, { first, last }: Range): Streaming {
  const at = (curve: Streaming) => curve[axis].map(toNumber);
  const [outer, inner] = [at(coarse), at(fine)];
  const from = before(outer, first);
  const to = outer.findLastIndex((x) => x <= last) + 1;
  const [start, end] = [before(inner, first), inner.findLastIndex((x) => x <= last) + 1];
  const joined = <T,>(a: readonly T[], b: readonly T[]) => [...a.slice(0, from), ...b.slice(start, end), ...a.slice(Math.max(from, to))];
  return {
    steps: joined(coarse.steps, fine.steps), tokens: joined(coarse.tokens, fine.tokens),
    seconds: joined(coarse.seconds, fine.seconds), values: joined(coarse.values, fine.values),
  };
}

function wholeOf(sides: readonly Side[], axis: AxisName): Range {
  const ends = sides.flatMap(({ evals, streaming }) => [evals[axis].at(-1) ?? 0, streaming[axis].at(-1) ?? 0]);
  return { first: 0, last: Math.max(1, ...ends.map(toNumber).filter(Number.isFinite)) };
}

/** "10-20" of an address. */
function rangeOf(text: string): Range | null {
  const [first, last] = text.split("-").map(Number);
  return first !== undefined && last !== undefined && first < last ? { first, last } : null;
}

function Name({ sides, place }: { sides: readonly Side[]; place: number }) {
  return <><Letter place={place} /> <Text>{sides[place]?.id ?? ""}</Text></>;
}

function Letter({ place }: { place: number }) {
  return <span class="letter" style={{ color: `var(${colourOf(place)})` }}>{LETTERS[place]}</span>;
}

function colourOf(place: number): string {
  return COLOURS[place % COLOURS.length] as string;
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

interface ChartOf {
  id: string;
  title: string;
  about: string;
  /** None is the streaming CE of training. */
  field?: "em" | "ce" | "ece";
  isLoss: boolean;
  unit: string;
  why: string;
}

const NOT_EVALUATED = "no run here was evaluated on a fixed set";
const CHARTS: readonly ChartOf[] = [
  { id: "em", title: "Exact match", about: "with 95 % intervals", field: "em", isLoss: false, unit: "", why: NOT_EVALUATED },
  { id: "streaming", title: "Streaming CE of training", about: "nats per token", isLoss: true, unit: "nats", why: "no run here recorded a streaming CE" },
  { id: "ce", title: "Held-out CE", about: "nats per token, with 95 % intervals", field: "ce", isLoss: true, unit: "nats", why: NOT_EVALUATED },
  { id: "ece", title: "Calibration error (ECE)", about: "with 95 % intervals", field: "ece", isLoss: false, unit: "", why: NOT_EVALUATED },
];

function Chart({ chart, sides, axis, log }: {
  chart: ChartOf; sides: readonly Side[]; axis: (typeof AXES)[number]; log: boolean;
}) {
  const { title, about, field, unit, why } = chart;
  const format = field === "em" ? formatPercent : (y: number) => formatValue(y, unit);
  const lines = sides.map((side, place): Line => ({
    ...curve(side, axis.id, field), name: `${LETTERS[place]} ${side.id}`, mark: LETTERS[place] as string, colour: colourOf(place),
    shift: BAR_PIXELS * place, width: 2, format, unit, ...dashed(place),
  }));
  const drawable = lines.filter(({ series }) => series.steps.length > 0);
  const without = lines.filter(({ series }) => series.steps.length === 0).map(({ mark }) => mark);
  const recorded = sides.some((side) => (field ? side.evals : side.streaming).steps.length > 0);
  if (drawable.length === 0) return <Empty>No curve, because {recorded ? `no run here recorded its ${axis.title}` : why}.</Empty>;
  const below = log ? drawable.reduce((n, { series }) => n + series.values.filter((y) => y <= 0).length, 0) : 0;
  const latest = drawable.map(({ name, series }) => `${name} ${format(series.values.at(-1) as number)}`);
  return (
    <>
      <LineChartView
        title={`${title}, ${about}, by ${axis.title}`} lines={drawable} log={log} height={230} keyed
        {...(field === "em" ? { axisFormat: formatPercentTick } : {})}
        summary={`${title}, by ${axis.title}. Latest: ${latest.join("; ")}.`}
      />
      {below > 0 && <p class="small-print">{formatNumber(below)} points are 0 or below and have no place on a log scale.</p>}
      {without.length > 0 && <p class="small-print">Not drawn, because nothing is recorded: {without.join(", ")}.</p>}
    </>
  );
}

function dashed(place: number): Pick<Line, "dash"> {
  const dash = DASHES[place % DASHES.length];
  return dash ? { dash } : {};
}

function curve(side: Side, axis: AxisName, field?: "em" | "ce" | "ece"): Pick<Line, "series" | "intervals" | "dots"> {
  const on = field ? side.evals : side.streaming;
  const steps = on[axis].map(toNumber);
  if (!field) return { series: { steps, values: side.streaming.values.slice(0, steps.length).map(toNumber) } };
  const [low, high] = [side.evals[`${field}_low`], side.evals[`${field}_high`]];
  return {
    series: { steps, values: side.evals[field].slice(0, steps.length).map(toNumber) }, dots: steps.length <= MOST_DOTS,
    intervals: steps.map((_, i) => [toNumber(low[i] as Float), toNumber(high[i] as Float)] as const),
  };
}

function SameSet({ sides }: { sides: readonly Side[] }) {
  const hashes = new Set(sides.map(({ set }) => set?.hash).filter((hash) => hash !== undefined));
  if (hashes.size < 2) return null;
  return <p class="remark">These runs were scored on {hashes.size} different fixed sets, so their EM, CE and ECE are not of the same examples.</p>;
}

function Pairs({ sides, pairs }: { sides: readonly Side[]; pairs: readonly Pair[] }) {
  const reference = sides[0]?.id ?? "";
  return (
    <Saved name="Paired tests" table={() => pairsOf(sides, pairs)}>
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
    </Saved>
  );
}

const PAIR_FIELDS = ["n", "em_change", "em_change_low", "em_change_high", "confidence", "p", "learned", "forgotten", "detectable", "says"] as const;

/** A row a run, against the first. */
function pairsOf(sides: readonly Side[], pairs: readonly Pair[]): TableData {
  return {
    columns: ["run", "reference", ...PAIR_FIELDS, "not compared because"],
    rows: pairs.map((pair): Value[] => [
      pair.other, sides[0]?.id ?? "",
      ...PAIR_FIELDS.map((field) => "reason" in pair ? null : pair[field]),
      "reason" in pair ? pair.reason : null,
    ]),
  };
}

const rate = (side: Side, field: "em") => side.final[field] === null ? null : (
  <><b>{formatPercent(side.final[field])}</b><span class="sub">{formatInterval(side.final.em_low, side.final.em_high)} · n {formatNumber(side.final.n)}</span></>
);

const ranged = (side: Side, field: "ce" | "ece", unit: string) => side.final[field] === null ? null : (
  <><b>{formatValue(side.final[field], unit)}</b><span class="sub">{formatNumber(side.final[`${field}_low` as EvalField])}–{formatNumber(side.final[`${field}_high` as EvalField])}</span></>
);

const ACTIONS: Readonly<Record<string, string>> = {
  continue: "go on", stop: "stop", "roll-back": "roll back", resume: "resume", look: "look at the trainer", none: "done",
};

const FINALS: readonly { title: string; of: (side: Side) => ComponentChildren; exact?: (side: Side) => Float | null }[] = [
  { title: "Exact match (EM)", of: (side) => rate(side, "em"), exact: ({ final }) => final.em },
  { title: "Held-out CE", of: (side) => ranged(side, "ce", "nats"), exact: ({ final }) => final.ce },
  { title: "Calibration error (ECE)", of: (side) => ranged(side, "ece", ""), exact: ({ final }) => final.ece },
  { title: "Evaluated at step", of: ({ final }) => known(final.eval_step), exact: ({ final }) => final.eval_step },
  { title: "Best checkpoint", of: ({ final }) => final.best_checkpoint && <Text>{final.best_checkpoint}</Text> },
  { title: "Decision", of: ({ final }) => final.action && (ACTIONS[final.action] ?? final.action) },
  { title: "Streaming CE", of: ({ final }) => final.streaming_ce === null ? null : formatValue(final.streaming_ce, "nats"), exact: ({ final }) => final.streaming_ce },
  { title: "Steps", exact: ({ step }) => step, of: (side) => `${formatNumber(side.step)}${side.final.total_steps ? ` of ${formatNumber(side.final.total_steps)}` : ""}` },
  { title: "Tokens trained on", of: ({ final }) => known(final.tokens), exact: ({ final }) => final.tokens },
  { title: "Tokens per second", of: ({ final }) => known(final.tokens_per_second), exact: ({ final }) => final.tokens_per_second },
  { title: "Training time", of: ({ final }) => final.seconds === null ? null : formatDuration(toNumber(final.seconds)), exact: ({ final }) => final.seconds },
];

function Finals({ sides }: { sides: readonly Side[] }) {
  return (
    <Saved name="Latest numbers" table={() => finalsOf(sides)}>
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
    </Saved>
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

function differ(sides: readonly Side[], settings: readonly Setting[]): string {
  if (sides.length < 2) return "one run differs from nothing";
  return `${formatNumber(settings.filter(({ differs }) => differs).length)} of ${formatNumber(settings.length)} differ`;
}

function Settings({ sides, settings, every, show }: {
  sides: readonly Side[]; settings: readonly Setting[]; every: boolean; show: (all: boolean) => void;
}) {
  const shown = every ? settings : settings.filter(({ differs }) => differs);
  return (
    <>
      <button type="button" class="button small" aria-pressed={every} onClick={() => show(!every)}>show all {formatNumber(settings.length)}</button>
      {shown.length === 0 ? <Empty>No setting shown, because {sides.length < 2 ? "one run differs from nothing" : "none that was recorded differs"}.</Empty> : (
        <Saved name="Settings" table={() => ({ columns: ["setting", ...sides.map(({ id }) => id)], rows: shown.map(({ name, values }) => [name, ...values]) })}>
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
        </Saved>
      )}
    </>
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

/** Load the comparison, and again while its runs go on. */
function useComparison(runs: readonly string[], lines: Lines): { found: Comparison | null; problem: string } {
  const [found, setFound] = useState<Comparison | null>(null);
  const [problem, setProblem] = useState("");
  const asked = runs.map((id) => `run=${encodeURIComponent(id)}`).join("&");
  const stand = (lines.runs ?? []).filter(({ id }) => runs.includes(id))
    .map(({ id, step, state, em_step }) => `${id} ${step} ${state} ${em_step}`).sort().join();
  const [loaded, setLoaded] = useState({ asked: "", at: 0, stand: "" });
  useEffect(() => {
    if (asked === "") {
      setProblem("");
      return undefined;
    }
    if (loaded.asked === asked && loaded.stand === stand) return undefined;
    let stopped = false;
    let retry: ReturnType<typeof setTimeout> | undefined;
    const wait = loaded.asked === asked ? Math.max(0, loaded.at + AGAIN_MILLISECONDS - Date.now()) : 0;
    if (loaded.asked !== asked) setProblem("");
    const timer = setTimeout(() => {
      get<Comparison>(`api/compare?${asked}`).then((next) => {
        if (stopped) return;
        setFound(next);
        setProblem("");
        setLoaded({ asked, stand, at: Date.now() });
      }, (error: unknown) => {
        if (stopped) return;
        setProblem(error instanceof Error ? error.message : String(error));
        retry = setTimeout(() => setLoaded((was) => ({ ...was })), RETRY_MILLISECONDS);
      });
    }, wait);
    return () => {
      stopped = true;
      clearTimeout(timer);
      clearTimeout(retry);
    };
  }, [asked, stand, loaded]);
  // What is shown must be of the runs that are asked for.
  const fits = found !== null && found.runs.map(({ id }) => `run=${encodeURIComponent(id)}`).join("&") === asked;
  return { found: fits ? found : null, problem };
}
