"""What needs no other library to compare with: the floor, and generation loops."""

from __future__ import annotations

import engine
import torch
from decoding import generate, right_padded, same
from engine import Run
from subject import Answer, Subject
from torch import Tensor


def floor(subject: Subject) -> Run:
    """The bare forward: heldout's batches, the output head on response rows only, no statistics."""
    model = subject.model
    backbone, head = model.get_decoder(), model.get_output_embeddings()
    batches = [_batch(subject, batch) for batch in engine.plan(subject)]

    def run() -> Answer:
        with torch.no_grad():
            for ids_BT, mask_BT, keep_BT in batches:
                out = backbone(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
                head(out.last_hidden_state[keep_BT])
        return Answer()

    return run


def per_sample(subject: Subject) -> Run:
    """`model.generate` at batch 1, up to the golden length."""

    def run() -> Answer:
        hits = tuple(
            same(
                generate(subject.model, [e.prompt_ids], len(e.response_ids), subject.eos_ids)[0],
                e.response_ids,
                subject.eos_ids,
            )
            for e in subject.examples
        )
        return Answer(hits=hits)

    return run


def per_sample_with_ce(subject: Subject) -> Run:
    """The loop above and one forward with labels per sample, as users write it."""
    generated = per_sample(subject)

    def run() -> Answer:
        hits = generated().hits
        total = sum(_loss(subject, i) for i in range(len(subject.examples)))
        return Answer(hits=hits, ce=total / subject.num_response_tokens)

    return run


def batched(subject: Subject) -> Run:
    """`model.generate` in left-padded batches, sorted by golden length: few rows wait for a long one."""
    examples, size = subject.examples, subject.batch_size
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].response_ids))

    def run() -> Answer:
        hits = [False] * len(examples)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            longest = len(examples[batch[0]].response_ids)
            prompts = [examples[i].prompt_ids for i in batch]
            answers = generate(subject.model, prompts, longest, subject.eos_ids)
            for i, answer in zip(batch, answers, strict=True):
                hits[i] = same(answer, examples[i].response_ids, subject.eos_ids)
        return Answer(hits=tuple(hits))

    return run


def _batch(subject: Subject, batch: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    examples = [subject.examples[i] for i in batch]
    ids_BT, mask_BT = right_padded([e.prompt_ids + e.response_ids for e in examples])
    keep_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for row, e in enumerate(examples):
        first = len(e.prompt_ids) - 1
        keep_BT[row, first : first + len(e.response_ids)] = True
    device = subject.model.device
    return ids_BT.to(device), mask_BT.to(device), keep_BT.to(device)


def _loss(subject: Subject, i: int) -> float:
    """Sum of the cross-entropy of one example, from the model's own loss."""
    e, device = subject.examples[i], subject.model.device
    ids_1T = torch.tensor([e.prompt_ids + e.response_ids], device=device)
    labels_1T = ids_1T.clone()
    labels_1T[:, : len(e.prompt_ids)] = -100
    with torch.no_grad():
        out = subject.model(input_ids=ids_1T, labels=labels_1T, use_cache=False)
    return float(out.loss) * len(e.response_ids)


def string_reference(subject: Subject) -> tuple[bool, ...]:
    """String EM the slow way: every answer whole, one at a time, then compared as text."""
    hits = []
    for e in subject.examples:
        limit = engine.string_limit(subject, e)
        ids = generate(subject.model, [e.prompt_ids], limit, subject.eos_ids)[0]
        hits.append(engine.string_hit(subject, e, ids))
    return tuple(hits)
