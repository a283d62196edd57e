/** One example in full, with every evaluation of it. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api";
import { formatExact, formatNumber } from "../format";
import type { TableData, Value } from "../tables";
import { Save } from "./save";
import { Kinds, Mark, SaidView } from "./said";
import { Text } from "./text";
import type { OneExample as Example } from "./types";

export function onePath(run: string, example: string): string {
  return `api/runs/${encodeURIComponent(run)}/examples/${encodeURIComponent(example)}`;
}

export function OneExample({ run, example, close }: { run: string; example: string; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [shown, show] = useState<Example | null>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const element = dialog.current as HTMLDialogElement;
    const before = document.activeElement;
    element.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  useEffect(() => {
    let stopped = false;
    get<Example>(onePath(run, example)).then(
      (found) => { if (!stopped) show(found); },
      (error: unknown) => { if (!stopped) setProblem(error instanceof Error ? error.message : String(error)); },
    );
    return () => { stopped = true; };
  }, [run, example]);
  return (
    <dialog
      ref={dialog} class="dialog wide-dialog" aria-labelledby="example-title" onClose={close}
      onClick={(event) => { if (event.target === dialog.current) dialog.current?.close(); }}
    >
      <div class="dialog-head">
        <h2 id="example-title">{shown ? <><Mark correct={shown.correct} /> Line {formatNumber(shown.line)}</> : "Example"}</h2>
        {shown && <span class="sub"><Text>{shown.pattern}</Text> · {shown.bin.replace("-", "–")} tokens · {formatNumber(shown.tokens)} in the golden answer</span>}
        {shown && <Kinds of={shown.kinds} />}
        <span class="spacer" />
        <button type="button" class="button" onClick={() => dialog.current?.close()}>Close</button>
      </div>
      {problem && <p class="empty" role="alert">Not shown, because {problem}.</p>}
      {!shown && !problem && <p role="status">Loading…</p>}
      {shown && <Whole shown={shown} />}
    </dialog>
  );
}

function Whole({ shown }: { shown: Example }) {
  return (
    <>
      {shown.missing && <p class="remark">The prompt is not shown: {shown.missing}.</p>}
      {shown.messages?.map((message, i) => (
        <Block key={i} title={message.role}><Text>{message.content}</Text></Block>
      ))}
      {shown.golden !== null && <Block title="golden answer"><Text>{shown.golden}</Text></Block>}
      {shown.references.map((text, i) => <Block key={i} title="also accepted"><Text>{text}</Text></Block>)}
      <div class="chart-head">
        <h3>Every evaluation</h3>
        <Save name={`example line ${shown.line}`} table={() => tableOf(shown)} />
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Every evaluation of this example">
        <table class="evaluations">
          <thead>
            <tr>
              <th scope="col">Step</th><th scope="col">Answer</th><th scope="col">CE, nats</th>
              <th scope="col">Leaves at token</th><th scope="col">What the model says</th>
            </tr>
          </thead>
          <tbody>
            {shown.went.map((each) => (
              <tr key={each.step}>
                <td class="number">{formatNumber(each.step)}</td>
                <td><Mark correct={each.correct} /> {each.correct ? "right" : "wrong"}{each.near_tie && <span class="sub">near tie</span>}</td>
                <td class="number" title={formatExact(each.ce, "nats per token")}>{formatNumber(each.ce)}</td>
                <td class="number">{each.divergence === null ? "never" : `${formatNumber(each.divergence + 1)} of ${formatNumber(each.tokens)}`}</td>
                <td class="what"><SaidView said={each.said} correct={each.correct} token={each.token_correct} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

const FIELDS = ["step", "correct", "token_correct", "near_tie", "ce", "entropy", "divergence"] as const;

function tableOf({ went }: Example): TableData {
  return {
    columns: [...FIELDS, "model"],
    rows: went.map((each): Value[] => [
      ...FIELDS.map((field) => typeof each[field] === "boolean" ? String(each[field]) : each[field] as Value),
      each.said && each.said.same + each.said.other,
    ]),
  };
}

function Block({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <div class="block">
      <h3><Text>{title}</Text></h3>
      <div class="block-text" tabIndex={0} role="region" aria-label={title}>{children}</div>
    </div>
  );
}
