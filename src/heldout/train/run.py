"""Fine-tune as a config says, with the monitor attached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback
from trl import SFTTrainer

from heldout.adapters.huggingface import Monitor
from heldout.config import nested
from heldout.errors import DataError
from heldout.evals.options import EvalOptions
from heldout.evals.rows import Keys, nothing_in
from heldout.rules import load_rules
from heldout.signals.moment import SignalOptions
from heldout.store.runs import new_run
from heldout.train.arguments import complete, lora_config, training_arguments
from heldout.train.checkpoints import CHECKPOINTS
from heldout.train.data import as_conversations, as_dataset, count_patterns, load_rows
from heldout.train.model import load_config, load_tokenizer, load_weights
from heldout.train.preflight import Sets, before_training
from heldout.train.tokens import made_otherwise, sentences, tokens_of, training_renderer
from heldout.views.notify.channel import channels
from heldout.views.notify.options import NotifyOptions
from heldout.watch import Listener


def train(
    settings: Mapping[str, Any], listeners: Sequence[Listener] = (), resume: str = ""
) -> Path:
    """Fine-tune as `settings` say and return the run's folder.

    Reads all data and builds everything before the first step, so bad input ends the call at once
    with a `HeldoutError`. Checkpoints go to `<run>/checkpoints`; a checkpoint there is resumed
    from, so the same settings with the same `output.run` continue an interrupted run. `resume` is the
    command that does so.
    """
    settings = complete(settings)
    keys = Keys(
        prompt=settings["data.prompt_key"], response=settings["data.response_key"], section="data"
    )
    own = settings["alerts.file"]
    rules = load_rules(Path(own), {"rules": settings["alerts.rules"]}) if own else []
    notify = NotifyOptions.of(settings)
    channels(notify)  # addresses that cannot be used end it here, before anything is loaded
    reading = load_rows(settings["data.train"], keys)
    args = training_arguments(settings, Path(settings["output.runs"]))
    if settings["train.threads"]:
        torch.set_num_threads(settings["train.threads"])
    tokenizer, config = load_tokenizer(settings), load_config(settings)
    options = EvalOptions.of(settings)
    renderer = training_renderer(tokenizer, args, settings["data.template_kwargs"])
    sets = Sets.of(reading).shown_to(tokenizer, config, renderer)
    fixed = sets.load(options, settings["eval.data"], settings["eval.max_samples"])
    data = None
    if settings["check.data"]:
        data = before_training(settings, sets.compared_with(fixed))
    unfit = sentences(sets.refused)
    if not sets.texts:
        raise DataError(nothing_in(settings["data.train"], [*reading.left_out, *unfit]))
    rows = [text.row for text in sets.texts]
    otherwise = made_otherwise(args)
    dataset = (
        as_conversations(rows, renderer, otherwise)
        if otherwise
        else as_dataset(tokens_of(sets.texts, renderer, args))
    )
    model = load_weights(settings)
    runs = Path(settings["output.runs"])
    name = settings["output.run"] or new_run(runs)
    folder = runs / name
    patterns = settings["eval.patterns"]
    monitor = Monitor(
        settings["eval.data"],
        every=settings["eval.every"],
        at_start=settings["eval.at_start"],
        max_samples=settings["eval.max_samples"],
        margin=settings["eval.margin"],
        reference=settings["eval.reference"],
        options=options,
        signals=SignalOptions.of(settings),
        may_stop=settings["decision.may_stop"],
        load_best=settings["decision.load_best"],
        keep=settings["decision.keep"],
        rules=rules,
        notify=notify,
        patterns=patterns,
        runs=settings["output.runs"],
        run=name,
        config=nested({**settings, "eval.template_kwargs": options.template_kwargs})
        | {"skipped_training_lines": reading.left_out + unfit},
        train_patterns=count_patterns(rows, patterns),
        train_rows=rows,
        check_data=settings["check.data"],
        check_rows=settings["check.rows"],
        data=data,
        model=settings["model.name"],
        resume=resume,
        listeners=listeners,
    )
    trainer = SFTTrainer(
        model=model,
        args=training_arguments(settings, folder / CHECKPOINTS),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(settings),
        callbacks=[monitor],
    )
    trainer.remove_callback(PrinterCallback)
    begun = any((folder / CHECKPOINTS).glob("checkpoint-*"))
    try:
        trainer.train(resume_from_checkpoint=begun)
    except BaseException as error:
        monitor.close(trainer.state.global_step, failure=f"{type(error).__name__}: {error}")
        raise
    return folder
