"""Load weights to score: one base model stays, adapters come and go on it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftConfig, PeftModelForCausalLM
from torch import nn

from heldout.errors import ModelError
from heldout.train.checkpoints import Weights
from heldout.train.model import load_weights

ADAPTER = "scored"
HARMLESS_STARTS = ("gaussian", "orthogonal", "eva")
"""Named ways to start an adapter that leave the base model's weights alone."""


class Models:
    """Loads one set of weights after another on `device`.

    The base model of `settings` is loaded when first needed and then stays; a whole checkpoint is
    freed before the next one is loaded.
    """

    def __init__(self, settings: Mapping[str, Any], device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self._base: nn.Module | None = None

    @contextmanager
    def loaded(self, weights: Weights) -> Iterator[nn.Module]:
        """Give the model with these weights; let go of it afterwards, the base model as it was.

        Raises `ModelError` if they are incomplete or belong to another base model.
        """
        if weights.problem:
            raise ModelError(weights.problem)
        if weights.kind == "checkpoint":
            _free()
            own = {"model.name": weights.path, "model.gguf_file": None}
            yield self._load({**self.settings, **own})
        elif weights.kind == "model":
            yield self.base
        else:
            with self._adapted(weights.path) as model:
                yield model

    @property
    def base(self) -> nn.Module:
        """The base model, loaded once."""
        if self._base is None:
            self._base = self._load(self.settings)
        return self._base

    def _load(self, settings: Mapping[str, Any]) -> nn.Module:
        model: nn.Module = load_weights(settings)
        return model.to(self.device)

    @contextmanager
    def _adapted(self, folder: str) -> Iterator[nn.Module]:
        base = self.base
        try:
            config = PeftConfig.from_pretrained(folder)
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: adapter_config.json cannot be used: {error}") from error
        if config.is_prompt_learning:
            kind = config.peft_type.value
            raise ModelError(
                f"{folder}: a {kind} adapter; only those of layers, as LoRA, can be scored"
            )
        config.inference_mode = True
        with _unchanged(base, changes_base(config)):
            yield self._attach(base, config, folder)

    def _attach(self, base: nn.Module, config: PeftConfig, folder: str) -> nn.Module:
        name = self.settings["model.name"]
        misfit = f"{folder}: this adapter does not fit the base model {name!r}"
        try:
            model = PeftModelForCausalLM(base, config, adapter_name=ADAPTER)
            found = model.load_adapter(folder, ADAPTER, torch_device=str(self.device))
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{misfit}: {_shortened(error)}") from error
        strays = [*found.unexpected_keys, *found.missing_keys]
        if strays:
            which = "has weights for" if found.unexpected_keys else "lacks weights of"
            raise ModelError(f"{misfit}: it {which} {len(strays)} tensors, such as {strays[0]}")
        return model


def changes_base(config: Any) -> bool:
    """Whether attaching an adapter of this config rewrites the base weights (PiSSA, OLoRA, ...)."""
    start = getattr(config, "init_lora_weights", True)
    return isinstance(start, str) and start not in HARMLESS_STARTS


@contextmanager
def _unchanged(base: nn.Module, weights: bool) -> Iterator[None]:
    """Put every module back in its place afterwards and, where asked, every weight its value.

    PEFT's own `unload` needs an adapter that attached without an error; this needs none. A copy of
    the `weights` costs the base model's memory once more.
    """
    places = [(module, dict(module._modules)) for module in base.modules()]
    trained = [(parameter, parameter.requires_grad) for parameter in base.parameters()]
    values = [(p, p.data.clone()) for p in base.parameters()] if weights else []
    try:
        yield
    finally:
        for module, children in places:
            module._modules.clear()
            module._modules.update(children)
        for parameter, flag in trained:
            parameter.requires_grad_(flag)
        for parameter, value in values:
            parameter.data = value
        base.__dict__.pop("peft_config", None)
        _free()


def _shortened(error: Exception, most: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= most else text[:most] + " ..."


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
