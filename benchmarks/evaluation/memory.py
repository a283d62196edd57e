"""Peak memory of scoring at a vocabulary of 151,936, each way in a process of its own.

A Qwen3-shaped model of two layers and width 1,024 with random weights scores 4 sequences of 512
tokens, 128 of them response. On the CPU the peak is of the process's resident set, on CUDA of torch's
allocator; either way above what the model itself takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine
import torch
import ways
from engine import Run
from making import QWEN3, qwen3, word_tokenizer
from measure import measure
from subject import Answer, Subject

NUM_SEQUENCES, NUM_TOKENS, NUM_RESPONSE = 4, 512, 128
NUM_WARM = 16
"""Tokens of the warm-up: what libraries allocate once is no part of the peak."""


def full_logits(subject: Subject) -> Run:
    """Statistics as they are often written: of all logits at once, in float32."""
    ids_BT, labels_BT = _padded(subject)

    def run() -> Answer:
        with torch.no_grad():
            logits_BTV = subject.model(input_ids=ids_BT, use_cache=False).logits[:, :-1].float()
            log_p_BTV = logits_BTV.log_softmax(dim=-1)
            p_BTV = logits_BTV.softmax(dim=-1)
            keep_BT, gold_BT = labels_BT[:, 1:] >= 0, labels_BT[:, 1:].clamp_min(0)
            ce_BT = -log_p_BTV.gather(-1, gold_BT[..., None]).squeeze(-1)
            entropy_BT = -(p_BTV * log_p_BTV).sum(dim=-1)
            hit_BT = (logits_BTV.argmax(dim=-1) == gold_BT) | ~keep_BT
        return Answer(
            hits=tuple(hit_BT.all(dim=1).tolist()),
            ce=float(ce_BT[keep_BT].mean()),
            entropy=float(entropy_BT[keep_BT].mean()),
        )

    return run


def own_loss(subject: Subject) -> Run:
    """The model's own loss, as `Trainer.evaluate` asks for it: CE only."""
    ids_BT, labels_BT = _padded(subject)

    def run() -> Answer:
        with torch.no_grad():
            out = subject.model(input_ids=ids_BT, labels=labels_BT, use_cache=False)
        return Answer(ce=float(out.loss))

    return run


WAYS: dict[str, tuple[str, Callable[[Subject], Run]]] = {
    "floor": ("floor: head on all response rows at once, no statistics", ways.floor),
    "tokens": ("heldout: token EM, CE, entropy, ECE", engine.token_match),
    "full": ("all logits in float32: EM, CE, entropy", full_logits),
    "loss": ("the model's own loss on all logits: CE", own_loss),
}


def compare(device: str, dtype: str, threads: int) -> list[dict[str, Any]]:
    """Measure each way in a fresh process."""
    rows = []
    for name in WAYS:
        command = [sys.executable, str(Path(__file__)), name, device, dtype, str(threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out for a terminal."""
    lines = [f"{'':56} {'MiB':>7} {'time s':>8} {'CPU s':>8} {'CE':>8} {'entropy':>8}"]
    for row in rows:
        entropy = "" if row["entropy"] is None else f"{row['entropy']:.4f}"
        ce = "" if row["ce"] is None else f"{row['ce']:.4f}"
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.0f}"
        times = f"{row['seconds']:8.2f} {row['cpu_seconds']:8.2f}"
        lines.append(f"{row['title']:56} {peak:>7} {times} {ce:>8} {entropy:>8}")
    return "\n".join(lines)


def measured(name: str, device: str, dtype: str) -> dict[str, Any]:
    """Measure one way, here."""
    title, prepare = WAYS[name]
    shape = {**QWEN3["qwen3-0.6b"], "num_hidden_layers": 2}
    model = qwen3(shape, device, getattr(torch, dtype))
    prepare(_subject(model, NUM_WARM, NUM_WARM // 2))()
    run = prepare(_subject(model, NUM_TOKENS, NUM_RESPONSE))
    reading, answer = measure(run, model.device)
    return {
        "name": name,
        "title": title,
        "peak_bytes": reading.peak_bytes,
        "seconds": reading.seconds,
        "cpu_seconds": reading.cpu_seconds,
        "ce": answer.ce,
        "entropy": answer.entropy,
    }


def _subject(model: Any, num_tokens: int, num_response: int) -> Subject:
    generator = torch.Generator().manual_seed(0)
    size = int(model.config.vocab_size)
    rows = torch.randint(size - 1, (NUM_SEQUENCES, num_tokens), generator=generator).tolist()
    split = num_tokens - num_response
    return Subject(
        model=model,
        tokenizer=word_tokenizer(size),
        examples=tuple(engine.example(row[:split], row[split:]) for row in rows),
        eos_ids=(size - 1,),
        batch_size=NUM_SEQUENCES,
        max_new_tokens=num_response,
        scratch=Path(),
    )


def _padded(subject: Subject) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels, both [B, T], of sequences of one length."""
    ids_BT = torch.tensor([e.prompt_ids + e.response_ids for e in subject.examples])
    labels_BT = ids_BT.clone()
    for row, e in enumerate(subject.examples):
        labels_BT[row, : len(e.prompt_ids)] = -100
    return ids_BT.to(subject.model.device), labels_BT.to(subject.model.device)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    print(json.dumps(measured(*sys.argv[1:4])))
