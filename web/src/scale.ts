/** Which numbers stand on an axis, and where a value lies between its ends. Pure. */

import type { Unit } from "./axis";

const ROUND = [1, 2, 5, 10] as const;
/** Values may be divided finer than steps. */
const ROUND_VALUES = [1, 2, 2.5, 5, 10] as const;
const DAY = 86_400;

/** The next of 1, 2, 5, 10, 20, ... at or above `x`, of any size. */
export function roundUp(x: number, round: readonly number[] = ROUND): number {
  if (!(x > 0) || !Number.isFinite(x)) return 1;
  const power = 10 ** Math.floor(Math.log10(x));
  return (round.find((digit) => digit * power >= x * (1 - 1e-9)) as number) * power;
}

/** Round places from `first` to `last`, about `count` of them, in the unit's own round numbers. */
export function places(first: number, last: number, count: number, { round, grain }: Pick<Unit, "round" | "grain">): number[] {
  const wanted = Math.max((last - first) / count, grain);
  const most = round.at(-1) as number;
  const every = most <= 10 || wanted < 1 ? roundUp(wanted)
    : wanted > most ? DAY * roundUp(wanted / DAY) : round.find((each) => each >= wanted) as number;
  return multiples(Math.ceil(first / every - 1e-9), Math.floor(last / every + 1e-9), every);
}

function multiples(from: number, to: number, every: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => Number(((from + i) * every).toPrecision(12)));
}

export interface Scale {
  low: number;
  high: number;
  ticks: number[];
  log: boolean;
}

/** Where `y` lies, from 0 at the bottom to 1 at the top. */
export function share({ low, high, log }: Scale, y: number): number {
  return log ? Math.log(y / low) / Math.log(high / low) : (y - low) / (high - low);
}

/** An axis from `low` to `high`, widened to round numbers, with about `count` of them. */
export function linear(low: number, high: number, count: number, fixed: { min?: number; max?: number; bytes?: boolean } = {}): Scale {
  let [least, most] = [fixed.min ?? low, fixed.max ?? high];
  if (!(least <= most)) [least, most] = [fixed.min ?? 0, Math.max(fixed.min ?? 0, fixed.max ?? 1)];
  if (least === most) {
    const room = Math.abs(least) / 2 || 1;
    if (fixed.max === undefined) most += room;
    if (fixed.min === undefined) least -= least === 0 ? 0 : room;
  }
  const every = fixed.bytes ? 2 ** Math.ceil(Math.log2((most - least) / count)) : roundUp((most - least) / count, ROUND_VALUES);
  const [from, to] = [Math.floor(least / every + 1e-9), Math.ceil(most / every - 1e-9)];
  const bottom = fixed.min ?? from * every;
  const top = fixed.max ?? Math.max(to, from + 1) * every;
  const ticks = multiples(Math.ceil(bottom / every - 1e-9), Math.floor(top / every + 1e-9), every);
  return { low: bottom, high: top, ticks, log: false };
}

const MOST_DECADES = 6;
/** Below this ratio the decades are divided. */
const FEW_DECADES = 200;

/** A logarithmic axis; where there is less than a decade, between round numbers within it. */
export function logarithmic(low: number, high: number): Scale {
  if (!(low > 0) || !(high >= low) || !Number.isFinite(high)) return { low: 0.1, high: 1, ticks: [0.1, 1], log: true };
  const [from, to] = [Math.floor(Math.log10(low) + 1e-9), Math.ceil(Math.log10(high) - 1e-9)];
  const decades = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const every = Math.ceil(decades.length / MOST_DECADES);
  const digits = high / low > FEW_DECADES ? [1] : [1, 2, 5];
  const all = decades.filter((_, i) => i % every === 0 || every === 1)
    .flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)));
  const below = all.findLast((tick) => tick <= low * (1 + 1e-9)) ?? all[0] as number;
  const above = all.find((tick) => tick >= high * (1 - 1e-9) && tick > below) ?? 10 ** Math.max(to, from + 1);
  return { low: Math.min(below, low), high: Math.max(above, high), ticks: all.filter((tick) => tick >= below && tick <= above), log: true };
}
