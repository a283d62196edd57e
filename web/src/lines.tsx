/** A line of a chart: what it is, what it shows at a step, and how the keys above a chart tell it. */

import { useCursor, type Range, type Unit } from "./axis";
import { before, type Series } from "./fold";
import { formatExact, formatNumber } from "./format";
import type { TableData } from "./tables";

export interface Line {
  name: string;
  series: Series;
  /** A CSS variable. */
  colour: string;
  width?: number;
  opacity?: number;
  dash?: "dashed" | "dotted";
  dots?: boolean;
  /** Intervals drawn as vertical bars: one [low, high] a point. */
  intervals?: readonly (readonly [number, number])[];
  /** Their bars stand so many pixels to the right, beside those of other lines at the same steps. */
  shift?: number;
  /** A letter at the end of the line. */
  mark?: string;
  format?: (value: number) => string;
  /** Shown with the exact value beside the cursor. */
  unit?: string;
  /** Words for a point beside the cursor: its n, its checkpoint. */
  note?: (i: number) => string;
}

export interface Ring {
  step: number;
  value: number;
  label: string;
  /** One of the tied, not the recommended: a thinner ring. */
  minor?: boolean;
}

/** What a line shows at `step`: its last point at or before it. */
export function read(line: Line, step: number, unit: Unit): { exact: string; more: string } {
  const i = before(line.series.steps, step + 1) - 1;
  if (i < 0) return { exact: "–", more: "" };
  const interval = line.intervals?.[i];
  const at = line.series.steps[i] as number;
  const show = (value: number) => formatExact(value, line.unit ?? "");
  const parts = [
    ...(interval ? [`${show(interval[0])} to ${show(interval[1])}`] : []),
    ...(line.note ? [line.note(i)] : []), ...(at === step ? [] : [`of ${unit.say(at)}`]),
  ].filter(Boolean);
  return { exact: show(line.series.values[i] as number), more: parts.join(", ") };
}

/** The values at `step` as one sentence, for who hears them. */
export function told(lines: readonly Line[], step: number, unit: Unit): string {
  const parts = lines.map((line) => {
    const { exact, more } = read(line, step, unit);
    return `${line.name} ${exact}${more ? `, ${more}` : ""}`;
  });
  return `${unit.say(step)}: ${parts.join("; ")}`;
}

/** All steps that any of the lines has a point at, ascending. */
function stepsOf(lines: readonly Line[]): number[] {
  return [...new Set(lines.flatMap((line) => Array.from(line.series.steps)))].sort((a, b) => a - b);
}

/** The step nearest to `step` that any of the lines has a point at. */
export function nearest(lines: readonly Line[], step: number): number | null {
  let best: number | null = null;
  for (const { series: { steps } } of lines) {
    const i = before(steps, step);
    for (const at of [steps[i - 1], steps[i]]) {
      if (at !== undefined && (best === null || Math.abs(at - step) < Math.abs(best - step))) best = at;
    }
  }
  return best;
}

/** The recorded step next to `step` in a direction, inside of what is shown. */
export function next(lines: readonly Line[], step: number, by: 1 | -1, { first, last }: Range): number | null {
  let found: number | undefined;
  for (const { series: { steps } } of lines) {
    // `step` and the ends of the range may lie between two recorded ones.
    const i = before(steps, step);
    const at = by < 0 ? steps[i - 1] : steps[i] === step ? steps[i + 1] : steps[i];
    if (at !== undefined && (found === undefined || by * (at - found) < 0)) found = at;
  }
  return found === undefined || found < first || found > last ? nearest(lines, step) : found;
}

/** The lines as a table, a row a step that is shown. */
export function table(lines: readonly Line[], { first, last }: Range, unit: Unit): TableData {
  const steps = stepsOf(lines).filter((step) => step >= first && step <= last);
  const columns = [unit.name, ...lines.flatMap((line) => line.intervals ? [line.name, `${line.name} low`, `${line.name} high`] : [line.name])];
  const rows = steps.map((step) => [step, ...lines.flatMap((line) => {
    const i = before(line.series.steps, step);
    const here = line.series.steps[i] === step;
    const value = here ? line.series.values[i] as number : null;
    return line.intervals ? [value, here ? line.intervals[i]?.[0] ?? null : null, here ? line.intervals[i]?.[1] ?? null : null] : [value];
  })]);
  return { columns, rows };
}

export function Stroke({ line }: { line: Line }) {
  return (
    <span
      class={`stroke ${line.dash ?? ""}`} aria-hidden="true"
      style={{
        borderTopColor: `var(${line.colour})`, borderTopWidth: `${Math.max(1.5, line.width ?? 1.5)}px`,
        opacity: String(Math.max(0.6, line.opacity ?? 1)),
      }}
    />
  );
}

/** The value at the cursor, else the latest; all its digits on hovering. */
function ValueAt({ line, cursor }: { line: Line; cursor: number | null }) {
  const { steps, values } = line.series;
  const i = cursor === null ? values.length - 1 : before(steps, cursor + 1) - 1;
  const value = values[i];
  const show = line.format ?? formatNumber;
  return <b title={formatExact(value, line.unit)}>{value === undefined ? "–" : Number.isFinite(value) ? show(value) : formatNumber(value)}</b>;
}

export function Readout({ lines }: { lines: Line[] }) {
  const cursor = useCursor();
  return (
    <span class="readout">
      {lines.map((line) => (
        <span key={line.name}>{lines.length > 1 && <><Stroke line={line} />{line.name} </>}<ValueAt line={line} cursor={cursor} /></span>
      ))}
    </span>
  );
}

/** The lines with their values; each is a switch. */
export function Key({ lines, hidden, toggle }: {
  lines: Line[]; hidden: readonly string[]; toggle: (name: string) => void;
}) {
  const cursor = useCursor();
  return (
    <ul class="key">
      {lines.map((line) => (
        <li key={line.name}>
          <button
            type="button" class="key-line" aria-pressed={!hidden.includes(line.name)}
            title={hidden.includes(line.name) ? `Show ${line.name}` : `Hide ${line.name}`}
            onClick={() => toggle(line.name)}
          >
            <Stroke line={line} /><span class="key-name">{line.name}</span><ValueAt line={line} cursor={cursor} />
          </button>
        </li>
      ))}
    </ul>
  );
}
