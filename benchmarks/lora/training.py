"""Train adapters as the demo does, and collect what could say which of them matter."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor
from transformers import TrainerCallback, set_seed
from trl import SFTTrainer

from heldout import config
from heldout.evals.fixed_set import Example, load
from heldout.signals.adapters import LowRank, adapted
from heldout.signals.each.lora_layers import EVERY
from heldout.signals.impact import Impact
from heldout.signals.lora import ModuleReading, capture_lora_initial_state, layers_of, read_modules
from heldout.train.arguments import complete, lora_config, training_arguments
from heldout.train.data import as_dataset, load_rows
from heldout.train.model import load_model
from heldout.train.tokens import rendered, tokens_of, training_renderer

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import tiny

EXAMPLES = Path(__file__).parents[2] / "examples"
SCORES = {
    "impact": f"impact, as shown: every {EVERY} steps",
    "impact_every_step": "impact, mean over every step",
    "gradient": "mean gradient norm of B",
    "norm": "||dW||",
    "relative": "||dW|| / ||W0||, as shown: movement",
    "naive": "||A-A0|| + ||B-B0||",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model after training, samples of rows, and each score by module name and by layer."""

    model: Any
    found: Sequence[LowRank]
    train_examples: Sequence[Example]
    heldout_examples: Sequence[Example]
    modules: dict[str, dict[str, float]]
    layers: dict[str, dict[int, float]]


class EveryStep(Impact):
    """The product's impact, but a plain mean over all steps."""

    def _average(self, name: str, value: float) -> None:
        mass, weight = self._means.get(name, (0.0, 0.0))
        self._means[name] = mass + value, weight + 1


class Collector(TrainerCallback):
    """Follow the adapters as the monitor does, and keep what the other scores need."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.found = adapted(kwargs["model"])
        self.start = capture_lora_initial_state(kwargs["model"])
        self.first = [[p.detach().clone() for p in each.parameters()] for each in self.found]
        self.impact, self.every_step = Impact(), EveryStep()
        for impact in (self.impact, self.every_step):
            impact.begin(self.found, clipping_is_seen=True)
        self.every_step.armed = True
        self.gradients = dict.fromkeys((each.name for each in self.found), 0.0)
        self.num_steps = 0

    @torch.no_grad()
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step + 1
        if step % EVERY == 0:
            self.impact.sample(self.found)
        self.impact.armed = (step + 1) % EVERY == 0
        squares = self.every_step.sample(self.found)
        clipped = sum(_size(p.grad) ** 2 for each in self.found for p in each.parameters())
        unclip = (sum(squares.values()) / clipped) ** 0.5
        for each in self.found:
            self.gradients[each.name] += sum(_size(p.grad) for p in each.zero_side()) * unclip
        self.num_steps += 1

    def scores(self) -> tuple[dict[str, dict[str, float]], dict[str, dict[int, float]]]:
        """Return each score by module and by layer, the layer's as the product sums them up."""
        readings, plain = (read_modules(self.found, self.start) for _ in range(2))
        for reading, every in zip(readings, plain, strict=True):
            self.impact.tell(reading)
            self.every_step.tell(every)
        moved = {
            each.name: sum(
                _size(now.detach() - before)
                for now, before in zip(each.parameters(), first, strict=True)
            )
            for each, first in zip(self.found, self.first, strict=True)
        }
        gradients = {name: total / self.num_steps for name, total in self.gradients.items()}
        modules = {
            "impact": {x.name: x.impact for x in readings},
            "impact_every_step": {x.name: x.impact for x in plain},
            "gradient": gradients,
            "norm": {x.name: x.square**0.5 for x in readings},
            "relative": {x.name: x.relative for x in readings},
            "naive": moved,
        }
        shown, shown_plain = layers_of(readings), layers_of(plain)
        layers = {
            "impact": {x.layer: x.impact for x in shown},
            "impact_every_step": {x.layer: x.impact for x in shown_plain},
            "gradient": _by_layer(readings, gradients, power=2),
            "norm": {x.layer: x.delta_norm for x in shown},
            "relative": {x.layer: x.relative for x in shown},
            "naive": _by_layer(readings, moved, power=1),
        }
        return modules, layers


def settings_of(steps: int, seed: int) -> dict[str, Any]:
    """Return the demo's settings, with its share of warm-up."""
    given = [f"train.steps={steps}", f"train.warmup_steps={steps // 12}", f"train.seed={seed}"]
    settings = complete(config.load(EXAMPLES / "demo.yaml", given))
    extra = {"save_strategy": "no", "use_cpu": True, "logging_steps": 10}
    return settings | {"train.extra": extra}


def train(name: str, settings: Mapping[str, Any], num_rows: int) -> Trained:
    """Train LoRA on every linear layer of the demo's model, or of a tiny one; on the CPU."""
    if name == "tiny":
        model, tokenizer = tiny.model(), tiny.tokenizer()
    else:
        model, tokenizer = load_model(settings)
    set_seed(settings["train.seed"])
    rows = load_rows(EXAMPLES / settings["data.train"]).rows
    collector = Collector()
    with tempfile.TemporaryDirectory() as folder:
        args = training_arguments(settings, Path(folder))
        renderer = training_renderer(tokenizer, args, {})
        trainer = SFTTrainer(
            model=get_peft_model(model, lora_config(settings)),
            args=args,
            train_dataset=as_dataset(tokens_of(rendered(rows, renderer)[0], renderer, args)),
            processing_class=tokenizer,
            callbacks=[collector],
        )
        trainer.train()
    longest = settings["train.max_length"]
    sets = [
        load(EXAMPLES / settings[key], tokenizer, num_rows, max_tokens=longest).examples
        for key in ("data.train", "eval.data")
    ]
    modules, layers = collector.scores()
    return Trained(
        model=trainer.model,
        found=collector.found,
        train_examples=sets[0],
        heldout_examples=sets[1],
        modules=modules,
        layers=layers,
    )


def _by_layer(
    readings: Sequence[ModuleReading], values: Mapping[str, float], power: int
) -> dict[int, float]:
    sums: dict[int, float] = {}
    for reading in readings:
        layer = reading.place.layer
        sums[layer] = sums.get(layer, 0.0) + values[reading.name] ** power
    return {layer: total ** (1 / power) for layer, total in sums.items()}


def _size(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))
