"""Score one set of weights after another on one fixed set, and keep what is done."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from heldout.adapters.training_template import training_template
from heldout.derive.history import History
from heldout.derive.patterns import get_default_patterns
from heldout.errors import HeldoutError, ModelError
from heldout.evals.evaluate import Evaluator
from heldout.evals.fixed_set import FixedSet
from heldout.evals.options import EvalOptions
from heldout.evals.ranks import Ranks
from heldout.records import Run
from heldout.train.checkpoints import Weights, fingerprint, other_tokenizers, tokenizer_folder
from heldout.train.evaluation_file import SECTION, Evaluation, EvaluationFile
from heldout.train.model import load_config, load_tokenizer
from heldout.train.processes import agreed, told_by_main
from heldout.train.resident import Models
from heldout.watch import cells

log = logging.getLogger("heldout")

Outcome = Evaluation | str
"""An evaluation, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Who wants to hear: of examples scored so far, and of what came of the weights at hand."""

    begun: Callable[[int, int], None] = lambda weights, examples: None
    scored: Callable[[str, int], None] = lambda name, examples: None
    done: Callable[[str, Outcome], None] = lambda name, outcome: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What came of it, in the order of the weights; by name those that could not be scored."""

    run: Run
    stepped: bool
    evaluations: list[Evaluation] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def history(self) -> History:
        """The evaluations as the history of a run, for what judges and shows one."""
        records = [record for each in self.evaluations for record in each.records]
        return History.of([self.run, *records])


def score_checkpoints(
    weights: Sequence[Weights],
    settings: Mapping[str, Any],
    output: Path,
    ranks: Ranks,
    device: torch.device,
    told: Told | None = None,
) -> Scores:
    """Score all `weights` on `eval.data`; what `output` already holds is not scored again.

    The set is tokenised once, with the tokenizer of the first folder that has one, else the
    model's. Each evaluation is written when it is done, so an interrupted call goes on where it
    was. Weights that cannot be scored are named in `failed`; raises `ModelError` if none can, and
    what `FixedSet` and `EvaluationFile` raise. Every process makes this call; the main one writes
    and alone has what was scored before.
    """
    told = told or Told()
    if settings["train.threads"]:
        torch.set_num_threads(settings["train.threads"])
    remarks: list[str] = []
    fixed, tokenizer = agreed(ranks, lambda: _load_set(weights, settings, remarks))
    options = EvalOptions.of(settings)
    stepped = all(each.stepped for each in weights)
    run = _run(settings, options, fixed, stepped)
    scores = Scores(run=run, stepped=stepped, remarks=remarks)
    file: list[EvaluationFile] = []

    def opened() -> list[tuple[str, bool]]:
        file.append(EvaluationFile(output, run))
        marks = [fingerprint(each, settings) for each in weights]
        return [(mark, mark in file[0].found) for mark in marks]

    marks = told_by_main(ranks, opened)
    models, checked = Models(settings, device), set[str]()
    patterns = settings["eval.patterns"] or get_default_patterns()
    told.begun(len(weights), len(fixed.examples))
    try:
        for each, (mark, known) in zip(weights, marks, strict=True):
            if known and not file:
                continue
            outcome: Outcome
            if known:
                outcome = file[0].found[mark].known_as(each)
            else:
                told.scored(each.name, 0)
                evaluator = Evaluator(fixed, tokenizer, cells(patterns), options, ranks)
                outcome = _score(each, mark, models, evaluator, each.kind not in checked, told)
                remarks += [text for text in evaluator.remarks if text not in remarks]
            told.done(each.name, outcome)
            if isinstance(outcome, str):
                scores.failed[each.name] = outcome
                continue
            scores.evaluations.append(outcome)
            if outcome.result.rechecked:
                checked.add(each.kind)
            if file and not known and not file[0].add(outcome):
                remarks.append(
                    f"{output} cannot be written: the scores of {each.name} are not kept"
                )
    finally:
        if file:
            file[0].close()
    if weights and len(scores.failed) == len(weights):
        raise ModelError("nothing could be scored. " + " ".join(scores.failed.values()))
    return scores


def _score(
    weights: Weights, mark: str, models: Models, evaluator: Evaluator, check: bool, told: Told
) -> Outcome:
    """Load and score; whatever is wrong with one checkpoint must not cost the others."""
    ranks, total = evaluator.ranks, len(evaluator.fixed.examples)

    def progress(done: int) -> None:
        told.scored(weights.name, min(total, done * ranks.count))

    with ExitStack() as stack:
        problem, model = "", None
        try:
            model = stack.enter_context(models.loaded(weights))
        except Exception as error:
            problem = _said(error)
        problems = [text for text in ranks.gather(problem) if text]
        if problems or model is None:
            return problems[0]
        try:
            items, result = evaluator.evaluate(model, weights.step, check, progress)
        except Exception as error:
            return _said(error)
    return Evaluation(name=weights.name, fingerprint=mark, items=items, result=result)


def _said(error: Exception) -> str:
    log.debug("an evaluation failed", exc_info=error)
    return str(error) if isinstance(error, HeldoutError) else f"{type(error).__name__}: {error}"


def _load_set(
    weights: Sequence[Weights], settings: Mapping[str, Any], remarks: list[str]
) -> tuple[FixedSet, Any]:
    folder = tokenizer_folder(weights)
    own = {"model.name": folder, "model.gguf_file": None} if folder else {}
    tokenizer = load_tokenizer({**settings, **own})
    others = other_tokenizers(weights)
    if others:
        remarks.append(
            f"{', '.join(others)}: another tokenizer or chat template than in {folder}, whose is used"
        )
    fixed = EvalOptions.of(settings).load(
        settings["eval.data"],
        tokenizer,
        load_config(settings),
        settings["eval.max_samples"],
        training_template=training_template(SimpleNamespace(**settings["train.extra"]), tokenizer),
    )
    return fixed, tokenizer


def _run(settings: Mapping[str, Any], options: EvalOptions, fixed: FixedSet, stepped: bool) -> Run:
    """The first record of the file. Its config says what scores depend on, and how they compare."""
    chosen = {**asdict(options), "dtype": settings["model.dtype"]}
    return Run(
        id="evaluation",
        time=time.time(),
        model=settings["model.name"],
        total_steps=0,
        eval_set=fixed.about,
        config={SECTION: chosen, "eval": {"margin": settings["eval.margin"], "ordered": stepped}},
        host=socket.gethostname(),
        pid=os.getpid(),
    )
