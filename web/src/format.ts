/** Numbers and times as text. A rate never stands without its n and interval. */

import type { Float } from "./records";
import { toNumber } from "./fold";

const MINUS = "\u2212";
const NARROW = "\u202f"; // narrow no-break space, between a number and its unit

type Maybe = Float | null | undefined;

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A number in at most four digits: 0.8213, 14,200, 2e-5, NaN, ∞; "–" when there is none. */
export function formatNumber(value: Maybe): string {
  if (value === null || value === undefined) return "–";
  const x = toNumber(value);
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : `${MINUS}∞`;
  const size = Math.abs(x);
  let text: string;
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) {
    text = size.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  } else text = Number.isInteger(x) || size >= 1000 ? whole.format(size) : plain.format(size);
  return x < 0 ? MINUS + text : text;
}

/** A number in all its digits, so that it reads back as the same one, with its unit as it was recorded. */
export function formatExact(value: Maybe, unit = ""): string {
  if (value === null || value === undefined) return "–";
  const x = toNumber(value);
  if (!Number.isFinite(x)) return formatNumber(x);
  const size = Math.abs(x);
  return `${x < 0 ? MINUS : ""}${allDigits(size)}${unit === "" || unit === "1" ? "" : NARROW + unit}`;
}

/** The shortest text that reads back as the same number: 12,345,678,901, 0.1, 1.5e-7. */
function allDigits(size: number): string {
  if (Number.isSafeInteger(size)) return whole.format(size);
  if (size < 1e-4 || size >= 1e15) return size.toExponential().replace("e+", "e");
  const [integer, fraction] = String(size).split(".");
  return `${whole.format(Number(integer))}.${fraction}`;
}

/** A number with its unit. Bytes and seconds are scaled; a percentage is made from a fraction. */
export function formatValue(value: Maybe, unit: string): string {
  if (value === null || value === undefined) return "–";
  const x = toNumber(value);
  if (!Number.isFinite(x)) return formatNumber(x);
  switch (unit) {
    case "bytes":
    case "B":
      return formatBytes(x);
    case "s":
    case "seconds":
      return formatSeconds(x);
    case "FLOP/s":
      return formatLarge(x, unit);
    case "":
    case "1":
      return formatNumber(x);
    default:
      return `${formatNumber(x)}${NARROW}${unit}`;
  }
}

function formatBytes(x: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (Math.abs(x) >= 1024 && power < units.length - 1) {
    x /= 1024;
    power += 1;
  }
  return `${plain.format(power === 0 ? Math.round(x) : Number(x.toPrecision(3)))}${NARROW}${units[power]}`;
}

/** By the prefixes of thousands: 312.5 TFLOP/s. */
function formatLarge(x: number, unit: string): string {
  const prefixes = ["", "k", "M", "G", "T", "P", "E"];
  let power = 0;
  while (Math.abs(x) >= 1000 && power < prefixes.length - 1) {
    x /= 1000;
    power += 1;
  }
  return `${plain.format(x)}${NARROW}${prefixes[power]}${unit}`;
}

export function formatSeconds(x: number): string {
  if (Math.abs(x) < 1) return `${plain.format(Number((x * 1000).toPrecision(3)))}${NARROW}ms`;
  if (Math.abs(x) < 120) return `${plain.format(Number(x.toPrecision(3)))}${NARROW}s`;
  return formatDuration(x);
}

/** A length of time in its two largest units: 45 s, 3 min 5 s, 2 h 4 min, 3 d 1 h. */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(s / 86400), "d"],
    [Math.floor(s / 3600) % 24, "h"],
    [Math.floor(s / 60) % 60, "min"],
    [s % 60, "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return `0${NARROW}s`;
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n}${NARROW}${unit}`)
    .join(" ");
}

/** As roughly as it can be foretold: about 40 s, 12 min, 2 h 10 min or 3 d 4 h left. */
export function formatLeft(seconds: Maybe): string {
  const s = toNumber(seconds ?? NaN);
  if (!Number.isFinite(s)) return "unknown";
  const grain = s < 90 ? 5 : s < 5400 ? 60 : s < 129600 ? 600 : 3600;
  return `about ${formatDuration(Math.max(5, grain * Math.round(s / grain)))} left`;
}

/** A share of something as a percentage in two digits: 0.50 %, 8.1 %, 52 %. */
export function formatShare(value: Maybe): string {
  if (value === null || value === undefined) return "–";
  const x = 100 * toNumber(value);
  if (!Number.isFinite(x)) return formatNumber(x);
  const text = x === 0 || Math.abs(x) < 1e-5 ? formatNumber(Number(x.toPrecision(2)))
    : Math.abs(x) >= 9.95 ? whole.format(x) : x.toPrecision(2);
  return `${text}${NARROW}%`;
}

/** A fraction as a percentage with one decimal: 81.5 %. */
export function formatPercent(value: Maybe): string {
  if (value === null || value === undefined) return "–";
  const x = toNumber(value);
  return Number.isFinite(x) ? `${(100 * x).toFixed(1)}${NARROW}%` : formatNumber(x);
}

/** A fraction as a percentage without needless zeros, for an axis: 60 %, 0.5 %. */
export function formatPercentTick(x: number): string {
  return `${Number((100 * x).toFixed(2))}${NARROW}%`;
}

/** The 95 % interval of a fraction, in percent: 79.8–83.1 %. */
export function formatInterval(low: Maybe, high: Maybe): string {
  if (low === null || low === undefined || high === null || high === undefined) return "–";
  const [a, b] = [toNumber(low), toNumber(high)];
  if (!Number.isFinite(a) || !Number.isFinite(b)) return "unknown";
  return `${(100 * a).toFixed(1)}–${(100 * b).toFixed(1)}${NARROW}%`;
}

/** A change of a fraction, in percentage points with its sign: +2.1 points. */
export function formatChange(value: Maybe): string {
  if (value === null || value === undefined) return "–";
  const x = toNumber(value);
  if (!Number.isFinite(x)) return formatNumber(x);
  const points = (100 * Math.abs(x)).toFixed(1);
  return `${x < 0 ? MINUS : "+"}${points}${NARROW}points`;
}

export function formatTime(time: Maybe): string {
  const x = time === null || time === undefined ? NaN : toNumber(time);
  if (!Number.isFinite(x) || x <= 0) return "–";
  return new Date(1000 * x).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** The same without the year, for a column of them: 9 Oct, 08:54:10. */
export function formatMoment(time: Maybe): string {
  const x = time === null || time === undefined ? NaN : toNumber(time);
  if (!Number.isFinite(x) || x <= 0) return "–";
  return new Date(1000 * x).toLocaleString(undefined, {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
  });
}

/** Any JSON value as text for a reader; never as markup. */
export function formatAny(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return formatNumber(value);
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return formatNumber(value);
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(formatAny).join(", ");
  return Object.entries(value)
    .map(([key, item]) => `${key} ${formatAny(item)}`)
    .join(", ");
}

/** The first few names, and how many more there are. */
export function formatNames(names: readonly string[], shown = 3): string {
  const more = names.length - shown;
  if (more <= 1) return names.join(", ");
  return `${names.slice(0, shown).join(", ")} and ${formatNumber(more)} more`;
}

/** A record's field name as words: em_change_low -> em change low. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}
