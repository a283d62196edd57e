"""`heldout.Monitor`: a callback for the Hugging Face Trainer and TRL's trainers."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from heldout.config import default
from heldout.derive.patterns import Patterns, get_default_patterns
from heldout.errors import DataError, HeldoutError
from heldout.evals.fixed_set import load
from heldout.records import EvalSet, Run
from heldout.signals.moment import Batch
from heldout.views.status import FILE_NAME as STATUS_NAME
from heldout.views.status import StatusFile
from heldout.watch import Listener, Plan, Watch

log = logging.getLogger("heldout")

STATE_NAME = "heldout.json"
"""Beside the Trainer's own files in each checkpoint: what a resumed run continues from."""
PACKAGES = ("heldout", "torch", "transformers", "trl", "peft", "accelerate")


class Monitor(TrainerCallback):
    """Watch a training run: score a fixed set, follow every signal, judge, and write it all down.

    Add it to any Trainer: `Trainer(..., callbacks=[heldout.Monitor("fixed_eval.jsonl")])`. It writes
    `runs/<run>/journal.jsonl` and `status.json`, never changes the training, and never raises into it.

    `eval_set` is a JSONL file, or None to watch without one. `every` is in optimizer steps, `margin`
    in exact match (see `heldout.config` for every default). `patterns` maps names to regular
    expressions; `run` and `model` name the run and the model where the default (a time stamp, the
    model's own name) will not do.

    Raises `DataError` at once if the file does not exist. Only the main process of a distributed
    run records.
    """

    def __init__(
        self,
        eval_set: str | Path | None = None,
        *,
        every: int = default("eval.every"),
        at_start: bool = default("eval.at_start"),
        max_samples: int = default("eval.max_samples"),
        margin: float = default("eval.margin"),
        patterns: Patterns | None = None,
        runs: str | Path = default("output.runs"),
        run: str | None = None,
        model: str | None = None,
        config: Mapping[str, Any] | None = None,
        train_patterns: Mapping[str, int] | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        if eval_set is not None and not Path(eval_set).is_file():
            raise DataError(f"{eval_set}: no such file. It is the fixed held-out set (JSONL).")
        self.eval_set = eval_set
        self.every = every
        self.at_start = at_start
        self.max_samples = max_samples
        self.margin = margin
        self.patterns = dict(patterns or get_default_patterns())
        self.runs = Path(runs)
        self.run = run
        self.model = model
        self.config = dict(config or {})
        self.train_patterns = dict(train_patterns or {})
        self.watch: Watch | None = None
        self._listeners = list(listeners)
        self._hook: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the journal, hook the model, evaluate the starting point."""
        if not state.is_world_process_zero:
            return
        try:
            self._begin(args, state, kwargs["model"], kwargs.get("processing_class"))
        except HeldoutError as error:
            log.error("heldout is not watching this run: %s", error)
        except Exception:
            log.exception("heldout is not watching this run")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the step; evaluate when due."""
        if self.watch:
            last = state.global_step >= state.max_steps or control.should_training_stop
            self.watch.step(state.global_step, kwargs["model"], last)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record the Trainer's own numbers."""
        if self.watch:
            self.watch.log(state.global_step, dict(logs or {}))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the checkpoint and leave beside it what a resumed run needs."""
        if not self.watch:
            return
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        folder = Path(args.output_dir or ".") / name
        if folder.is_dir():
            self.watch.saved(state.global_step, name)
            try:
                (folder / STATE_NAME).write_text(json.dumps(self.watch.state()), encoding="utf-8")
            except OSError as error:
                self.watch.note(state.global_step, "failure", f"{STATE_NAME}: {error}")

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer's own evaluation is not training time."""
        if self.watch:
            self.watch.mark()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the last weights and close."""
        self.close(state.global_step, kwargs["model"])

    def close(self, step: int, model: nn.Module | None = None, failure: str = "") -> None:
        """End watching; `failure` says why when training did not end by itself."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self.watch:
            self.watch.end(step, model, failure)
            self.watch = None

    def _begin(
        self, args: TrainingArguments, state: TrainerState, model: nn.Module, tokenizer: Any
    ) -> None:
        saved = _saved_state(Path(args.output_dir or "."), state.global_step)
        name = self.run or saved.get("run") or time.strftime("%Y%m%d-%H%M%S")
        folder = self.runs / name
        problem, fixed = "", None
        if self.eval_set is not None:
            try:
                fixed = load(self.eval_set, tokenizer, self.max_samples)
            except HeldoutError as error:
                problem = str(error)
        status = StatusFile(folder / STATUS_NAME)
        watch = Watch(
            folder,
            Plan(
                fixed=fixed,
                tokenizer=tokenizer,
                every=self.every,
                at_start=self.at_start,
                patterns=self.patterns,
            ),
            [*self._listeners, lambda records, history: _update(status, records, history)],
        )
        self.watch = watch
        self._hook = _innermost(model).register_forward_hook(self._forward, with_kwargs=True)
        run = self._run(args, state, model, name, fixed.about if fixed else None)
        watch.begin(run, model, saved)
        if problem:
            log.error("heldout: no fixed evaluation in this run: %s", problem)
            watch.note(state.global_step, "failure", f"no fixed evaluation: {problem}")

    def _run(
        self,
        args: TrainingArguments,
        state: TrainerState,
        model: nn.Module,
        name: str,
        eval_set: EvalSet | None,
    ) -> Run:
        config = getattr(model, "config", None)
        evaluation = {"every": self.every, "margin": self.margin, "max_samples": self.max_samples}
        return Run(
            id=name,
            time=time.time(),
            model=self.model or getattr(config, "name_or_path", "") or type(model).__name__,
            step=state.global_step,
            total_steps=state.max_steps,
            eval_set=eval_set,
            learning_rate=str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
            train_patterns=self.train_patterns,
            config={"eval": evaluation, **self.config},
            environment=_environment(),
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    def _forward(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if self.watch is None or not module.training:
            return
        self.watch.forward(
            Batch(
                input_ids_BT=kwargs.get("input_ids", args[0] if args else None),
                attention_mask_BT=kwargs.get("attention_mask"),
                labels_BT=kwargs.get("labels"),
                outputs=output,
                items=kwargs.get("num_items_in_batch"),
            )
        )


def _update(status: StatusFile, records: Sequence[Any], history: Any) -> None:
    status.update(history, now=bool(history.ended))


def _innermost(model: nn.Module) -> nn.Module:
    """The model whose forward sees labels and computes the loss: without compile, DDP and PEFT."""
    model = getattr(model, "_orig_mod", model)
    model = getattr(model, "module", model)
    getter = getattr(model, "get_base_model", None)
    found = getter() if callable(getter) else model
    return found if isinstance(found, nn.Module) else model


def _saved_state(output: Path, step: int) -> dict[str, Any]:
    path = output / f"{PREFIX_CHECKPOINT_DIR}-{step}" / STATE_NAME
    try:
        state = json.loads(path.read_text(encoding="utf-8")) if step else {}
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": sys.platform}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    cuda = torch.cuda.is_available()
    found["device"] = torch.cuda.get_device_name() if cuda else "cpu"
    return found
