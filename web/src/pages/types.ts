/** What the server sends for the pages of several runs and of examples. */

import type { EvalSet, Float, Item } from "../records";
import type { State } from "../snapshot";

export interface RunLine {
  id: string;
  model: string;
  source: string;
  state: State;
  step: number;
  total_steps: number;
  /** Processes that wrote it: more than one is a resumed run. */
  attempts: number;
  started: Float;
  time: Float;
  em: Float | null;
  em_low: Float | null;
  em_high: Float | null;
  n: number | null;
  em_step: number | null;
  has_set: boolean;
  best_checkpoint: string | null;
  best_em: Float | null;
  action: string | null;
  alerts: Record<string, number>;
  tokens_per_second: Float | null;
  streaming_ce: Float | null;
  spark: { what: string; steps: number[]; values: Float[] };
  /** Known by its two ends only, until the server has read the rest. */
  partial: boolean;
  tags: string[];
  note: string;
}

export interface RunLines {
  runs: RunLine[];
  version: string;
  /** Whether the folder served is a run itself. */
  single: boolean;
  now: number;
  write_key: string;
}

export interface LinesEvent {
  runs: RunLine[];
  gone: string[];
  whole: boolean;
  now: number;
}

/** A text split where it leaves the golden answer. */
export interface Said {
  same: string;
  other: string;
}

export type ExampleFacts = Omit<Item, "type" | "text">;

export interface ExampleRow extends ExampleFacts {
  /** A sign an evaluation: "1" right, "0" wrong, "-" not scored. */
  went: string;
  kinds: string[];
  prompt: string | null;
  golden: string | null;
  said: Said | null;
  other: { correct: boolean; ce: Float; said: Said | null } | null;
}

export interface Kind {
  kind: string;
  about: string;
  n: number;
}

export interface ExamplesPage {
  rows: ExampleRow[];
  total: number;
  offset: number;
  n: number;
  evals: number[];
  version: string;
  kinds: Kind[];
  patterns: Record<string, number>;
  bins: Record<string, number>;
  set: EvalSet | null;
  missing: string;
}

export interface OneExample extends ExampleFacts {
  kinds: string[];
  messages: { role: string; content: string }[] | null;
  golden: string | null;
  references: string[];
  missing: string;
  went: (ExampleFacts & { said: Said | null })[];
}

/** A training curve on all axes. */
export interface Streaming extends OnAxes {
  values: Float[];
}

interface OnAxes {
  steps: number[];
  tokens: Float[];
  seconds: Float[];
}

export type EvalField =
  | "em" | "em_low" | "em_high" | "ce" | "ce_low" | "ce_high" | "ece" | "ece_low" | "ece_high";

export interface Side {
  id: string;
  state: State;
  step: number;
  set: EvalSet | null;
  streaming: Streaming;
  evals: OnAxes & Record<EvalField, Float[]>;
  final: Record<EvalField, Float | null> & {
    n: number | null;
    eval_step: number | null;
    streaming_ce: Float | null;
    tokens: Float | null;
    tokens_per_second: Float | null;
    seconds: Float | null;
    total_steps: number | null;
    best_checkpoint: string | null;
    action: string | null;
  };
}

/** The last evaluations of two runs, example by example; the first run is the reference. */
export type Pair = { other: string } & (
  | { reason: string }
  | {
      n: number;
      em_change: Float;
      em_change_low: Float;
      em_change_high: Float;
      confidence: Float;
      p: Float | null;
      learned: number;
      forgotten: number;
      detectable: Float;
      steps: [number, number];
      says: "better" | "worse" | "no difference shown";
    }
);

export interface Setting {
  name: string;
  values: (string | null)[];
  differs: boolean;
}

export interface Comparison {
  runs: Side[];
  settings: Setting[];
  pairs: Pair[];
}
