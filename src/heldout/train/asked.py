"""What `heldout evaluate` was asked for: the weights, the base model under them, the file to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.derive.history import History
from heldout.derive.merging import merge
from heldout.errors import ConfigError, JournalError, ModelError
from heldout.records import Run
from heldout.store.journal import FILE_NAME, read
from heldout.store.runs import open_run
from heldout.train.checkpoints import Weights, base_model, find_weights, run_of
from heldout.train.evaluation_file import SECTION
from heldout.train.score_checkpoints import Scores
from heldout.verdicts.policy import decide

EVALUATIONS = "evaluation.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Everything `score_checkpoints` needs besides the processes."""

    weights: Sequence[Weights]
    settings: Mapping[str, Any]
    output: Path


def asked(
    settings: Mapping[str, Any],
    adapters: Sequence[Path] = (),
    checkpoints: Path | None = None,
    base: bool = False,
    output: Path | None = None,
    report: Path | None = None,
) -> Asked:
    """Complete `settings`, in which `model.name` and `model.dtype` may be None.

    A model that is not named is the one of the run that the checkpoints belong to (else of the one
    to `report` on), or the one that the adapters name. Raises what `find_weights` and `open_run`
    raise, and `ConfigError` where no model is named.
    """
    weights = find_weights(settings["model.name"], adapters, checkpoints, base)
    folder = run_of(checkpoints, FILE_NAME) if checkpoints else None
    journal = open_run(report) if report else None
    run = _run_in(folder / FILE_NAME if folder else journal)
    trained = run.config if run else {}
    complete = {
        **settings,
        **_model(settings, weights, trained.get("model", {})),
        "eval.patterns": trained.get("eval", {}).get("patterns", {}),
    }
    return Asked(
        weights=weights,
        settings=complete,
        output=output or (folder or Path()) / EVALUATIONS,
    )


def merged(path: Path, scores: Scores) -> tuple[History, list[str]]:
    """Return the history of the run at `path` with these scores in it, and what to say about each.

    Scores of another set, under other options, or of weights without a step stay out, and that is
    what is said. Nothing is written. Raises what `open_run` raises, `JournalError` if it cannot be
    read.
    """
    history = _history(open_run(path))
    obstacle = _obstacle(history.run, scores)
    if obstacle:
        return history, [f"WARNING: not merged into {path}: {obstacle}"]
    said = merge(
        history, {each.result.step: (each.items, each.result) for each in scores.evaluations}
    )
    history.add(decide(history))
    return history, said


def _obstacle(run: Run | None, scores: Scores) -> str:
    """Why these scores do not compare with those of the run; "" if they do."""
    here = scores.run.eval_set
    there = run.eval_set if run else None
    if run is None or there is None:
        return "it has no fixed set"
    if here is None or there.hash != here.hash:
        return (
            f"its set is another: {there.path} with {there.n} examples ({there.hash}), "
            f"scored here {here.path if here else '?'} with {here.n if here else 0} "
            f"({here.hash if here else '?'})"
        )
    if not scores.stepped:
        return "the step of these weights is not known (their folders are not called checkpoint-N)"
    own, chosen = run.config.get("eval", {}), scores.run.config[SECTION]
    differ = [name for name in chosen if name in own and own[name] != chosen[name]]
    if differ:
        shown = ", ".join(f"{name} {own[name]!r} there, {chosen[name]!r} here" for name in differ)
        return f"its answers were compared under other options: {shown}"
    return ""


def _model(
    settings: Mapping[str, Any], weights: Sequence[Weights], trained: Mapping[str, Any]
) -> dict[str, Any]:
    """The base model by its settings: as asked, else the run's, else what the weights say."""
    name, dtype = settings["model.name"], settings["model.dtype"]
    given = {"model.name": name, "model.dtype": dtype or trained.get("dtype") or "float32"}
    if name:
        return given
    if all(each.kind == "checkpoint" for each in weights):
        whole = [each.path for each in weights if not each.problem]
        if not whole:
            problems = " ".join(each.problem for each in weights)
            raise ModelError(f"nothing could be scored. {problems}")
        return {**given, "model.name": whole[0]}
    if trained.get("name"):
        own = settings["model.gguf_file"] or trained.get("gguf_file")
        return {**given, "model.name": trained["name"], "model.gguf_file": own}
    named = base_model(weights)
    if named is None:
        problems = " ".join(each.problem for each in weights if each.problem)
        reason = problems or "the adapters do not say which base model they are for."
        raise ConfigError(f"--model is missing: {reason}")
    return {**given, "model.name": named}


def _run_in(journal: Path | None) -> Run | None:
    return _history(journal).run if journal else None


def _history(journal: Path) -> History:
    try:
        return History.of(read(journal)[0])
    except OSError as error:
        raise JournalError(f"{journal}: cannot be read: {error.strerror or error}") from error
