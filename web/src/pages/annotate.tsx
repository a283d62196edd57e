/** The dialog for a run's tags and note; they are written beside its journal. */

import { useEffect, useRef, useState } from "preact/hooks";
import { write } from "../write";
import { Text } from "./text";
import type { RunLine } from "./types";

export function Annotate({ run, close }: { run: RunLine; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [tags, setTags] = useState(run.tags.join(", "));
  const [note, setNote] = useState(run.note);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    const element = dialog.current as HTMLDialogElement;
    const before = document.activeElement;
    element.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const save = async () => {
    setBusy(true);
    try {
      await write(run.id, { tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean), note });
      close();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    setBusy(false);
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="annotate-title" onClose={close}>
      <form onSubmit={(event) => { event.preventDefault(); void save(); }}>
        <h2 id="annotate-title">Tags and note of <Text>{run.id}</Text></h2>
        <label class="labelled">
          <span>Tags, with commas between them</span>
          <input class="field" value={tags} onInput={(event) => setTags(event.currentTarget.value)} />
        </label>
        <label class="labelled">
          <span>Note</span>
          <textarea class="field" rows={5} maxLength={4000} value={note} onInput={(event) => setNote(event.currentTarget.value)} />
        </label>
        {problem && <p class="problem" role="alert">Not saved: {problem}</p>}
        <p class="small-print">Kept in annotations.jsonl beside the run's journal.</p>
        <div class="dialog-end">
          <button type="button" class="button" onClick={() => dialog.current?.close()}>Cancel</button>
          <button type="submit" class="button strong" disabled={busy}>Save</button>
        </div>
      </form>
    </dialog>
  );
}
