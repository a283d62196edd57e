/** A line of a chart: what it is, what it shows at a step, and how the keys above a chart tell it. */

import { useCursor, type Range } from "./axis";
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
  dashed?: boolean;
  dots?: boolean;
  /** Intervals drawn as vertical bars: one [low, high] a point. */
  intervals?: readonly (readonly [number, number])[];
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
export function read(line: Line, step: number): { exact: string; more: string } {
  const i = before(line.series.steps, step + 1) - 1;
  if (i < 0) return { exact: "–", more: "" };
  const interval = line.intervals?.[i];
  const at = line.series.steps[i] as number;
  const show = (value: number) => formatExact(value, line.unit ?? "");
  const parts = [
    ...(interval ? [`${show(interval[0])} to ${show(interval[1])}`] : []),
    ...(line.note ? [line.note(i)] : []), ...(at === step ? [] : [`of step ${formatNumber(at)}`]),
  ].filter(Boolean);
  return { exact: show(line.series.values[i] as number), more: parts.join(", ") };
}

/** The values at `step` as one sentence, for who hears them. */
export function told(lines: Line[], step: number): string {
  const parts = lines.map((line) => {
    const { exact, more } = read(line, step);
    return `${line.name} ${exact}${more ? `, ${more}` : ""}`;
  });
  return `step ${formatNumber(step)}: ${parts.join("; ")}`;
}

/** All steps that any of the lines has a point at, ascending. */
export function stepsOf(lines: Line[]): number[] {
  return [...new Set(lines.flatMap((line) => line.series.steps))].sort((a, b) => a - b);
}

export function nearest(steps: readonly number[], step: number): number | null {
  const i = before(steps, step);
  const [low, high] = [steps[i - 1], steps[i]];
  if (low === undefined || high === undefined) return low ?? high ?? null;
  return step - low < high - step ? low : high;
}

/** The recorded step next to `step` in a direction, inside of what is shown. */
export function next(steps: readonly number[], step: number, by: 1 | -1, first: number, last: number): number | null {
  const found = by > 0 ? steps[before(steps, step + 1)] : steps[before(steps, step) - 1];
  return found === undefined || found < first || found > last ? nearest(steps, step) : found;
}

/** The lines as a table, a row a step that is shown. */
export function table(lines: Line[], { first, last }: Range): TableData {
  const steps = stepsOf(lines).filter((step) => step >= first && step <= last);
  const columns = ["step", ...lines.flatMap((line) => line.intervals ? [line.name, `${line.name} low`, `${line.name} high`] : [line.name])];
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
      class={line.dashed ? "stroke dashed" : "stroke"} aria-hidden="true"
      style={{
        borderTopColor: `var(${line.colour})`, borderTopWidth: `${Math.max(1.5, line.width ?? 1.5)}px`,
        opacity: String(Math.max(0.6, line.opacity ?? 1)),
      }}
    />
  );
}

/** The value at the cursor, else the latest. */
function valueAt(line: Line, cursor: number | null): string {
  const { steps, values } = line.series;
  const i = cursor === null ? values.length - 1 : before(steps, cursor + 1) - 1;
  const value = values[i];
  const show = line.format ?? formatNumber;
  return value === undefined ? "–" : Number.isFinite(value) ? show(value) : formatNumber(value);
}

export function Readout({ lines }: { lines: Line[] }) {
  const cursor = useCursor();
  return (
    <span class="readout">
      {lines.map((line) => (
        <span key={line.name}>{lines.length > 1 && <><Stroke line={line} />{line.name} </>}<b>{valueAt(line, cursor)}</b></span>
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
            <Stroke line={line} /><span class="key-name">{line.name}</span><b>{valueAt(line, cursor)}</b>
          </button>
        </li>
      ))}
    </ul>
  );
}
