"""`heldout.Monitor`: a callback for the Hugging Face Trainer and TRL's trainers."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, DynamoBackend
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from heldout import host
from heldout.adapters.environment import filled_in
from heldout.adapters.steering import Steering
from heldout.adapters.training_data import training_data
from heldout.adapters.training_template import training_template
from heldout.config import checked_alerts, default, size_or_auto
from heldout.derive.patterns import Patterns, get_default_patterns
from heldout.errors import ConfigError, EmptySet, HeldoutError
from heldout.evals.evaluate import Evaluator
from heldout.evals.logits import unwrapped
from heldout.evals.options import EvalOptions
from heldout.evals.ranks import Ranks
from heldout.evals.rows import Reading, Row, Source, nothing_in
from heldout.kinds import kind_of
from heldout.records import Data, EvalSet, Run, Sample
from heldout.rules import load_rules, user_rules
from heldout.signals.moment import Batch, SignalOptions, Start
from heldout.store.runs import new_run
from heldout.verdicts.rule import Rule
from heldout.views.notify.notifier import Notifier
from heldout.views.notify.options import NotifyOptions
from heldout.views.status import FILE_NAME as STATUS_NAME
from heldout.views.status import StatusFile
from heldout.watch import Follower, Listener, Plan, Together, Watch, cells

log = logging.getLogger("heldout")

STATE_NAME = "heldout.json"
"""Beside the Trainer's own files in each checkpoint: what a resumed run continues from."""
SHARDED = "the weights are sharded over processes (FSDP, ZeRO-3), which is not supported yet"
ORIGIN = "heldout"
"""Among the callbacks' states that the Trainer saves: the folder that its checkpoints lie in."""
LOST = "the streaming CE, the counts of tokens and of bad steps and the layers' impact start anew"
UNHEARD = (
    "no forward pass of the model was seen, so there are no losses, entropies or token counts: it is "
    "called from inside compiled code, or only a part of it is called. Compile the model itself "
    "(torch_compile=True, or model.compile())"
)
WHOLE_WEIGHTS = ("lora_layers", "finite_weights")
"""Signals that read whole weights, which one process of several cannot where they are sharded."""
ARGUMENTS = (
    "learning_rate",
    "gradient_accumulation_steps",
    "per_device_train_batch_size",
    "max_grad_norm",
    "fp16",
    "bf16",
    "logging_steps",
    "eval_steps",
    "save_steps",
)
"""Fields of the Trainer's arguments that rules ask for."""
PACKAGES = ("heldout", "torch", "transformers", "trl", "peft", "accelerate")


Hook = TypeVar("Hook", bound=Callable[..., None])


def _harmless(hook: Hook) -> Hook:
    """Keep any error of ours out of the training loop: log it, let go of the model, watch no more."""

    @functools.wraps(hook)
    def guarded(self: Monitor, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            if not isinstance(error, HeldoutError):
                log.exception("heldout failed in %s", hook.__name__)
            log.error("heldout is not watching this run: %s", error)
            self.let_go(leaving=True)

    return cast(Hook, guarded)


class Monitor(TrainerCallback):
    """Watch a training run: score a fixed set, follow every signal, judge, and write it all down.

    Add it to any Trainer: `Trainer(..., callbacks=[heldout.Monitor("fixed_eval.jsonl")])`. It writes
    `runs/<run>/journal.jsonl` and `status.json`, never changes the training, and never raises into it.

    Keywords that you do not give are taken from the environment (`HELDOUT_EVAL_EVERY=50`), else they have the
    settings' defaults.

    `eval_set` is a file (JSONL, JSON, CSV, TSV, Parquet), a list of dicts, a `datasets.Dataset` or a dict of
    columns; None watches without one. `every` is in optimizer steps, `margin`
    in exact match, `reference` a step to compare each evaluation with (see `heldout.config` for every
    default); `options` say how the set is read and answers are compared, `signals` how the training
    steps are smoothed and how often they are recorded. `patterns` maps names to
    regular expressions; `run` and `model` name the run and the model where the default (a time stamp,
    the model's own name) will not do; `tokenizer` where the Trainer is not given one. What the set
    shares with `train_rows` is remarked. With `check_data` at most `check_rows` rows of the training set
    are looked through as it starts, for a few seconds, unless `data` says what they hold.

    `resume` says how a run goes on that was cut short, with `{checkpoint}` for the checkpoint's name; by
    default it is the call of the Trainer.

    With `may_stop` a decision to stop or roll back ends the training, through the Trainer's own
    control; with `load_best` the recommended checkpoint is in the model after it. `keep` keeps that
    checkpoint from deletion by `save_total_limit`.

    `alerts` changes the rules as the config's `alerts` section does: `limits`, `off`, `rules`
    (thresholds); `rules` are rules of your own, or the Python file that defines them. `notify` is
    where alerts are sent: Apprise addresses, or `NotifyOptions`.

    Raises `DataError` at once if the set cannot be read or has no usable row, `ConfigError` if `every` is
    below 1, `reference` is never evaluated, or the alerts, rules or addresses cannot be used. In a
    distributed run every process needs a monitor: they share the evaluation, and the main one records.
    """

    @filled_in
    def __init__(
        self,
        eval_set: Source | None = None,
        *,
        every: int = default("eval.every"),
        at_start: bool = default("eval.at_start"),
        max_samples: int = default("eval.max_samples"),
        margin: float | str = default("eval.margin"),
        reference: int | None = default("eval.reference"),
        options: EvalOptions | None = None,
        signals: SignalOptions | None = None,
        may_stop: bool = default("decision.may_stop"),
        load_best: bool = default("decision.load_best"),
        keep: bool = default("decision.keep"),
        alerts: Mapping[str, Any] | None = None,
        rules: Sequence[Rule[Any]] | str | Path = (),
        notify: NotifyOptions | Sequence[str] = (),
        patterns: Patterns | None = None,
        runs: str | Path = default("output.runs"),
        run: str | None = None,
        model: str | None = None,
        tokenizer: Any = None,
        config: Mapping[str, Any] | None = None,
        train_patterns: Mapping[str, int] | None = None,
        train_rows: Sequence[Row] = (),
        check_data: bool = default("check.data"),
        check_rows: int = default("check.rows"),
        data: Data | None = None,
        resume: str = "",
        listeners: Sequence[Listener] = (),
    ) -> None:
        if not every >= 1:
            raise ConfigError(f"every must be at least 1 optimizer step, found {every!r}")
        if wrong := size_or_auto("margin", margin):
            raise ConfigError(wrong)
        if reference is not None and (reference % every or (not reference and not at_start)):
            raise ConfigError(
                f"reference {reference} is no step that is evaluated: every {every} steps"
                + ("" if at_start else ", not at the start")
            )
        self.eval_set = eval_set
        self.every = every
        self.at_start = at_start
        self.max_samples = max_samples
        self.margin = margin
        self.reference = reference
        self.options = options or EvalOptions()
        self._set = None if eval_set is None else self._read(eval_set)
        self.signals = signals or SignalOptions()
        self.patterns = dict(patterns or get_default_patterns())
        self.runs = Path(runs)
        self.run = run
        self.model = model
        self.tokenizer = tokenizer
        self.config = dict(config or {})
        self.train_patterns = dict(train_patterns or {})
        self.train_rows = train_rows
        self.check_data = check_data
        self.check_rows = check_rows
        self.data = data
        self.resume = resume
        self.may_stop = may_stop
        if alerts is not None:
            self.config["alerts"] = checked_alerts(alerts)
        said = self.config.get("alerts")
        if isinstance(rules, str | Path):
            self.rules = load_rules(Path(rules), said)
        else:
            self.rules = user_rules(rules, said)
        notify = notify if isinstance(notify, NotifyOptions) else NotifyOptions(urls=notify)
        self._notifier = Notifier(notify) if notify.wanted else None
        self.watch: Watch | None = None
        self._follower: Follower | None = None
        self._together: Together | None = None
        self._listeners = list(listeners)
        self._steering = Steering(keep, load_best)
        self._hook: Any = None
        self._learning_rate: float | None = None
        self._evaluating = False
        self._heard = False

    def _read(self, source: Source) -> Reading:
        """The rows of the set, before hours are spent; raises `EmptySet` where none is usable."""
        found = self.options.read(source)
        if not found.rows:
            raise EmptySet(nothing_in(found.name or "the rows given", found.left_out))
        return found

    @_harmless
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the journal, hook the model, evaluate the starting point."""
        self.close(state.global_step, failure="training was started again")
        model = kwargs["model"]
        plan, problems = self._plan(args, model, kwargs.get("processing_class"))
        together = self._together = Together(plan)
        try:
            start = self._start(args, state, model)
            if state.is_world_process_zero:
                data = self._training_data(args, model, plan, kwargs)
                self._begin(args, state, start, plan, problems, data)
            else:
                self._follower = Follower(plan, together)
                self._hook = self._hooked(model)
                self._follower.begin(start)
        except Exception:
            self.let_go(leaving=True)
            together.leave_at_start(state.global_step)
            raise

    @_harmless
    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The data of the step is there."""
        self._evaluating = False
        if self.watch:
            self.watch.settle()
            self.watch.lap("data")

    @_harmless
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note the learning rate that the coming step is made with, and look at the gradients."""
        if self.watch:
            self.watch.lap("forward_backward")
            groups = getattr(kwargs.get("optimizer"), "param_groups", None)
            self._learning_rate = float(groups[0]["lr"]) if groups else None
            self.watch.before_update(state.global_step + 1, kwargs["model"])
            self.watch.lap("monitor")

    @_harmless
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the step; evaluate when due."""
        last = state.global_step >= state.max_steps or control.should_training_stop
        step, model, together = state.global_step, kwargs["model"], self._together
        if together is None:
            return
        try:
            if self.watch:
                self.watch.step(step, model, self._learning_rate, last, control.should_log)
                self._note_unheard(step)
            elif self._follower:
                self._follower.step(step, model, last)
            else:
                together.leave(step, last)
        except Exception:
            self.let_go(leaving=True)
            together.leave(step, last)
            raise
        control.should_training_stop |= together.stopping
        if self._steering.acting:
            self._steer(args, state)
        self._lap("monitor")

    @_harmless
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record the Trainer's own numbers; its evaluation logs before it is over."""
        self._lap("evaluation" if self._evaluating else "other")
        if self.watch:
            self.watch.log(state.global_step, logs or {})
        if "train_runtime" in (logs or {}):
            self._steering.release(state)
        self._lap("monitor")

    @_harmless
    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the checkpoint and leave beside it what a resumed run needs."""
        self._lap("saving")
        self._flush()
        if not self.watch:
            return
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        folder = Path(args.output_dir or ".") / name
        self._note_removed(folder.parent)
        if folder.is_dir():
            self.watch.saved(state.global_step, name)
            try:
                (folder / STATE_NAME).write_text(json.dumps(self.watch.state()), encoding="utf-8")
            except OSError as error:
                self.watch.note(state.global_step, "failure", f"{STATE_NAME}: {error}")
        self._steer(args, state)
        self._lap("monitor")

    @_harmless
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer's own evaluation is not training time."""
        self._lap("evaluation")
        self._evaluating = False

    @_harmless
    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **kwargs: Any,
    ) -> None:
        """Nor is a prediction."""
        self._lap("evaluation")
        self._evaluating = False

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer's own evaluation or prediction is under way."""
        self._evaluating = True

    @_harmless
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the last weights, unless the Trainer has put other ones in place, and close."""
        other = args.load_best_model_at_end
        loaded = self._steering.end(args, state)
        try:
            self._note_removed(Path(args.output_dir or "."))
            if loaded and self.watch:
                text = f"the weights of {loaded} are in the model, as decided"
                self.watch.note(state.global_step, "load", text)
        finally:
            self.close(state.global_step, None if other else kwargs["model"])

    def close(self, step: int, model: nn.Module | None = None, failure: str = "") -> None:
        """End watching; `failure` says why when training did not end by itself."""
        watch, follower, together = self.watch, self._follower, self._together
        self.let_go()
        self._together = None
        if watch:
            watch.end(step, model, failure)
        elif together and not failure:
            if follower:
                follower.flush()
            else:
                together.add(None, [])
            if model is not None and follower:
                follower.evaluate(model, step)
            elif model is not None:
                together.score(step)

    def let_go(self, leaving: bool = False) -> None:
        """Take the hook off the model and watch no more; `leaving` tells the other processes so."""
        if self._hook is not None:
            self._hook.remove()
        if self._together is not None:
            self._together.leaving |= leaving
        if self.watch is not None:
            self.watch.let_go()
            if leaving:
                self.watch.abandon()
        self._hook = self.watch = self._follower = None

    def _flush(self) -> None:
        """Record what was kept, in every process."""
        if self.watch:
            self.watch.flush()
        elif self._follower:
            self._follower.flush()
        elif self._together:
            self._together.add(None, [])

    def _steer(self, args: TrainingArguments, state: TrainerState) -> None:
        if self.watch:
            output = Path(args.output_dir or ".")
            self._steering.follow(state, output, self.watch.history.decision)

    def _lap(self, phase: str) -> None:
        if self.watch:
            self.watch.lap(phase)

    def _note_removed(self, output: Path) -> None:
        """Tell of recorded checkpoints that the Trainer has deleted (`save_total_limit`)."""
        for saved in list(self.watch.history.checkpoints) if self.watch else ():
            if self.watch and not (output / saved.path).is_dir():
                self.watch.removed(saved.step, saved.path)

    def _start(self, args: TrainingArguments, state: TrainerState, model: nn.Module) -> Start:
        return Start(
            model=model,
            folder=Path(args.output_dir or "."),
            step=state.global_step,
            total_steps=state.max_steps,
            warmup_steps=args.get_warmup_steps(state.max_steps),
            ranks=args.world_size,
            loss_scaled=args.fp16,
            options=self.signals,
        )

    def _hooked(self, model: nn.Module) -> Any:
        """Hook the forward pass that the Trainer calls; returns the hook's handle.

        That is the outermost module's: PEFT up to 0.20 calls its base model's `forward` itself, past
        any hook on it. Where something is compiled the hook runs around the compiled code,
        uncompiled; further inside it would become part of the graph.
        """
        self._heard = False
        if not _is_compiled(model):
            return unwrapped(model).register_forward_hook(self._forward, with_kwargs=True)
        disable: Callable[..., Any] = torch.compiler.disable
        outside = disable(self._forward)
        return model.register_forward_hook(outside, with_kwargs=True)

    def _note_unheard(self, step: int) -> None:
        """Say once that the forward pass cannot be seen."""
        if not self._heard and self.watch:
            self.watch.note(step, "signal", UNHEARD)
        self._heard = True

    def _plan(
        self, args: TrainingArguments, model: nn.Module, tokenizer: Any
    ) -> tuple[Plan, list[str]]:
        """What every process evaluates, and why it does not where one of them cannot."""
        ranks = Ranks(args.process_index, args.world_size)
        evaluator, problem, sharded = None, "", _is_sharded(args, model)
        scored = self.eval_set is not None and kind_of(unwrapped(model)).scored
        if scored and not sharded:
            try:
                tokenizer = self.tokenizer or _text_tokenizer(tokenizer)
                evaluator = self._evaluator(args, tokenizer, model, ranks)
            except Exception as error:
                problem = str(error)
            problems = [each for each in dict.fromkeys(ranks.gather(problem)) if each]
        else:
            problems = [SHARDED] if scored else []
        without = WHOLE_WEIGHTS if sharded else ()
        found = None if problems else evaluator
        plan = Plan(
            evaluator=found,
            every=self.every,
            at_start=self.at_start,
            ranks=ranks,
            signals=self.signals,
            without=without,
            may_stop=self.may_stop,
        )
        return plan, problems

    def _evaluator(
        self, args: TrainingArguments, tokenizer: Any, model: nn.Module, ranks: Ranks
    ) -> Evaluator:
        assert self._set is not None
        config = getattr(_innermost(model), "config", None)
        fixed = self.options.load(
            self._set,
            tokenizer,
            config,
            self.max_samples,
            self.train_rows,
            training_template(args, tokenizer),
        )
        return Evaluator(fixed, tokenizer, cells(self.patterns), self.options, ranks)

    def _begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        start: Start,
        plan: Plan,
        problems: Sequence[str],
        data: Data | None,
    ) -> None:
        checkpoint = _resumed_from(args, state)
        saved = _saved_state(checkpoint)
        _kept(state)[ORIGIN] = {"folder": str(Path(args.output_dir or ".").resolve())}
        name = self.run or saved.get("run") or new_run(self.runs)
        folder = self.runs / name
        about = plan.evaluator.fixed.about if plan.evaluator else None
        status = StatusFile(folder / STATUS_NAME)
        listeners: list[Listener] = [*self._listeners, functools.partial(_update, status)]
        listeners += [self._notifier] if self._notifier else []
        watch = Watch(
            folder,
            plan,
            listeners,
            self._together,
            self.rules,
        )
        self.watch = watch
        self._hook = self._hooked(start.model)
        start = dataclasses.replace(start, folder=folder)
        watch.begin(self._run(args, state, start.model, name, about), start, saved, data)
        if state.global_step and not saved:
            watch.note(state.global_step, "resume", _why_not_continued(checkpoint))
        for problem in problems:
            log.error("heldout: no fixed evaluation in this run: %s", problem)
            watch.note(state.global_step, "failure", f"no fixed evaluation: {problem}")
        if scope := kind_of(unwrapped(start.model)).scope:
            log.warning("heldout: %s", scope)
            watch.note(state.global_step, "scope", scope)
        if plan.without:
            watch.note(
                state.global_step, "signal", f"no LoRA layers, no check of weights: {SHARDED}"
            )
        for remark in self._steering.begin(args):
            watch.note(state.global_step, "decision", remark)
        for remark in about.remarks if about else ():
            watch.note(state.global_step, "data", remark)

    def _training_data(
        self, args: TrainingArguments, model: nn.Module, plan: Plan, given: Mapping[str, Any]
    ) -> Data | None:
        """What the Trainer is about to train on, unless that is known; None where it cannot be seen."""
        if self.data is not None or not self.check_data:
            return self.data
        try:
            return training_data(
                given.get("train_dataloader"),
                self.tokenizer or _text_tokenizer(given.get("processing_class")),
                model,
                getattr(args, "max_length", None),
                most=self.check_rows,
                held_out=plan.evaluator.fixed.examples if plan.evaluator else (),
                packed=bool(getattr(args, "packing", False)),
            )
        except Exception:
            log.warning("heldout: the training data was not looked at", exc_info=True)
            return None

    def _run(
        self,
        args: TrainingArguments,
        state: TrainerState,
        model: nn.Module,
        name: str,
        eval_set: EvalSet | None,
    ) -> Run:
        config = getattr(model, "config", None)
        evaluation = {
            "every": self.every,
            "margin": self.margin,
            "reference": self.reference,
            "max_samples": self.max_samples,
            **dataclasses.asdict(self.options),
        }
        signals = dataclasses.asdict(self.signals)
        return Run(
            id=name,
            time=time.time(),
            model=self.model or getattr(config, "name_or_path", "") or type(model).__name__,
            step=state.global_step,
            total_steps=state.max_steps,
            eval_set=eval_set,
            learning_rate=str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
            resume=self.resume or _resumed_by(args),
            train_patterns=self.train_patterns,
            training=_training(args, model, state.max_steps),
            config={"eval": evaluation, "signals": signals, **self.config},
            environment=_environment(),
            host=host.name(),
            pid=os.getpid(),
            process=host.process(),
        )

    def _forward(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if torch.compiler.is_compiling():
            return  # traced into someone's graph, which must not break on us
        watching = self.watch or self._follower
        if watching is None or not module.training or not torch.is_grad_enabled():
            return  # an evaluation, a reference model's pass, a generation
        self._heard = True
        watching.forward(
            Batch(
                input_ids_BT=kwargs.get("input_ids", args[0] if args else None),
                attention_mask_BT=kwargs.get("attention_mask"),
                labels_BT=kwargs.get("labels"),
                outputs=output,
                items=kwargs.get("num_items_in_batch"),
            )
        )


def _resumed_by(args: TrainingArguments) -> str:
    """The call that goes on in a script of one's own."""
    folder = Path(args.output_dir or ".")
    return f'trainer.train(resume_from_checkpoint="{folder / "{checkpoint}"}")'


def _update(status: StatusFile, records: Sequence[Any], history: Any) -> None:
    status.update(history, now=not isinstance(records[-1], Sample) and bool(history.ended))


def _text_tokenizer(processor: Any) -> Any:
    """The tokenizer inside a multimodal processor; itself where it is one."""
    return getattr(processor, "tokenizer", processor)


def _innermost(model: nn.Module) -> nn.Module:
    """The model that computes the loss, and whose config it is: without compile, DDP and PEFT."""
    model = unwrapped(model)
    getter = getattr(model, "get_base_model", None)
    found = getter() if callable(getter) else model
    return found if isinstance(found, nn.Module) else model


def _is_compiled(model: nn.Module) -> bool:
    """True where the model or a part of it is compiled, or accelerate was told to compile it.

    Accelerate compiles a wrapper around the model, which a callback is never shown.
    """
    plugin = AcceleratorState._shared_state.get("dynamo_plugin")
    if plugin is not None and plugin.backend != DynamoBackend.NO:
        return True
    return any(
        getattr(part, "_compiled_call_impl", None) is not None or "_orig_mod" in part._modules
        for part in model.modules()
    )


def _is_sharded(args: TrainingArguments, model: nn.Module) -> bool:
    """True where a forward pass needs every process, which the main one cannot call alone.

    `accelerate launch` sets FSDP up without a word in the Trainer's arguments.
    """
    state = getattr(args, "distributed_state", None)
    launched = getattr(state, "distributed_type", None) == DistributedType.FSDP
    around = (type(m).__name__.endswith("FullyShardedDataParallel") for m in model.modules())
    parts = (hasattr(p, "ds_id") or type(p.data).__name__ == "DTensor" for p in model.parameters())
    return bool(getattr(args, "fsdp", None)) or launched or any(around) or any(parts)


def _training(args: TrainingArguments, model: nn.Module, steps: int) -> dict[str, Any]:
    """What rules ask of the training's settings."""
    known = {name: getattr(args, name, None) for name in ARGUMENTS}
    config = getattr(_innermost(model), "config", None)
    found = {
        **known,
        "warmup_steps": args.get_warmup_steps(steps),
        "vocabulary": getattr(config, "vocab_size", None)
        if kind_of(unwrapped(model)).tokens
        else None,
        "adapters": hasattr(unwrapped(model), "peft_config"),
        **_best_by(args),
    }
    return {name: value for name, value in found.items() if value is not None}


def _best_by(args: TrainingArguments) -> dict[str, Any]:
    """What the Trainer tells its best checkpoint by, where it was told a metric."""
    metric = getattr(args, "metric_for_best_model", None)
    if not metric:
        return {}
    higher = getattr(args, "greater_is_better", None)
    return {"metric_for_best_model": metric, "greater_is_better": higher}


def _resumed_from(args: TrainingArguments, state: TrainerState) -> Path | None:
    """The checkpoint that training goes on from; None at a start, or where it cannot be known.

    The Trainer does not tell it. It is looked for where the arguments say, in the output folder, and
    in the folder it was saved into; it is the one with the Trainer's own history.
    """
    if not state.global_step:
        return None
    name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
    origin = _kept(state).get(ORIGIN)
    folders = [Path(args.output_dir or ".")]
    if isinstance(origin, dict) and isinstance(origin.get("folder"), str):
        folders.append(Path(origin["folder"]))
    places = [folder / name for folder in folders]
    if isinstance(args.resume_from_checkpoint, str):
        places.insert(0, Path(args.resume_from_checkpoint))
    mine = json.dumps([state.global_step, state.log_history])
    for place in places:
        found = _json(place / TRAINER_STATE_NAME)
        if json.dumps([found.get("global_step"), found.get("log_history")]) == mine:
            return place
    return None


def _kept(state: TrainerState) -> dict[str, Any]:
    """The callbacks' states, which the Trainer saves with its own; it calls them a list, wrongly."""
    found: Any = state.stateful_callbacks
    return found if isinstance(found, dict) else {}


def _saved_state(checkpoint: Path | None) -> dict[str, Any]:
    """What was left beside a checkpoint, as far as it is what it should be."""
    found = _json(checkpoint / STATE_NAME) if checkpoint else {}
    kinds = {"run": str, "signals": dict}
    return {key: found[key] for key, kind in kinds.items() if isinstance(found.get(key), kind)}


def _why_not_continued(checkpoint: Path | None) -> str:
    """Why curves do not go on in a resumed run, which ones, and what to do."""
    if checkpoint:
        return f"{checkpoint / STATE_NAME} cannot be used or was never written: {LOST}"
    return (
        "the checkpoint that training goes on from is neither in the output folder nor where it was "
        f"saved: {LOST}. Name it in the Trainer's arguments (resume_from_checkpoint=PATH)"
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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
