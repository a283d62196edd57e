"""One forward pass over prompt + response tells what greedy decoding would answer.

Greedy decoding reproduces the golden response if and only if the teacher-forced argmax is the golden
token at every response position, EOS included: up to the first difference both see the same prefix.
So one pass gives exact match, cross-entropy, entropy and confidence, at about the cost of eval loss.

Shapes: B sequences in a batch, T padded length, R response rows in the batch, C rows of a chunk,
P rows of a part, V vocabulary, t response tokens of one example.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heldout.evals.budget import Budget
from heldout.evals.fixed_set import Example
from heldout.evals.greedy import Greedy
from heldout.evals.logits import Inputs, Way, choose, input_device, read

NO_LIMIT = 2**62
LOGIT_BUDGET = 2**25
"""Logits of one forward pass where the head cannot be asked in chunks: 128 MiB in float32."""
PART_LOGITS = {"cpu": 2**20, "cuda": 2**24}
"""Logits whose statistics are computed at once: a processor's cache, or one GPU launch's worth."""
SIMILAR = 0.8
WORTHWHILE = 512
"""A batch of so many tokens takes no example shorter than this share of its longest one: on a set of
mixed lengths padding would otherwise be more than half of the work."""
NOISE = {torch.float32: 2.0**-14, torch.float64: 2.0**-40, torch.float16: 2.0**-8}
COARSE = 2.0**-6
"""Gap between two logits, as a share of the larger, below which another batch or kernel may turn
them around; `COARSE` is bfloat16's, two to four units in the last place. The largest gap at which
`generate` differed from the one pass was .0131 (1,000 examples of SmolLM2; docs/evaluation.md)."""
NEGLIGIBLE = -80.0
"""Logits this far below the largest count as this far: e^-80 of a share is nothing in float32, and
further below, where exp gives subnormal numbers, it is many times slower."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One example scored; arrays have one entry a response token, EOS included."""

    ce: Floats
    entropy: Floats
    confidence: Floats
    """Probability of the most likely token."""
    hit: NDArray[np.bool_]
    """Whether the most likely token is the golden one."""
    right: NDArray[np.bool_]
    """Whether greedy decoding would say the golden token: `hit` under the generation settings."""
    gap: Floats
    """How far the golden token leads the best other one, as a share of the larger logit."""
    said: NDArray[np.int64]
    """What greedy decoding would say here."""
    noise: float
    """The gap that the arithmetic of this model's number type could turn around."""

    @property
    def finite(self) -> bool:
        """Whether every number is; a NaN makes an example wrong."""
        return bool(np.isfinite(self.ce).all() and np.isfinite(self.entropy).all())

    @property
    def divergence(self) -> int | None:
        """0-based position of the first token that greedy decoding would get wrong."""
        wrong = np.flatnonzero(~self.right)
        return int(wrong[0]) if len(wrong) else None

    @property
    def correct(self) -> bool:
        """Whether greedy decoding gives the golden response token by token."""
        return self.finite and self.divergence is None

    @property
    def near_tie(self) -> bool:
        """Whether gaps within the noise could turn `correct` around: the smallest one decides it."""
        return bool(abs(float(self.gap.min())) <= self.noise)


class Scorer:
    """Scores examples with one model after another and keeps what it learned about reaching logits.

    `way` is how logits are reached (None: not tried yet), `budget` how much at once, `autocast` the
    number type that the model's forward pass switches to by itself, as under the Trainer.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.way: Way | None = None
        self.autocast: torch.dtype | None = None
        self.budget = budget or Budget()

    def score(
        self,
        model: nn.Module,
        examples: Sequence[Example],
        greedy: Greedy | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Score]:
        """Return one score an example, in the order given. Cost: one forward pass.

        `progress` is told the number of examples scored so far.

        The model must be in eval mode and without gradients (`neutral`). Where memory runs out the
        batch is halved and tried again; `ModelError` if one example alone does not fit.
        """
        greedy = greedy or Greedy()
        device = input_device(model)
        self.budget.begin(device)
        if self.way is None and examples:
            self._choose(model, min(examples, key=lambda example: example.length), device)
        found: dict[int, Score] = {}
        limit = rope_limit(model)
        todo = deque(self._batches(model, examples, range(len(examples)), limit))
        while todo:
            batch = todo.popleft()
            try:
                scores = self._forward(model, [examples[i] for i in batch], greedy, device)
            except Exception as error:
                self.budget.shrink([examples[i].length for i in batch], error)
                rest = [i for each in (batch, *todo) for i in each]
                todo = deque(self._batches(model, examples, rest, limit))
                continue
            found.update(zip(batch, scores, strict=True))
            progress(len(found))
        return [found[i] for i in range(len(examples))]

    @contextmanager
    def arithmetic(self, model: nn.Module) -> Iterator[None]:
        """Run the body in the number type of the model's forward pass, which `generate` may bypass."""
        if self.autocast is None:
            yield
        else:
            with torch.autocast(input_device(model).type, dtype=self.autocast):
                yield

    def _choose(self, model: nn.Module, example: Example, device: torch.device) -> None:
        self.way, why = choose(model, _inputs([example], device))
        if why:
            how = {"rows": "batches of few answers", "all": "all of its logits"}[self.way]
            self.budget.remarks.append(
                f"the model's head cannot be asked in chunks ({why}): uses {how}"
            )

    def _batches(
        self, model: nn.Module, examples: Sequence[Example], chosen: Sequence[int], limit: int
    ) -> Iterator[list[int]]:
        """Batches of the `chosen`; none mixes answers on both sides of a limit of the positions."""
        fits = [i for i in chosen if examples[i].length <= limit]
        beyond = [i for i in chosen if examples[i].length > limit]
        rows = LOGIT_BUDGET // _vocabulary(model)
        tokens = self.budget.tokens
        most_rows = {"chunks": tokens, "rows": rows, "all": rows}[self.way or "chunks"]
        for part in (beyond, fits):
            yield from batches(examples, part, tokens, most_rows, whole=self.way == "all")

    def _forward(
        self, model: nn.Module, batch: Sequence[Example], greedy: Greedy, device: torch.device
    ) -> list[Score]:
        reducer = _Reducer(batch, greedy)
        table = read(model, _inputs(batch, device), reducer, self.way or "chunks")
        rows_R7 = table.cpu().numpy().astype(np.float64)
        self.autocast = reducer.autocast
        noise = _noise(model, reducer)
        edges = np.cumsum([len(each.response_ids) for each in batch])[:-1]
        return [_score(rows_t7, noise) for rows_t7 in np.split(rows_R7, edges)]


def batches(
    examples: Sequence[Example],
    chosen: Sequence[int],
    most_tokens: int,
    most_rows: int,
    whole: bool = False,
) -> Iterator[list[int]]:
    """Yield lists of indices among `chosen`, longest first, of similar lengths, within both budgets.

    `most_tokens` are padded tokens, `most_rows` response tokens, or padded tokens too where `whole`
    logits are needed. The largest batch comes first, so a machine with too little memory says so at
    once. One example alone may exceed the budgets.
    """
    most_tokens = min(most_tokens, most_rows) if whole else most_tokens
    batch: list[int] = []
    rows = longest = 0
    for i in sorted(chosen, key=lambda i: (-examples[i].length, i)):
        length, more = examples[i].length, len(examples[i].response_ids)
        full = longest * (len(batch) + 1) > most_tokens or rows + more > most_rows
        shorter = length < SIMILAR * longest and longest * len(batch) >= WORTHWHILE
        if batch and (full or shorter):
            yield batch
            batch, rows = [], 0
        longest = length if not batch else longest
        batch.append(i)
        rows += more
    if batch:
        yield batch


def rope_limit(model: nn.Module) -> int:
    """The longest sequence for which a token's logits do not depend on how long the batch is.

    Rotary embeddings of type `longrope` and `dynamic` change beyond the length the model was
    pretrained with; for all others there is no limit.
    """
    config = _text_config(model)
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [rope, *(each for each in rope.values() if isinstance(each, dict))]  # by kind of layer
    name = "original_max_position_embeddings"
    limits = [
        int(kind.get(name) or getattr(config, name, None) or config.max_position_embeddings)
        for kind in kinds
        if kind.get("rope_type", kind.get("type")) in ("longrope", "dynamic")
    ]
    return min(limits, default=NO_LIMIT)


class Choice(NamedTuple):
    """What greedy decoding would say at P positions, against the golden tokens there."""

    right_P: Tensor
    gap_P: Tensor
    """The golden token's lead over the best other one, as a share of the larger logit."""
    said_P: Tensor
    top_P: Tensor


class _Reducer:
    """Turns chunks of logits into [C, 7]: ce, entropy, confidence, hit, right, gap, said."""

    def __init__(self, batch: Sequence[Example], greedy: Greedy) -> None:
        self.greedy = greedy
        self.dtype = torch.float32
        self.autocast: torch.dtype | None = None
        places = [(e, p) for e in batch for p in range(len(e.response_ids))]
        eos = set(greedy.eos)
        self._places = places
        self._gold_R = torch.tensor([e.response_ids[p] for e, p in places])
        self._end_R = torch.tensor(
            [p == len(e.response_ids) - 1 and e.response_ids[p] in eos for e, p in places]
        )

    def __call__(self, logits_CV: Tensor, chunk: slice) -> Tensor:
        self.dtype = logits_CV.dtype
        device = logits_CV.device
        if torch.is_autocast_enabled(device.type):
            self.autocast = torch.get_autocast_dtype(device.type)
        gold_C, end_C = self._gold_R[chunk].to(device), self._end_R[chunk].to(device)
        size = max(1, PART_LOGITS.get(device.type, PART_LOGITS["cpu"]) // logits_CV.shape[1])
        eos_E = torch.tensor(self.greedy.eos, dtype=torch.long, device=device)
        parts = []
        for i in range(0, len(logits_CV), size):
            part = slice(i, i + size)
            z_PV, gold_P, end_P = logits_CV[part].float(), gold_C[part], end_C[part]
            choice = None
            if not self.greedy.plain:
                places = self._places[chunk][part]
                changed = self.greedy.apply(
                    z_PV,
                    [e.prompt_ids for e, _ in places],
                    [e.response_ids[:p] for e, p in places],
                )
                choice = _choose(changed, gold_P, end_P, eos_E)
            parts.append(_statistics(z_PV, gold_P, end_P, eos_E, choice))
        return torch.cat(parts)


def _statistics(
    z_PV: Tensor, gold_P: Tensor, end_P: Tensor, eos_E: Tensor, choice: Choice | None
) -> Tensor:
    """[P, 7] from float32 logits, which are overwritten. One softmax gives all but the choice."""
    gold_logit_P = z_PV.gather(1, gold_P[:, None]).squeeze(1)
    own = _choose(z_PV, gold_P, end_P, eos_E)
    right_P, gap_P, said_P, _ = choice or own
    z_PV.sub_(own.top_P[:, None]).clamp_min_(NEGLIGIBLE)
    e_PV = z_PV.exp()
    sum_P = e_PV.sum(dim=1)
    log_sum_P = sum_P.log()
    entropy_P = log_sum_P - z_PV.mul_(e_PV).sum(dim=1) / sum_P
    ce_P = log_sum_P + own.top_P - gold_logit_P
    columns = (ce_P, entropy_P, 1 / sum_P, own.right_P, right_P, gap_P, said_P)
    return torch.stack([column.float() for column in columns], dim=1)  # ids are exact to 2^24


def _choose(z_PV: Tensor, gold_P: Tensor, end_P: Tensor, eos_E: Tensor) -> Choice:
    """Compare the golden token with all others; the logits are as before when this returns.

    Of equal logits the lowest index wins, as in `generate`. Where the answer ends any end token is as
    good as the golden one.
    """
    rows_P = torch.arange(len(z_PV), device=z_PV.device)
    ends_Q1 = rows_P[end_P][:, None]
    gold_logit_P = z_PV[rows_P, gold_P]
    end_logits_QE = z_PV[ends_Q1, eos_E]
    best_P, best_id_P = gold_logit_P.clone(), gold_P.clone()
    if len(ends_Q1):
        best_P[end_P], place_Q = end_logits_QE.max(dim=1)
        best_id_P[end_P] = eos_E[place_Q]
    z_PV[rows_P, gold_P] = -torch.inf
    z_PV[ends_Q1, eos_E] = -torch.inf
    other_P, other_id_P = z_PV.max(dim=1)
    z_PV[ends_Q1, eos_E] = end_logits_QE
    z_PV[rows_P, gold_P] = gold_logit_P
    right_P = (best_P > other_P) | ((best_P == other_P) & (best_id_P < other_id_P))
    scale_P = torch.maximum(best_P.abs(), other_P.abs()).clamp_min(1e-6)
    return Choice(
        right_P=right_P,
        gap_P=(best_P - other_P) / scale_P,
        said_P=torch.where(right_P, best_id_P, other_id_P),
        top_P=torch.maximum(best_P, other_P),
    )


def _noise(model: nn.Module, reducer: _Reducer) -> float:
    """The noise of the coarsest number type on the way to the logits."""
    types = {p.dtype for p in model.parameters() if p.is_floating_point()} | {reducer.dtype}
    if reducer.autocast is not None:
        types.add(reducer.autocast)
    if torch.get_float32_matmul_precision() != "highest":
        types.add(torch.float16)  # TF32 keeps as many digits
    return max(NOISE.get(each, COARSE) for each in types)


def _score(rows_t7: Floats, noise: float) -> Score:
    ce, entropy, confidence, hit, right, gap, said = rows_t7.T
    return Score(
        ce=ce,
        entropy=entropy,
        confidence=confidence,
        hit=hit > 0,
        right=right > 0,
        gap=gap,
        said=said.astype(np.int64),
        noise=noise,
    )


def _inputs(batch: Sequence[Example], device: torch.device) -> Inputs:
    width = max(example.length for example in batch)
    ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    keep_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for row, example in enumerate(batch):
        ids = torch.tensor(example.prompt_ids + example.response_ids)
        ids_BT[row, : len(ids)] = ids
        mask_BT[row, : len(ids)] = 1
        keep_BT[row, len(example.prompt_ids) - 1 : len(ids) - 1] = True
    return Inputs(ids_BT=ids_BT.to(device), mask_BT=mask_BT.to(device), keep_BT=keep_BT.to(device))


def _text_config(model: nn.Module) -> Any:
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _vocabulary(model: nn.Module) -> int:
    return int(getattr(_text_config(model), "vocab_size", 0) or 1)
