"""What a Trainer is about to train on: its dataset's rows through its own collator, looked at and counted.

Nothing that training can feel is touched: random states are restored, a dataset or collator that keeps
state of its own is left alone, and so is a stream, which would be consumed.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from heldout.evals.embeddings import embeddings_in, without_embedding
from heldout.evals.fixed_set import Example, most_tokens
from heldout.evals.marks import Marks
from heldout.evals.neutral import same_chance
from heldout.evals.training_rows import (
    IGNORED,
    Ids,
    Tally,
    TokenFacts,
    coarse_to_fine,
    evenly_spaced,
)
from heldout.kinds import kind_of
from heldout.records import Data, Rows

SECONDS = 5.0
"""Time that looking may take; what is seen until then is spread evenly over the set."""
BLOCK = 256
"""Rows read from the dataset at a time, once reading has shown to be fast."""
STATES = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator, Iterator)
"""What a dataset or collator draws from in an order of its own."""


def training_data(
    loader: Any,
    tokenizer: Any,
    model: Any,
    max_length: int | None = None,
    *,
    most: int,
    held_out: Sequence[Example] = (),
    packed: bool = False,
    seconds: float = SECONDS,
) -> Data:
    """Look at no more than `most` rows of the data loader's dataset, for no longer than `seconds`.

    `model` gives its end tokens and the tokens it takes. Rows are counted from 0. What could not be
    looked at is said in `remarks`; nothing is raised for it.
    """
    dataset: Any = getattr(loader, "dataset", None)
    collate: Any = getattr(loader, "collate_fn", None)
    context = most_tokens(getattr(model, "config", None))
    obstacle = kind_of(model).unread or _obstacle(dataset, collate)
    if obstacle:
        return _nothing(
            _length(dataset), context, f"the training set was not looked at: {obstacle}"
        )
    marks = Marks.of(tokenizer, _ends(model)) if tokenizer is not None else None
    openings = [each.opening for each in held_out]
    facts = TokenFacts(marks, max_length, packed, openings, embeddings_in(model))
    texts = _Texts(tokenizer, held_out, packed, marks)
    wanted = evenly_spaced(len(dataset), most)
    deadline = time.monotonic() + seconds
    with same_chance():
        remarks = _look(dataset, copy.copy(collate), wanted, facts, texts, deadline)
    if not facts.looked_at:
        return _nothing(len(dataset), context, *remarks)
    if marks is None:
        remarks.append("there is no tokenizer: end tokens and chat templates were not looked for")
    if packed:
        remarks.append("rows are packed: a row holds several examples")
    found = facts.found()
    return Data(
        time=time.time(),
        rows=len(dataset),
        looked_at=facts.looked_at,
        tokens=facts.tokens,
        label_tokens=facts.label_tokens,
        longest=facts.longest,
        max_length=facts.max_length,
        context=context,
        held_out=len(held_out) if texts.compared else 0,
        found=found | texts.found(),
        strange=facts.strange,
        opening=tokenizer.decode(list(held_out[0].opening)) if tokenizer and held_out else "",
        beyond=without_embedding(
            [] if facts.beyond is None else [facts.beyond], facts.embeddings, tokenizer
        ),
        remarks=remarks,
    )


def _look(
    dataset: Any,
    collate: Any,
    wanted: list[int],
    facts: TokenFacts,
    texts: _Texts,
    deadline: float,
) -> list[str]:
    """Read, collate and count rows until the deadline; returns what stood in the way."""
    order, block, row, late = coarse_to_fine(wanted), 1, 0, False
    try:
        while order and not late:
            rows, order = order[:block], order[block:]
            for row, item in zip(rows, _items(dataset, rows), strict=True):
                late = time.monotonic() > deadline
                if late:
                    break
                ids, labels = _collated(collate, item)
                said = texts.add(row, ids, labels)
                strange = facts.marks.strange_in(said) if facts.marks else ""
                facts.add(row, ids, labels, strange=strange)
            block = min(2 * block, BLOCK)
    except Exception as error:  # what training itself makes of this row is for the Trainer to say
        return [f"looking stopped at row {row}: {error}"]
    if facts.looked_at == len(dataset):
        return []
    why = ", until time was up" if late else ""
    return [f"{facts.looked_at:,} of {len(dataset):,} rows were looked at, evenly spaced{why}"]


class _Texts:
    """Finds rows that repeat, and rows that the held-out set holds, by what their tokens say.

    Letter case and whitespace are ignored against the held-out set, whose texts come out of the same
    chat template; another system message hides a row.
    """

    def __init__(
        self, tokenizer: Any, held_out: Sequence[Example], packed: bool, marks: Marks | None
    ) -> None:
        silent = {marks.bos, *marks.ends} if marks else set()
        self._silent = {*silent, getattr(tokenizer, "pad_token_id", None)}
        self.compared = tokenizer is not None and bool(held_out) and not packed
        self._tokenizer = tokenizer
        self._first: dict[int, list[int]] = {}
        self._tally = Tally()
        self._tally.looked_for("duplicate")
        self._whole: dict[str, int] = {}
        self._prompts: dict[str, int] = {}
        if self.compared:
            self._tally.looked_for("leaked", "leaked_prompt")
        for example in held_out if self.compared else ():
            prompt, answer = self._says(example.prompt_ids), self._says(example.response_ids)
            self._whole.setdefault(_plain(prompt + answer), example.row.line)
            self._prompts.setdefault(_plain(prompt), example.row.line)

    def add(self, row: int, ids: Ids, labels: Ids) -> str:
        """Compare a row; returns what its tokens say, those that begin, end or pad it apart."""
        self._first.setdefault(hash(ids.tobytes()), []).append(row)
        if self._tokenizer is None:
            return ""
        trained = np.flatnonzero(labels != IGNORED)
        begin = int(trained[0]) if len(trained) else len(ids)
        prompt, answer = self._says(ids[:begin].tolist()), self._says(ids[begin:].tolist())
        if self.compared:
            whole, asked = _plain(prompt + answer), _plain(prompt)
            if whole in self._whole:
                self._tally.add("leaked", row, self._whole[whole])
            elif asked in self._prompts:
                self._tally.add("leaked_prompt", row, self._prompts[asked])
        return prompt + answer

    def found(self) -> dict[str, Rows]:
        """Every kind that was looked for. Call it once, at the end."""
        for rows in map(sorted, self._first.values()):
            for row in rows[1:]:
                self._tally.add("duplicate", row, rows[0])
        return self._tally.found()

    def _says(self, ids: Sequence[int]) -> str:
        kept = [token for token in ids if token not in self._silent]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _items(dataset: Any, rows: list[int]) -> list[Any]:
    """Rows as a data loader fetches them."""
    if hasattr(dataset, "__getitems__"):
        return list(dataset.__getitems__(rows))
    return [dataset[row] for row in rows]


def _collated(collate: Any, item: Any) -> tuple[Ids, Ids]:
    """Token ids and labels of one row as a batch of its own holds them, without padding."""
    batch = collate([dict(item) if isinstance(item, dict) else item])
    names = list(batch) if isinstance(batch, Mapping) else []
    if "input_ids" not in names or "labels" not in names:
        shown = ", ".join(map(str, names)) or type(batch).__name__
        raise ValueError(f"a batch has no input_ids with labels, found {shown}")
    ids, labels = _flat(batch["input_ids"]), _flat(batch["labels"])
    if ids.shape != labels.shape:
        raise ValueError(f"labels are not by token: {labels.size} for {ids.size} tokens")
    mask = batch.get("attention_mask")
    if mask is not None and _flat(mask).shape == ids.shape:
        real = _flat(mask) != 0
        return ids[real], labels[real]
    return ids, labels


def _flat(values: Any) -> Ids:
    tensor = values if isinstance(values, torch.Tensor) else torch.as_tensor(values)
    return tensor.detach().cpu().numpy().reshape(-1).astype(np.int64, copy=False)


def _obstacle(dataset: Any, collate: Any) -> str:
    """Why looking at this dataset is not possible without a trace; "" if it is."""
    if dataset is None or collate is None:
        return "there is no data loader with a dataset"
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        return "it is a stream, and looking would consume it"
    if not hasattr(dataset, "__len__"):
        return "it has no length"
    if not len(dataset):
        return "it is empty"
    if getattr(collate, "mlm", False):
        return "its labels are drawn anew for each batch (masked language modelling)"
    for name, each in (("dataset", dataset), ("collator", collate)):
        state = _state_of(each)
        if state:
            return f"its {name} keeps a state of its own ({state}), which looking would advance"
    return ""


def _state_of(value: Any, depth: int = 2) -> str:
    """The attribute that holds a generator or iterator, at most `depth` objects deep; "" for none."""
    owner = getattr(value, "__self__", value)
    for name, each in (getattr(owner, "__dict__", None) or {}).items():
        if isinstance(each, STATES):
            return str(name)
        inner = _state_of(each, depth - 1) if depth > 1 else ""
        if inner:
            return f"{name}.{inner}"
    return ""


def _ends(model: Any) -> list[int]:
    """The tokens at which the model stops generating."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def _nothing(rows: int, context: int | None, *remarks: str) -> Data:
    return Data(
        time=time.time(),
        rows=rows,
        looked_at=0,
        tokens=0,
        label_tokens=0,
        context=context,
        remarks=list(remarks),
    )


def _length(dataset: Any) -> int:
    return len(dataset) if hasattr(dataset, "__len__") else 0
