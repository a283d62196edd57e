"""Use a model in the middle of its training and leave no trace."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from torch import nn

ROTARY_STATE = ("inv_freq", "max_seq_len_cached", "attention_scaling")
"""What a rotary embedding of type `dynamic` or `longrope` changes when it sees a long batch."""


@contextmanager
def same_chance() -> Iterator[None]:
    """Run the body, then restore the random states of Python, NumPy, torch and every CUDA device."""
    python, cpu = random.getstate(), torch.get_rng_state()
    numpy = np.random.get_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def neutral(model: nn.Module) -> Iterator[None]:
    """Run the body in eval mode without gradients, then restore what training can feel.

    Restored, also when the body raises: the random states, each module's own `training` flag (a
    blanket `train()` would wake frozen dropout), and the frequencies of rotary embeddings that adapt
    to the length they see. Not `inference_mode`: a module that caches a tensor under it breaks the
    next backward. A compiled model runs uncompiled: the many shapes of an evaluation would use up the
    recompilations that training may need.
    """
    flags = [(module, module.training) for module in model.modules()]
    rotary = [(module, state) for module in model.modules() if (state := _rotary_state(module))]
    try:
        for module, _ in flags:
            module.training = (
                False  # not eval(): what a module does there need not be undone by train()
            )
        with same_chance(), torch.no_grad(), _uncompiled():
            yield
    finally:
        for module, training in flags:
            module.training = training
        for module, state in rotary:
            for name, value in state.items():
                setattr(module, name, value)


def _uncompiled() -> AbstractContextManager[object]:
    """Compile nothing and run nothing compiled, if anything can have been compiled at all."""
    if "torch._dynamo" not in sys.modules:  # importing it takes a second
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def _rotary_state(module: nn.Module) -> dict[str, object]:
    """What a rotary embedding keeps, also by kind of layer (`full_attention_inv_freq`)."""
    kept = {**vars(module), **module._buffers}
    found = {name: kept[name] for name in kept if name.endswith(ROTARY_STATE)}
    return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in found.items()}
