/** What the server sends: the shapes of /api/runs, /api/runs/{id} and its events. */

import type {
  Advice, Checkpoint, Decision, EvalResult, Float, Layer, Metric, Note, Run, Verdict,
} from "./records";

/** The latest evaluation with what it means next to the earlier ones. */
export interface FixedEval extends Omit<EvalResult, "type"> {
  best_ckpt: string | null;
  /** Saved checkpoints that chance alone may tell from the best, it included. */
  tied: string[];
  em_trend: "improving" | "plateau" | "regressing" | "inconclusive";
  em_change: Float;
  em_change_low: Float;
  em_change_high: Float;
  em_reference: number;
  /** The smallest change in `em` that this set would show. */
  detectable: Float;
  ece_rise: boolean;
  /** Wrong, then right (and the reverse) since `em_reference`. */
  em_learned: number;
  em_forgotten: number;
  best_em: Float | null;
  /** The best score less the luck of having been the highest. */
  best_em_corrected: Float | null;
  best_em_step: number | null;
}

export interface Flip {
  id: string;
  line: number;
  pattern: string;
  text: string | null;
}

/** What changed from wrong to right, and back, since an earlier evaluation. */
export interface Flips {
  since: number;
  learned: number;
  forgotten: number;
  learned_items: Flip[];
  forgotten_items: Flip[];
}

export type State = "running" | "finished" | "failed" | "starting";

/** A rate always comes with what it was counted on and its 95 % interval. */
export interface Rate {
  seen: number;
  correct: number;
  em: Float | null;
  em_low: Float | null;
  em_high: Float | null;
  /** False when too few examples were seen to say anything. */
  known: boolean;
}

export interface Cell extends Rate {
  pattern: string;
  bin: string;
}

export interface Row extends Rate {
  pattern: string;
}

export interface BucketMatrix {
  patterns: string[];
  bins: string[];
  cells: Cell[];
  rows: Row[];
  step: number;
}

export interface LoraLayers {
  step: number;
  note: string;
  layers: Layer[];
  top: Layer[];
  /** Where in the depth it happens, in words; empty while unknown. */
  sentence: string;
}

export type MetricInfo = Omit<Metric, "type">;
export type Alert = Pick<
  Verdict, "rule" | "scope" | "level" | "state" | "step" | "message" | "action" | "evidence"
>;

export interface Snapshot {
  schema: number;
  run: Run | null;
  state: State;
  step: number;
  time: Float;
  metrics: Record<string, MetricInfo>;
  latest: Record<string, Float>;
  streaming_ce: Float | null;
  current_entropy: Float | null;
  throughput: Record<string, Float | null>;
  evals: EvalResult[];
  fixed_eval: Partial<FixedEval>;
  flips: Partial<Flips>;
  bucket_matrix: Partial<BucketMatrix>;
  lora: Partial<LoraLayers>;
  alerts: Alert[];
  not_checked: { rule: string; reason: string }[];
  decision: Pick<Decision, "action" | "checkpoint" | "tied" | "reason" | "step"> | null;
  advice: Advice[];
  checkpoints: Pick<Checkpoint, "step" | "path">[];
  notes: Pick<Note, "step" | "time" | "topic" | "text">[];
}

/** The fields that change with every sample, sent also when nothing else did. */
export type Live = Pick<
  Snapshot,
  "state" | "step" | "time" | "latest" | "streaming_ce" | "current_entropy" | "throughput"
>;

export interface RunSummary {
  id: string;
  model: string;
  state: State;
  step: number;
  total_steps: number;
  em: Float | null;
  n: number | null;
  time: Float;
}

export interface WireSeries {
  steps: number[];
  values: Float[];
}

export interface Detail {
  id: string;
  snapshot: Snapshot;
  series: Record<string, WireSeries>;
  cursor: number;
  /** The server's clock, Unix seconds. */
  now: number;
  exports: { name: string; suffix: string }[];
}

export interface RunEvent {
  samples: { step: number; values: Record<string, Float> }[];
  live: Live;
  snapshot: Snapshot | null;
  /** Steps already drawn were taken back (a resume), or the page is too far behind. */
  reload: boolean;
  now: number;
}
