"""Which weights there are to score, in which order, and the name and fingerprint of each."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heldout.errors import ConfigError, ModelError
from heldout.train.model import source

Kind = Literal["model", "adapter", "checkpoint"]
CHECKPOINTS = "checkpoints"
"""The folder inside a run's own that its checkpoints are saved in."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
MODEL_CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = ("tokenizer.json", "chat_template.jinja")
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.gguf", MODEL_CONFIG, "generation_config.json")
SAVED = re.compile(r"checkpoint-(\d+)")
SHOWN = 6
"""Names listed where something was looked for and not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One set of weights: the model as it is, an adapter on it, or a whole saved model.

    `step` is the optimizer step where `stepped`; else only a place in the order given.
    """

    name: str
    step: int
    kind: Kind
    path: str
    stepped: bool

    @property
    def problem(self) -> str:
        """Why it cannot be loaded, as far as the names of its files tell; "" if nothing does."""
        folder = Path(self.path)
        if self.kind == "model":
            return ""
        if not folder.is_dir():
            return f"{folder}: no such folder"
        if self.kind == "checkpoint":
            if (folder / MODEL_CONFIG).is_file():
                return ""
            return f"{folder}: neither {ADAPTER_CONFIG} nor {MODEL_CONFIG} here. {_here(folder)}"
        if not (folder / ADAPTER_CONFIG).is_file():
            return f"{folder}: no {ADAPTER_CONFIG} here. {_here(folder)}"
        if not any((folder / name).is_file() for name in ADAPTER_FILES):
            return f"{folder}: no {' or '.join(ADAPTER_FILES)} here. {_here(folder)}"
        return ""


def find_weights(
    model: str | None,
    adapters: Sequence[Path] = (),
    checkpoints: Path | None = None,
    base: bool = False,
) -> list[Weights]:
    """Return what is to be scored, in step order: the model itself where nothing else is named.

    `base` puts the model without an adapter first, as step 0. Adapters whose folders are not all
    called `checkpoint-N` with different N keep the order given. Raises `ModelError` where there is
    no checkpoint, `ConfigError` for what does not go together.
    """
    if adapters and checkpoints:
        raise ConfigError("--adapter and --checkpoints do not go together: name one of them")
    if not adapters and not checkpoints:
        if not model:
            raise ConfigError("--model is missing: name a hub id, a folder, or package:NAME")
        step = saved_step(Path(model))
        name = "base model" if base else Path(model).name or model
        known = base or step is not None
        return [Weights(name=name, step=step or 0, kind="model", path=model, stepped=known)]
    folders = saved_in(checkpoints) if checkpoints else list(adapters)
    found = _numbered(folders, sure=checkpoints is None)
    if base:
        stepped = found[0].stepped
        path = model or ""
        first = Weights(name="base model", step=0, kind="model", path=path, stepped=stepped)
        found = [first, *found]
    return found


def saved_in(folder: Path) -> list[Path]:
    """The `checkpoint-N` folders of a folder, or of the `checkpoints` of a run, in step order."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder (--checkpoints)")
    for place in (folder, folder / CHECKPOINTS):
        found = [path for path in place.glob("checkpoint-*") if saved_step(path) is not None]
        if found:
            return sorted(found, key=lambda path: saved_step(path) or 0)
    one = saved_step(folder) is not None
    hint = (
        f" It is itself one: --adapter {folder}, or --model if it is a whole model." if one else ""
    )
    raise ModelError(f"{folder}: no checkpoint-N here.{hint} {_here(folder)}")


def saved_step(folder: Path) -> int | None:
    """The step in the name of a checkpoint's folder; None where the name is another."""
    match = SAVED.fullmatch(folder.resolve().name)
    return int(match[1]) if match else None


def run_of(checkpoints: Path, journal: str) -> Path | None:
    """The run's folder that these checkpoints belong to, if a journal says that there is one."""
    inside = checkpoints.resolve()
    found = [inside, *([inside.parent] if inside.name == CHECKPOINTS else [])]
    return next((folder for folder in found if (folder / journal).is_file()), None)


def base_model(weights: Sequence[Weights]) -> str | None:
    """The model that the adapters say they were trained on; None where none says.

    Raises `ConfigError` if they name different ones.
    """
    named = {name: each.path for each in weights for name in _base_named_by(each)}
    if len(named) > 1:
        shown = ", ".join(f"{name!r} by {path}" for name, path in sorted(named.items()))
        raise ConfigError(f"the adapters name different base models: {shown}. Name one: --model")
    return next(iter(named), None)


def tokenizer_folder(weights: Sequence[Weights]) -> str | None:
    """The first folder among these that has the tokenizer it was trained with; None if none has."""
    folders = [each.path for each in weights if each.kind != "model"]
    return next((path for path in folders if (Path(path) / TOKENIZER_CONFIG).is_file()), None)


def other_tokenizers(weights: Sequence[Weights]) -> list[str]:
    """The names of those whose tokenizer files differ from those of `tokenizer_folder`."""
    chosen = tokenizer_folder(weights)
    trained = [each for each in weights if (Path(each.path) / TOKENIZER_CONFIG).is_file()]
    trained = [each for each in trained if each.kind != "model"]
    marks = {each.name: _content(Path(each.path), TOKENIZER_FILES) for each in trained}
    first = next((marks[each.name] for each in trained if each.path == chosen), None)
    return [name for name, mark in marks.items() if mark != first]


def fingerprint(weights: Weights, settings: Mapping[str, Any]) -> str:
    """Return what names the weights' content, so that a result is found again only for the same.

    An adapter's files are read. Of a whole model the names, sizes and times of its files count, as
    reading gigabytes would take longer than scoring; of a hub id only the id.
    """
    content = hashlib.sha256()
    if weights.kind == "adapter":
        content.update(_content(Path(weights.path), (ADAPTER_CONFIG, *ADAPTER_FILES)))
    if weights.kind != "checkpoint":
        name, options = source(settings)
        content.update(json.dumps([_looks(name), options]).encode())
    else:
        content.update(json.dumps(_looks(weights.path)).encode())
    return content.hexdigest()[:16]


def _numbered(folders: Sequence[Path], sure: bool) -> list[Weights]:
    """Folders with their steps, where every name holds one and they differ; else as given.

    `sure` says that they must be adapters.
    """
    steps = [saved_step(folder) for folder in folders]
    stepped = None not in steps and len(set(steps)) == len(steps)
    times = Counter(folder.resolve().name for folder in folders)
    found = []
    for place, (folder, step) in enumerate(zip(folders, steps, strict=True), start=1):
        name = folder.resolve().name
        is_adapter = sure or (folder / ADAPTER_CONFIG).is_file()
        found.append(
            Weights(
                name=name if times[name] == 1 else str(folder),
                step=(step or 0) if stepped else place,
                kind="adapter" if is_adapter else "checkpoint",
                path=str(folder),
                stepped=stepped,
            )
        )
    return sorted(found, key=lambda each: each.step)


def _base_named_by(weights: Weights) -> Iterator[str]:
    if weights.kind != "adapter" or weights.problem:
        return
    try:
        config = json.loads((Path(weights.path) / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except ValueError:
        return  # loading it will say so
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if isinstance(name, str) and name:
        yield name


def _content(folder: Path, names: Sequence[str]) -> bytes:
    """A hash of the bytes of these files of a folder, as far as they are there."""
    content = hashlib.sha256()
    for path in _files(folder, names):
        with path.open("rb") as file:
            content.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return content.digest()


def _looks(name: str) -> object:
    """Names, sizes and times of a folder's files, or the name of what is no folder."""
    if not Path(name).is_dir():
        return name
    facts = [(path.name, path.stat()) for path in _files(Path(name), WEIGHT_FILES)]
    return [(file, stat.st_size, stat.st_mtime_ns) for file, stat in facts]


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def _here(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Found: {(', '.join(names[:SHOWN]) or 'nothing') + more}"
