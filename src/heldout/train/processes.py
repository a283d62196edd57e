"""The processes that evaluate together, and the device of this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
from accelerate import PartialState

from heldout.errors import ConfigError, HeldoutError
from heldout.evals.ranks import Ranks

T = TypeVar("T")


@contextmanager
def processes(device: str | None = None) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the other processes where a launcher started several; alone it is one.

    `device` is by default the first GPU where there is one, and in a group this process's own.
    Raises `ConfigError` for a device that is not there.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks(), _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return
    wanted = device or ("cuda" if torch.cuda.is_available() else "cpu")
    state = PartialState(cpu=wanted == "cpu")
    try:
        yield Ranks(state.process_index, state.num_processes), _usable(str(state.device))
    finally:
        state.destroy_process_group()


def agreed(ranks: Ranks, do: Callable[[], T]) -> T:
    """Return what `do` gives in this process; an error of ours in any process is raised in all.

    So that none leaves while the others wait for it. A collective call.
    """
    error, result = "", None
    try:
        result = do()
    except HeldoutError as problem:
        if ranks.count == 1:
            raise
        error = str(problem)
    errors = [text for text in ranks.gather(error) if text]
    if errors:
        raise HeldoutError(errors[0])
    return cast(T, result)


def told_by_main(ranks: Ranks, ask: Callable[[], T]) -> T:
    """Return what the main process answers, in every process, and raise its error. A collective call."""
    answer = agreed(ranks, lambda: (ask(),) if ranks.main else ())
    return cast(tuple[T], ranks.gather(answer)[0])[0]


def _usable(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {device}: {' '.join(str(error).split())}") from error
