// Generated from src/heldout/records.py by `python -m heldout.views.web.types`. Do not edit.

/** A float; JSON has no NaN, so one that is not finite is one of these strings. */
export type Float = number | "NaN" | "Infinity" | "-Infinity";

export const SCHEMA = 1;

/** What the fixed set is: the hash names its content, so two runs compare only when it agrees. */
export interface EvalSet {
  path: string;
  hash: string;
  n: number;
  skipped: string[];
  remarks: string[];
  too_long: number;
  overlap: string[];
  unlike: number;
  difference: string;
  prompt: string;
}

/** A training process started: who, what, with which settings. The first record of a journal. */
export interface Run {
  type: "run";
  id: string;
  time: Float;
  model: string;
  step: number;
  total_steps: number;
  eval_set: EvalSet | null;
  learning_rate: string;
  training: Record<string, unknown>;
  source: string;
  resume: string;
  train_patterns: Record<string, number>;
  config: Record<string, unknown>;
  environment: Record<string, string>;
  host: string;
  pid: number;
  process: Record<string, string>;
  schema: number;
}

/** Rows of a training set that share something: how many there are, and the first of them. */
export interface Rows {
  n: number;
  rows: number[];
  partners: number[];
}

/** What the training set was found to hold before the first step; rules judge it. */
export interface Data {
  type: "data";
  time: Float;
  path: string;
  rows: number;
  looked_at: number;
  tokens: number;
  label_tokens: number;
  longest: number;
  max_length: number | null;
  context: number | null;
  held_out: number;
  found: Record<string, Rows>;
  strange: string;
  opening: string;
  beyond: string;
  remarks: string[];
}

/** What a number means. Written once a run, so nothing downstream imports torch to explain it. */
export interface Metric {
  type: "metric";
  name: string;
  title: string;
  unit: string;
  direction: "higher" | "lower" | "none";
  help: string;
  source: string;
  cost: string;
}

/** The scalars of one recorded optimizer step. */
export interface Sample {
  type: "sample";
  step: number;
  time: Float;
  values: Record<string, Float>;
}

/** One held-out example at one evaluation. */
export interface Item {
  type: "item";
  step: number;
  id: string;
  line: number;
  pattern: string;
  bin: string;
  tokens: number;
  correct: boolean;
  token_correct: boolean;
  ce: Float;
  entropy: Float;
  divergence: number | null;
  near_tie: boolean;
  text: string | null;
  group: string;
}

/** One bin of the reliability diagram: `confidence` and `accuracy` are means over `n` tokens. */
export interface Bin {
  n: number;
  confidence: Float;
  accuracy: Float;
}

/** The fixed set scored at one step; its `Item`s stand just before it in the journal. */
export interface EvalResult {
  type: "evalresult";
  step: number;
  time: Float;
  n: number;
  correct: number;
  em: Float;
  em_low: Float;
  em_high: Float;
  token_em: Float;
  near_ties: number;
  decoded: number;
  ce: Float;
  ce_low: Float;
  ce_high: Float;
  ce_by_example: Float;
  entropy: Float;
  token_accuracy: Float;
  ece: Float;
  ece_low: Float;
  ece_high: Float;
  ece_null: Float;
  ece_equal_mass: Float;
  confidence_gap: Float;
  brier: Float;
  sequence_ece: Float | null;
  tokens: number;
  non_finite: number;
  seconds: Float;
  bins: Bin[];
  rechecked: number;
  mismatched: string[];
}

/** The adapted modules of one kind in one layer. */
export interface Part {
  relative: Float | null;
  spectral: Float | null;
  rank: Float | null;
  rank_of: Float | null;
  speed: Float | null;
  impact: Float | null;
  impact_share: Float | null;
  grad: Float | null;
  state: "blow-up" | "frozen" | "no-gradient" | "ok" | "rounding" | "stalled";
  norm: Float;
}

/** How far one layer's adapters have moved: ||dW||_F by kind, None where nothing is adapted. */
export interface Layer {
  relative: Float | null;
  spectral: Float | null;
  rank: Float | null;
  rank_of: Float | null;
  speed: Float | null;
  impact: Float | null;
  impact_share: Float | null;
  grad: Float | null;
  state: "blow-up" | "frozen" | "no-gradient" | "ok" | "rounding" | "stalled";
  stack: string;
  layer: number;
  qkv: Float | null;
  o: Float | null;
  mlp: Float | null;
  other: Float | null;
  delta_norm: Float;
  parts: Record<string, Part>;
}

/** A reading of every adapted layer; `note` says why when there is none. */
export interface Layers {
  type: "layers";
  step: number;
  time: Float;
  layers: Layer[];
  note: string;
  troubles: Record<string, "blow-up" | "frozen" | "no-gradient" | "ok" | "rounding" | "stalled">;
}

/** The Trainer saved a checkpoint or, where `gone`, removed it again. */
export interface Checkpoint {
  type: "checkpoint";
  step: number;
  time: Float;
  path: string;
  gone: boolean;
}

/** A rule's alert changed state. The last record of a (rule, scope) is its present state. */
export interface Verdict {
  type: "verdict";
  step: number;
  time: Float;
  rule: string;
  scope: string;
  state: "closed" | "error" | "escalated" | "no-data" | "open" | "pending" | "resolved";
  level: "critical" | "error" | "info" | "warning";
  message: string;
  action: string;
  evidence: Record<string, unknown>;
  ends: "" | "roll-back" | "stop";
}

/** One thing to do for the next run, with the numbers that say so. */
export interface Advice {
  topic: string;
  message: string;
  evidence: Record<string, unknown>;
}

/** What to do with the run, judged after an evaluation or a change of the alerts. */
export interface Decision {
  type: "decision";
  step: number;
  time: Float;
  action: "continue" | "look" | "none" | "resume" | "roll-back" | "stop";
  checkpoint: string | null;
  tied: string[];
  reason: string;
  evidence: Record<string, unknown>;
  advice: Advice[];
}

/** Something worth remembering that is no number: a resume, lost rows, a failure, the end. */
export interface Note {
  type: "note";
  step: number;
  time: Float;
  topic: string;
  text: string;
}

export type AnyRecord =
  | Run
  | Data
  | Metric
  | Sample
  | Item
  | EvalResult
  | Layers
  | Checkpoint
  | Verdict
  | Decision
  | Note;
