/** What the server sends: the shapes of /api/runs, /api/runs/{id} and its events. */

import type {
  Advice, Checkpoint, Data, Decision, EvalResult, Float, Layer, Metric, Note, Run, Verdict,
} from "./records";

/** The latest evaluation with what it means next to the earlier ones. */
export interface FixedEval extends Omit<EvalResult, "type"> {
  best_ckpt: string | null;
  /** What the calibration error means against chance; empty where it is not known. */
  calibration: "good" | "overconfident" | "underconfident" | "unclear" | "";
  /** Saved checkpoints that chance alone may tell from the best, it included. */
  tied: string[];
  /** An earlier one that surely costs less than `cheaper_within` of exact match. */
  cheaper_ckpt: string | null;
  cheaper_within: Float | null;
  em_trend: "improving" | "plateau" | "regressing" | "inconclusive";
  em_change: Float;
  em_change_low: Float;
  em_change_high: Float;
  em_reference: number;
  /** Evaluations in the last block, and in the one before that it is compared with. */
  em_last: number;
  em_before: number;
  /** What all that says, in one clause. */
  em_says: string;
  /** Whether exact match could tell; where it cannot, cross-entropy decides. */
  em_speaks: boolean;
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

export type State = "running" | "finished" | "failed" | "interrupted" | "starting" | "stalled" | "died";

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
  /** Rows of the training set that are of it, and their share; null where they were not counted. */
  train_rows: number | null;
  train_share: Float | null;
}

/** The same examples at an earlier evaluation and now, paired, with the 95 % interval of the change. */
export interface CellChange {
  pattern: string;
  /** Null for the whole row. */
  bin: string | null;
  n: number;
  learned: number;
  forgotten: number;
  change: Float;
  low: Float;
  high: Float;
  known: boolean;
}

export interface Changes {
  /** The step of the earlier evaluation. */
  since: number;
  cells: CellChange[];
}

export interface BucketMatrix {
  patterns: string[];
  bins: string[];
  cells: Cell[];
  rows: Row[];
  step: number;
  /** Null where there is no such earlier evaluation. */
  changes: { previous: Changes | null; best: Changes | null };
}

export type LayerState = Layer["state"];

/** One layer's curves over `OverTime.steps`; null where it was not read. */
export interface LayerCurve {
  stack: string;
  layer: number;
  moved: (Float | null)[];
  impact_share: (Float | null)[];
}

export interface LoraLayers {
  step: number;
  note: string;
  layers: Layer[];
  /** A short name for each stack, where there are several. */
  stacks: Record<string, string>;
  /** Which number of a layer compares with the others': relative to its weights, or ‖ΔW‖. */
  movement: "relative" | "norm";
  top: Layer[];
  top_moved: Layer[];
  top_impact: Layer[];
  /** Where in the depth it happens, in words; empty while unknown. */
  sentence: string;
  /** Each kind of module over the whole model. */
  kinds: { kind: string; norm: Float; impact: Float | null; share: Float | null }[];
  /** The worst of the modules that are not ok. */
  troubles: { module: string; state: LayerState; meaning: string }[];
  num_troubles: number;
  states: { state: LayerState; meaning: string; modules: number }[];
  over_time: { steps: number[]; layers: LayerCurve[] };
}

export type Phase =
  | "data" | "forward_backward" | "optimizer" | "other" | "evaluation" | "saving" | "monitor";

/** What is not known is absent. */
export interface Throughput {
  tokens_per_sec?: Float;
  label_tokens_per_sec?: Float;
  mean_tokens_per_sec?: Float;
  tokens_per_step?: Float;
  total_tokens?: Float;
  label_tokens?: Float;
  step_seconds?: Float;
  mfu?: Float;
  padding?: Float;
  eta_seconds?: Float;
  /** Share of each phase of the time of the last `time_steps` steps. */
  time?: Partial<Record<Phase, Float>>;
  time_steps?: number;
}

export type MetricInfo = Omit<Metric, "type">;
export type Alert = Pick<
  Verdict, "rule" | "scope" | "level" | "state" | "step" | "message" | "action" | "evidence"
>;

/** One change of an alert's state. */
export type AlertChange = Pick<Verdict, "state" | "level" | "step" | "time" | "message">;

/** Everything an alert went through, in order. */
export interface AlertThread {
  rule: string;
  scope: string;
  changes: AlertChange[];
}

/** What was found in the training set before the first step. */
export interface DataFacts extends Omit<Data, "type" | "found"> {
  /** Share of the tokens that the loss is computed on; null where there are none. */
  label_share: Float | null;
  /** By kind; `rows` are the first few of `n`. */
  found: Record<string, { n: number; rows: number[]; share: Float }>;
}

export interface Snapshot {
  schema: number;
  run: Run | null;
  state: State;
  step: number;
  time: Float;
  metrics: Record<string, MetricInfo>;
  latest: Record<string, Float>;
  streaming_ce: Float | null;
  /** "smooth, falling" and the like; empty where there is too little to say. */
  streaming_course: string;
  current_entropy: Float | null;
  throughput: Throughput;
  evals: EvalResult[];
  fixed_eval: Partial<FixedEval>;
  flips: Partial<Flips>;
  bucket_matrix: Partial<BucketMatrix>;
  lora: Partial<LoraLayers>;
  alerts: Alert[];
  alert_history: AlertThread[];
  not_checked: { rule: string; reason: string }[];
  decision: Pick<Decision, "action" | "checkpoint" | "tied" | "reason" | "step" | "evidence"> | null;
  advice: Advice[];
  /** Rows worth a look before the next run, by kind: how many the export `rows` lists. */
  look_at: Record<string, number>;
  data: DataFacts | null;
  checkpoints: Pick<Checkpoint, "step" | "path">[];
  notes: Pick<Note, "step" | "time" | "topic" | "text">[];
}

/** The fields that change with every sample, sent also when nothing else did. */
export type Live = Pick<
  Snapshot,
  "state" | "step" | "time" | "latest" | "streaming_ce" | "streaming_course" | "current_entropy" | "throughput"
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
  /** The first step, then the distance of each from the one before. */
  steps: number[];
  values: Float[];
}

export interface Detail {
  id: string;
  snapshot: Snapshot;
  series: Record<string, WireSeries>;
  cursor: number;
  thinned: boolean;
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
