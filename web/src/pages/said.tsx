/** What the model said beside the golden answer, and how an example went over the evaluations. */

import { formatNumber } from "../format";
import { Text } from "./text";
import type { Said } from "./types";

/** The part it shares with the golden answer, then where it leaves it: marked, and told in words. */
export function SaidView({ said, correct, token }: { said: Said | null; correct: boolean; token: boolean }) {
  if (said === null) {
    return <span class="muted">{token ? "the golden answer, token by token" : "not decoded"}</span>;
  }
  if (said.other === "" && correct) return <Text>{said.same}</Text>;
  return (
    <>
      {said.same && <Text>{said.same}</Text>}
      <span class="unseen">{correct ? " differs from here on, yet is accepted: " : " leaves the golden answer here: "}</span>
      <mark class={correct ? "leaves accepted" : "leaves"}>
        {said.other ? <Text>{said.other}</Text> : <span class="ends" title="It ends or goes on otherwise here">⟂</span>}
      </mark>
    </>
  );
}

const WIDTH = 8;
const GAP = 2;
const HEIGHT = 22;
/** Evaluations drawn; earlier ones are told in the label. */
const MOST = 14;
const NAMES: Record<string, string> = { "1": "right", "0": "wrong", "-": "not scored" };

/** A mark an evaluation: a tall full one is right, a low hollow one wrong, a dot not scored. */
export function History({ went, evals }: { went: string; evals: readonly number[] }) {
  const from = Math.max(0, went.length - MOST);
  const signs = [...went].slice(from);
  return (
    <svg class="went" role="img" aria-label={told(went, evals)} width={signs.length * (WIDTH + GAP)} height={HEIGHT}>
      <title>{told(went, evals)}</title>
      {signs.map((sign, i) => {
        const x = i * (WIDTH + GAP) + 0.5;
        if (sign === "1") return <rect key={i} class="went-right" x={x} y={1.5} width={WIDTH - 1} height={HEIGHT - 3} rx={1.5} />;
        if (sign === "0") return <rect key={i} class="went-wrong" x={x} y={HEIGHT - 9.5} width={WIDTH - 1} height={8} rx={1.5} />;
        return <circle key={i} class="went-none" cx={x + WIDTH / 2} cy={HEIGHT - 4} r={1.5} />;
      })}
    </svg>
  );
}

/** "wrong at steps 0–28, right at steps 42–84", stretches of one kind joined. */
export function told(went: string, evals: readonly number[]): string {
  const parts: { sign: string; first: number; last: number }[] = [];
  [...went].forEach((sign, i) => {
    const step = evals[i] ?? i;
    const open = parts.at(-1);
    if (open?.sign === sign) open.last = step;
    else parts.push({ sign, first: step, last: step });
  });
  return parts.map(({ sign, first, last }) => {
    const steps = first === last ? `step ${formatNumber(first)}` : `steps ${formatNumber(first)}–${formatNumber(last)}`;
    return `${NAMES[sign] ?? sign} at ${steps}`;
  }).join(", ");
}

/** The kinds that say more than right or wrong. */
export function Kinds({ of }: { of: readonly string[] }) {
  const shown = of.filter((kind) => kind !== "right" && kind !== "wrong");
  if (shown.length === 0) return null;
  return <span class="kinds">{shown.map((kind) => <span key={kind} class={`kind kind-${kind}`}>{label(kind)}</span>)}</span>;
}

export function Mark({ correct }: { correct: boolean }) {
  return <span class={correct ? "mark-right" : "mark-wrong"}><span aria-hidden="true">{correct ? "✓" : "✕"}</span><span class="unseen">{correct ? "right" : "wrong"}</span></span>;
}

const LABELS: Record<string, string> = {
  persistent: "persistently wrong", "near-tie": "near tie", gained: "right only here", lost: "right only there",
};

export function label(kind: string): string {
  return LABELS[kind] ?? kind;
}
