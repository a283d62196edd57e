"""The faults: how each is put into a real training, and what an alert about it must say.

Each `inject` changes a `Setup` before the training begins, so that the fault begins at `step` or, where
it is one of the data or the settings, with the run. It returns what is true of it, for the judging.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rows import Encoded, Row, encode
from training import IGNORED, Batch, Setup
from transformers import TrainerCallback

from heldout.records import Verdict

Truth = dict[str, Any]
BEFORE = -1
"""A window that ends before the first step."""
FROZEN = (1, 2, 3, 4)
"""The layers whose adapters are frozen."""
SHARPENED = 1.06
"""What the logits grow by in a step."""
GROWN = 50
"""Steps for which they do: about 18 times."""
MEMORISED = 64
MEMORISED_BATCH = 8
MEMORISED_RATE = 2e-3
EPOCHS = 30
FOREIGN = "[INST] {prompt} [/INST] {answer} </s>"
PAUSE = 0.15
"""Seconds that each step of a slowed run takes besides."""
PACE_STEPS = 20
"""Steps from which the pace of a run is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. It is caught by any of the rules `expected` within `window` steps of its onset."""

    name: str
    title: str
    expected: tuple[str, ...]
    window: int | None = None
    """Steps; `BEFORE` is before the first one, None is the rest of the run."""
    evals: int = 0
    """Evaluations besides, for what only the held-out set shows."""
    inject: Callable[[Setup, int], Truth]
    wrong: tuple[str, ...] = ()
    """Rules that must not raise a warning for it."""
    told: bool = False
    """Whether an alert of level info is enough: nothing is lost that a warning could save."""
    at_step: bool = True
    """Whether it begins at a step, and not with the run."""
    transient: bool = False
    """Whether it ends by itself, so that its alert must resolve."""
    exact: Callable[[Truth, Sequence[Verdict]], str] | None = None
    """What the alert failed to name, given the verdicts of the expected rules."""
    onset: str = "step"
    """What the delay counts from: the "step" of the fault, the first evaluation whose "ce" rose or
    whose "pattern" fell. A run in which that never happens is left out: there is nothing to catch."""


def nan_logits(setup: Setup, step: int) -> Truth:
    """The logits of one training step are NaN."""
    _on_logits(setup, step, lambda logits: logits * float("nan"), once=True)
    return {}


def labels_lost(setup: Setup, step: int) -> Truth:
    """From `step` on every label is masked."""

    def change(now: int, batch: Batch) -> None:
        if now >= step:
            batch["labels"][:] = IGNORED

    setup.batches.append(change)
    return {}


def masked(setup: Setup, step: int, share: float) -> Truth:
    """A share of the rows has no label."""
    chosen = _chosen(setup, share)
    plain = setup.encode
    lost = {id(setup.train[i]) for i in chosen}

    def encoded(row: Row) -> Encoded:
        made = plain(row)
        return {**made, "labels": [IGNORED] * len(made["labels"])} if id(row) in lost else made

    setup.encode = encoded
    return {"rows": chosen}


def rate(setup: Setup, step: int, factor: float) -> Truth:
    """From `step` on the learning rate is another one."""

    def act(lr_scheduler: Any, optimizer: Any, **_: Any) -> None:
        lr_scheduler.base_lrs = [each * factor for each in lr_scheduler.base_lrs]
        for group in optimizer.param_groups:
            group["lr"] *= factor

    setup.at(step, act)
    return {}


def slow_rate(setup: Setup, step: int) -> Truth:
    """The learning rate is a hundredth."""
    setup.arguments["learning_rate"] /= 100
    warm = setup.arguments["warmup_steps"]
    return {"half": warm + (setup.steps - warm) // 2}


def poisoned(setup: Setup, step: int) -> Truth:
    """The answers of one batch are random tokens."""
    generator = torch.Generator().manual_seed(setup.seed)
    words = len(setup.subject.tokenizer)

    def change(now: int, batch: Batch) -> None:
        if now == step:
            noise = torch.randint(words, batch["labels"].shape, generator=generator)
            answer = batch["labels"] != IGNORED
            batch["labels"][answer] = noise[answer]
            batch["input_ids"][answer] = noise[answer]

    setup.batches.append(change)
    return {}


def shuffled(setup: Setup, step: int) -> Truth:
    """From `step` on each prompt has the answer of the next row of its batch."""

    def change(now: int, batch: Batch) -> None:
        if now < step:
            return
        ids, labels = batch["input_ids"].clone(), batch["labels"].clone()
        answers = labels != IGNORED
        for i in range(len(ids)):
            other = (i + 1) % len(ids)
            n = min(int(answers[i].sum()), int(answers[other].sum()))
            here = answers[i].nonzero().flatten()[:n]
            text = ids[other][answers[other].nonzero().flatten()[:n]]
            batch["input_ids"][i, here] = batch["labels"][i, here] = text

    setup.batches.append(change)
    return {}


def few_examples(setup: Setup, step: int) -> Truth:
    """64 examples, 30 times, a quarter of them with another one's answer to learn by heart."""
    setup.train = [dict(row) for row in setup.train[:MEMORISED]]
    wrong = setup.chance.sample(range(MEMORISED), MEMORISED // 4)
    answers = [setup.train[i]["messages"][-1] for i in wrong]
    for i, answer in zip(wrong, answers[1:] + answers[:1], strict=True):
        setup.train[i]["messages"] = [*setup.train[i]["messages"][:-1], answer]
    setup.arguments |= {
        "max_steps": EPOCHS * MEMORISED // MEMORISED_BATCH,
        "per_device_train_batch_size": MEMORISED_BATCH,
        "learning_rate": MEMORISED_RATE,
        "lr_scheduler_type": "constant_with_warmup",
    }
    return {}


def sharpened(setup: Setup, step: int) -> Truth:
    """From `step` on the logits grow by 6 % a step, 50 times: the model says the same and is too sure."""
    setup.callbacks.append(Growing(step))
    return {}


def resumed_without_scheduler(setup: Setup, step: int) -> Truth:
    """The job is killed behind `step` and resumed from a checkpoint whose scheduler.pt is gone."""
    setup.resume = step, lambda checkpoint: (checkpoint / "scheduler.pt").unlink()
    return {}


def frozen(setup: Setup, step: int) -> Truth:
    """From `step` on the adapters of four layers get no gradient."""

    def act(model: Any, **_: Any) -> None:
        for name, parameter in model.named_parameters():
            if "lora_" in name and _layer(name) in FROZEN:
                parameter.requires_grad_(False)
                parameter.grad = None

    setup.at(step, act)
    return {"layers": list(FROZEN)}


def scaled_up(setup: Setup, step: int) -> Truth:
    """From `step` on one module's adapter counts 64 times."""
    name = f"layers.{FROZEN[0]}.mlp.down_proj"

    def act(model: Any, **_: Any) -> None:
        module = next(m for n, m in model.named_modules() if n.endswith(name))
        module.scaling.update({key: value * 64 for key, value in module.scaling.items()})

    setup.at(step, act)
    return {"module": name}


def other_template(setup: Setup, step: int) -> Truth:
    """The rows are rendered with another model's chat template."""
    tokenizer = setup.subject.tokenizer

    def encoded(row: Row) -> Encoded:
        prompt, answer = (message["content"] for message in row["messages"][-2:])
        text = FOREIGN.format(prompt=prompt, answer=answer)
        whole = tokenizer(text, add_special_tokens=False)["input_ids"]
        head = text[: text.index("[/INST]") + len("[/INST]")]
        n = len(tokenizer(head, add_special_tokens=False)["input_ids"])
        whole.append(tokenizer.eos_token_id)
        labels = [IGNORED] * n + whole[n:]
        return {"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels}

    setup.encode = encoded
    return {}


def double_bos(setup: Setup, step: int) -> Truth:
    """The tokenizer adds the beginning token that the template has written already."""
    bos = setup.subject.tokenizer.bos_token_id
    plain = setup.encode

    def encoded(row: Row) -> Encoded:
        made = plain(row)
        missing = 2 - next(i for i, token in enumerate([*made["input_ids"], -1]) if token != bos)
        return {
            "input_ids": [bos] * missing + made["input_ids"],
            "attention_mask": [1] * missing + made["attention_mask"],
            "labels": [IGNORED] * missing + made["labels"],
        }

    setup.encode = encoded
    return {}


def end_masked(setup: Setup, step: int) -> Truth:
    """The end token is masked, as a collator does that masks padding where both are one token."""
    end, plain = setup.subject.tokenizer.eos_token_id, setup.encode

    def encoded(row: Row) -> Encoded:
        made = plain(row)
        return {**made, "labels": [IGNORED if x == end else x for x in made["labels"]]}

    setup.encode = encoded
    return {}


def duplicated(setup: Setup, step: int, share: float) -> Truth:
    """A share of the rows repeats others."""
    chance, n = setup.chance, len(setup.train)
    chosen = sorted(chance.sample(range(n), round(share * n)))
    kept = [i for i in range(n) if i not in set(chosen)]
    for i in chosen:
        setup.train[i] = setup.train[chance.choice(kept)]
    return {"rows": repeats(setup.train)}


def repeats(rows: Sequence[Row]) -> list[int]:
    """The rows that repeat an earlier one."""
    seen: set[str] = set()
    found = []
    for i, row in enumerate(rows):
        text = str(row["messages"])
        if text in seen:
            found.append(i)
        seen.add(text)
    return found


def leaked(setup: Setup, step: int, share: float) -> Truth:
    """A share of the held-out examples is in the training set."""
    chance = setup.chance
    lines = chance.sample(range(len(setup.eval)), max(1, round(share * len(setup.eval))))
    rows = sorted(chance.sample(range(len(setup.train)), len(lines)))
    for i, line in zip(rows, lines, strict=True):
        setup.train[i] = setup.eval[line]
    return {"rows": rows}


def dropped(setup: Setup, step: int) -> Truth:
    """From `step` on no row of one pattern is trained on; rows of the others take their places."""
    pattern, tokenizer = setup.subject.dropped, setup.subject.tokenizer
    others = [encode(tokenizer, row) for row in setup.train if row["pattern"] != pattern]
    gone = {
        tuple(encode(tokenizer, r)["input_ids"]) for r in setup.train if r["pattern"] == pattern
    }
    chance = setup.chance

    def change(now: int, batch: Batch) -> None:
        if now < step:
            return
        width = batch["input_ids"].shape[1]
        for i, ids in enumerate(batch["input_ids"]):
            if tuple(ids[batch["attention_mask"][i] == 1].tolist()) in gone:
                row = chance.choice(others)
                n = min(len(row["input_ids"]), width)
                batch["input_ids"][i], batch["attention_mask"][i] = tokenizer.pad_token_id, 0
                batch["labels"][i] = IGNORED
                for key, value in batch.items():
                    value[i, :n] = torch.tensor(row[key][:n])

    setup.batches.append(change)
    return {"pattern": pattern}


def slowed(setup: Setup, step: int, factor: float) -> Truth:
    """From `step` on a step takes `factor` times as long, because the next batch comes late.

    A pause in every step stands in for a larger model, so that what else the machine does is small.
    """
    pace = Pace()
    setup.callbacks.append(pace)
    setup.pauses.append(
        lambda now: PAUSE + ((factor - 1) * (PAUSE + pace.median) if now >= step else 0.0)
    )
    return {"factor": factor}


def eval_row_masked(setup: Setup, step: int) -> Truth:
    """One held-out row has no answer, and the Trainer scores the rows one by one."""
    setup.arguments["per_device_eval_batch_size"] = 1
    line = setup.chance.randrange(len(setup.eval))
    row = setup.eval[line]
    answer = {**row["messages"][-1], "content": ""}
    setup.eval[line] = {**row, "messages": [*row["messages"][:-1], answer]}
    return {"line": line + 1}


class Growing(TrainerCallback):
    """Makes the last norm larger before each of some steps from `step` on."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.step <= state.global_step + 1 < self.step + GROWN:
            with torch.no_grad():
                kwargs["model"].get_base_model().model.norm.weight.mul_(SHARPENED)


class Pace(TrainerCallback):
    """Knows the median time of the steps before the fault."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.began = 0.0
        self.median = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if len(self.times) < PACE_STEPS:
            self.times.append(time.perf_counter() - self.began)
            self.median = sorted(self.times)[len(self.times) // 2]


def _on_logits(
    setup: Setup, step: int, change: Callable[[torch.Tensor], torch.Tensor], once: bool = False
) -> None:
    """Change the output head's result in training passes from `step` on, or in that one alone."""
    now = [0]
    head = setup.model.get_output_embeddings()

    def hook(module: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
        if not (head.training and torch.is_grad_enabled()):
            return out
        now[0] += 1
        return change(out) if now[0] == step or (now[0] > step and not once) else out

    head.register_forward_hook(hook)


def _chosen(setup: Setup, share: float) -> list[int]:
    n = len(setup.train)
    return sorted(setup.chance.sample(range(n), round(share * n)))


def _layer(name: str) -> int:
    found = re.search(r"\.layers\.(\d+)\.", name)
    return int(found[1]) if found else -1


def recall(truth: Truth, verdicts: Sequence[Verdict]) -> str:
    """The rows named, of those that are truly bad."""
    named = {row for v in verdicts for row in v.evidence.get("ids", [])}
    listed = truth["rows"][: 1000 if named else None]
    hit = len(named & set(truth["rows"])) / len(listed)
    return "" if hit >= RECALL else f"named {hit:.0%} of the rows"


def exact_layers(truth: Truth, verdicts: Sequence[Verdict]) -> str:
    """The layers named, no more and no less."""
    named = sorted({layer[1] for v in verdicts for layer in v.evidence.get("layers", [])})
    return "" if named == truth["layers"] else f"named layers {named}"


def not_early(truth: Truth, verdicts: Sequence[Verdict]) -> str:
    """No plateau while the learning rate is above half its peak, on a linear schedule."""
    early = [v.step for v in verdicts if v.rule == "plateau" and v.step < truth["half"]]
    return f"plateau already at step {early[0]}" if early else ""


def that_pattern(truth: Truth, verdicts: Sequence[Verdict]) -> str:
    """The pattern named, and no other."""
    named = sorted({v.scope for v in verdicts})
    return "" if named == [truth["pattern"]] else f"named {', '.join(named)}"


RECALL = 0.95
HARMED = ("loss-spike", "divergence", "regression")

FAULTS = (
    Fault(
        name="nan-logits",
        title="NaN logits, NaN filter on",
        expected=("loss-not-finite",),
        window=1,
        inject=nan_logits,
    ),
    *(
        Fault(
            name=f"masked-{percent}",
            title=f"labels masked in {percent} % of the rows",
            expected=("data-masked",),
            window=BEFORE,
            inject=partial(masked, share=percent / 100),
            at_step=False,
            exact=recall,
        )
        for percent in (100, 30, 5)
    ),
    Fault(
        name="labels-lost",
        title="all labels masked from s on",
        expected=("loss-not-finite",),
        window=10,
        inject=labels_lost,
    ),
    Fault(
        name="rate-x30",
        title="learning rate x30",
        expected=(*HARMED, "lr-schedule", "grad-explosion", "lora-exploding"),
        window=15,
        inject=partial(rate, factor=30.0),
    ),
    Fault(
        name="poisoned-batch",
        title="one poisoned batch",
        expected=("loss-spike",),
        window=2,
        inject=poisoned,
        wrong=("divergence",),
        transient=True,
    ),
    Fault(
        name="labels-shuffled",
        title="labels shuffled from s on",
        expected=HARMED,
        window=30,
        inject=shuffled,
    ),
    Fault(
        name="overfit",
        title="64 examples, 30 epochs",
        expected=("calibration-drift", "regression", "eval-loss-rise"),
        window=0,
        evals=2,
        inject=few_examples,
        at_step=False,
        onset="ce",
    ),
    Fault(
        name="sharpened",
        title="logits grow from s on: held-out CE up, EM not down",
        expected=("calibration-drift", "eval-loss-rise"),
        window=0,
        evals=2,
        inject=sharpened,
        wrong=("regression", "divergence"),
        onset="ce",
    ),
    Fault(
        name="rate-too-low",
        title="learning rate / 100",
        expected=("plateau", "not-learning"),
        told=True,
        inject=slow_rate,
        at_step=False,
        exact=not_early,
    ),
    Fault(
        name="rate-zero",
        title="learning rate 0 from s on",
        expected=("lr-schedule",),
        window=20,
        inject=partial(rate, factor=0.0),
    ),
    Fault(
        name="no-scheduler",
        title="resumed at s without the scheduler",
        expected=("lr-schedule",),
        window=20,
        inject=resumed_without_scheduler,
    ),
    Fault(
        name="frozen-layers",
        title="4 LoRA layers frozen from s on",
        expected=("lora-dead",),
        window=60,
        inject=frozen,
        exact=exact_layers,
    ),
    Fault(
        name="alpha-x64",
        title="alpha x64 on one module from s on",
        expected=("lora-exploding",),
        window=20,
        inject=scaled_up,
    ),
    Fault(
        name="other-template",
        title="wrong chat template",
        expected=("data-chat-template",),
        window=BEFORE,
        inject=other_template,
        at_step=False,
    ),
    Fault(
        name="double-bos",
        title="double BOS",
        expected=("data-double-bos",),
        window=BEFORE,
        inject=double_bos,
        at_step=False,
    ),
    Fault(
        name="end-masked",
        title="EOS masked",
        expected=("data-no-end",),
        window=BEFORE,
        inject=end_masked,
        at_step=False,
    ),
    *(
        Fault(
            name=f"duplicates-{percent}",
            title=f"{percent} % of the rows are duplicates",
            expected=("data-duplicates",),
            window=BEFORE,
            inject=partial(duplicated, share=percent / 100),
            at_step=False,
            exact=recall,
        )
        for percent in (10, 20)
    ),
    *(
        Fault(
            name=f"leaked-{percent}",
            title=f"{percent} % of the held-out set is trained on",
            expected=("data-leakage",),
            window=BEFORE,
            inject=partial(leaked, share=percent / 100),
            at_step=False,
            exact=recall,
        )
        for percent in (1, 5, 20)
    ),
    Fault(
        name="pattern-dropped",
        title="one pattern dropped from s on",
        expected=("pattern-forgetting",),
        window=0,
        evals=2,
        inject=dropped,
        exact=that_pattern,
        onset="pattern",
    ),
    *(
        Fault(
            name=f"slow-{factor:g}",
            title=f"steps take {factor:g} times as long from s on",
            expected=("throughput-drop",),
            window=50,
            inject=partial(slowed, factor=factor),
        )
        for factor in (1.3, 2.0)
    ),
    Fault(
        name="eval-row-masked",
        title="a held-out row without an answer",
        expected=("data-unusable", "loss-not-finite"),
        window=1,
        told=True,
        inject=eval_row_masked,
        at_step=False,
    ),
)
"""Every fault, by the row of the table."""
