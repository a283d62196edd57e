"""How each tool logs a step: heldout's journal, the Trainer's own callbacks, one bare write.

A callback gets what the Trainer gives it: arguments, state, control, model and the logs. Every tool
keeps its defaults and writes below the current folder; each module is imported where it is used, so
that an environment needs only its own.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workload import NUM_SCALARS

FLOOR_FILE = "floor.bin"
FLOOR_ROW = struct.Struct(f"<q{NUM_SCALARS}d")
JOURNAL_FILE = "journal.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A tool that is ready: `log` takes a step and its scalars, `close` ends when all is stored."""

    log: Callable[[int, dict[str, float]], object]
    close: Callable[[], object]


def floor() -> Writer:
    """Write the step and the numbers as they lie in memory, in one call: what no tool can beat."""
    file = os.open(FLOOR_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def log(step: int, values: dict[str, float]) -> None:
        os.write(file, FLOOR_ROW.pack(step, *values.values()))

    return Writer(log=log, close=lambda: os.close(file))


def heldout() -> Writer:
    """Append a `Sample` to heldout's journal; making the record is part of the call."""
    from heldout.records import Sample
    from heldout.store.journal import Journal

    journal = Journal(Path(JOURNAL_FILE))

    def log(step: int, values: dict[str, float]) -> None:
        journal.append([Sample(step=step, time=time.time(), values=values)])

    return Writer(log=log, close=journal.close)


def trackio() -> Writer:
    """Log with transformers' `TrackioCallback`, to a local project."""
    return _callback("TrackioCallback", lambda: None)


def tensorboard() -> Writer:
    """Log with transformers' `TensorBoardCallback`, which flushes after every step."""
    return _callback("TensorBoardCallback", lambda: None)


def wandb() -> Writer:
    """Log with transformers' `WandbCallback`, offline; the run is finished as at interpreter exit."""
    import wandb as module

    return _callback("WandbCallback", module.finish)


def mlflow() -> Writer:
    """Log with transformers' `MLflowCallback`, which logs asynchronously, to the default store."""
    import mlflow as module

    return _callback("MLflowCallback", module.flush_async_logging)


WRITERS: dict[str, Callable[[], Writer]] = {
    "floor": floor,
    "heldout": heldout,
    "trackio": trackio,
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
}


def _callback(name: str, finish: Callable[[], object]) -> Writer:
    from transformers import TrainerControl, TrainerState, TrainingArguments, integrations

    arguments = TrainingArguments(
        output_dir="output", run_name="benchmark", report_to="none", use_cpu=True
    )
    state, control, model = TrainerState(), TrainerControl(), _tiny_model()
    callback = getattr(integrations, name)()
    callback.on_train_begin(arguments, state, control, model=model)

    def log(step: int, values: dict[str, float]) -> None:
        state.global_step = step
        callback.on_log(arguments, state, control, model=model, logs=values)

    def close() -> None:
        callback.on_train_end(arguments, state, control, model=model)
        finish()

    return Writer(log=log, close=close)


def _tiny_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config)
