"""Does impact predict what the loss loses when an adapter is removed, and do norms?

    python benchmarks/lora/ablation.py [--steps 120] [--rows 16] [--seeds 1] [--out ablation.json]
    python benchmarks/lora/ablation.py --model tiny --steps 24      # seconds, to see it work

Trains SmolLM2-135M-Instruct with LoRA as the demo does: eight rows a step, none of them twice in up
to 206 steps. Afterwards the adapter of each module, and then of each layer, is switched off by
itself, and the rise of the mean CE of response tokens is measured on fixed rows of the training set
and of the held-out set. Shown is Spearman's rho of each score with that rise, with a bootstrap 95 %
interval over modules or layers. "Within a kind" is the median over q, k, v, o, gate, up and down of
rho between the modules of one kind: what is left when a score only tells those apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from scipy.stats import rankdata, spearmanr
from torch import Tensor, nn
from training import SCORES, Trained, settings_of, train

from heldout.evals.fixed_set import Example
from heldout.evals.neutral import neutral
from heldout.signals.adapters import LowRank

RESAMPLES = 2000
BATCH = 4
SETS = {"train": "training loss", "heldout": "held-out CE"}
RISE = "rise_of_training_loss"
TITLES = SCORES | {RISE: "(the rise of the training loss itself)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One padded batch, and the inputs of every layer while no adapter is off."""

    ids_BT: Tensor
    mask_BT: Tensor
    is_target_BT: Tensor
    inputs: list[Tensor]


class Sample:
    """Fixed rows and the model's CE on them, computed from the first layer that changed on."""

    def __init__(self, model: Any, examples: Sequence[Example]) -> None:
        self.causal = model.get_base_model()
        self.body, self.layers = self.causal.model, self.causal.model.layers
        ordered = sorted(examples, key=lambda example: example.length)
        self.batches = [self._batch(ordered[i : i + BATCH]) for i in range(0, len(ordered), BATCH)]

    def ce(self, first_layer: int = 0) -> float:
        """Return the mean CE of response tokens; layers before `first_layer` must be as they were."""
        total, count = 0.0, 0
        self.body.layers = nn.ModuleList(self.layers[first_layer:])
        try:
            for rows in self.batches:
                hidden_BTD = self._forward(inputs_embeds=rows.inputs[first_layer], rows=rows)
                logits_NV = self.causal.lm_head(hidden_BTD[:, :-1][rows.is_target_BT])
                targets_N = rows.ids_BT[:, 1:][rows.is_target_BT]
                total += float(nn.functional.cross_entropy(logits_NV, targets_N, reduction="sum"))
                count += len(targets_N)
        finally:
            self.body.layers = self.layers
        return total / count

    def _batch(self, examples: Sequence[Example]) -> Rows:
        shape = len(examples), max(example.length for example in examples)
        ids_BT, mask_BT = (torch.zeros(shape, dtype=torch.long) for _ in range(2))
        is_target_BT = torch.zeros(shape, dtype=torch.bool)
        for i, example in enumerate(examples):
            ids_BT[i, : example.length] = torch.tensor(example.prompt_ids + example.response_ids)
            mask_BT[i, : example.length] = 1
            is_target_BT[i, len(example.prompt_ids) : example.length] = True
        inputs: list[Tensor] = []
        rows = Rows(ids_BT=ids_BT, mask_BT=mask_BT, is_target_BT=is_target_BT[:, 1:], inputs=inputs)
        keep: Callable[..., None] = lambda _module, given: inputs.append(given[0])  # noqa: E731
        hooks = [layer.register_forward_pre_hook(keep) for layer in self.layers]
        self._forward(input_ids=ids_BT, rows=rows)
        for hook in hooks:
            hook.remove()
        return rows

    def _forward(self, *, rows: Rows, **given: Tensor) -> Tensor:
        out = self.body(**given, attention_mask=rows.mask_BT, use_cache=False)
        return out.last_hidden_state


@contextmanager
def switched_off(found: Sequence[LowRank]) -> Iterator[None]:
    """Set the scaling of some adapters to 0, and back."""
    before = [dict(each.module.scaling) for each in found]
    for each in found:
        each.module.scaling.update(dict.fromkeys(each.adapters, 0.0))
    try:
        yield
    finally:
        for each, scaling in zip(found, before, strict=True):
            each.module.scaling.update(scaling)


def ablate(trained: Trained) -> dict[str, Any]:
    """Measure the rise of each set's CE by module and by layer."""
    by_layer: dict[int, list[LowRank]] = {}
    for each in trained.found:
        by_layer.setdefault(each.place.layer, []).append(each)
    examples = {"train": trained.train_examples, "heldout": trained.heldout_examples}
    found: dict[str, Any] = {"ce": {}, "ce_without": {}, "modules": {}, "layers": {}}
    with neutral(trained.model):
        for name, rows in examples.items():
            sample = Sample(trained.model, rows)
            intact = found["ce"][name] = sample.ce()
            modules = found["modules"][name] = {}
            layers = found["layers"][name] = {}
            for layer, members in by_layer.items():
                for each in members:
                    with switched_off([each]):
                        modules[each.name] = sample.ce(layer) - intact
                with switched_off(members):
                    layers[layer] = sample.ce(layer) - intact
            with switched_off(trained.found):
                found["ce_without"][name] = sample.ce()
    return found


def correlations(trained: Trained, ablated: Mapping[str, Any]) -> dict[str, Any]:
    """Return rho, its interval, and rho within a kind: by unit, set and score."""
    table: dict[str, Any] = {}
    scores = {"modules": trained.modules, "layers": trained.layers}
    kinds = {each.name: each.place.leaf for each in trained.found}
    for unit, by_score in scores.items():
        table[unit] = {}
        for set_name, rises in ablated[unit].items():
            keys = list(rises)
            rise = np.array([rises[key] for key in keys])
            row = table[unit][set_name] = {}
            for score, values in (by_score | {RISE: ablated[unit]["train"]}).items():
                if score == RISE and set_name == "train":
                    continue
                x = np.array([values[key] for key in keys])
                row[score] = {"rho": rho(x, rise), "interval": interval(x, rise)}
                if unit == "modules":
                    row[score]["within"] = within(x, rise, [kinds[key] for key in keys])
    return table


def rho(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(x, y).statistic)


def within(x: np.ndarray, y: np.ndarray, kinds: Sequence[str]) -> float:
    """Return the median over kinds of rho between the modules of one kind."""
    kind = np.array(kinds)
    return median(rho(x[kind == each], y[kind == each]) for each in set(kinds))


def interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the 2.5 and 97.5 % quantiles of rho over resampled pairs."""
    chosen = np.random.default_rng(0).integers(len(x), size=(RESAMPLES, len(x)))
    a, b = (rankdata(values[chosen], axis=1) for values in (x, y))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    with np.errstate(invalid="ignore"):
        found = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def show(table: Mapping[str, Any]) -> str:
    """Lay one run's numbers out for a terminal."""
    lines = []
    for unit, by_set in table.items():
        kinds = f"{'within a kind':>25}" if unit == "modules" else ""
        for set_name, row in by_set.items():
            title = f"{unit}, rise of {SETS[set_name]}"
            lines.append(f"{title:42} {'rho':>6}  95 %{kinds}")
            for score, cell in row.items():
                low, high = cell["interval"]
                kind = f"{cell['within']:14.2f}" if kinds else ""
                lines.append(
                    f"  {TITLES[score]:40} {cell['rho']:6.2f}  {low:5.2f} to {high:5.2f}{kind}"
                )
    return "\n".join(lines)


def spread(tables: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the median and the range of rho over seeds."""
    lines = []
    for unit, by_set in tables[0].items():
        for set_name, row in by_set.items():
            lines.append(f"{unit}, rise of {SETS[set_name]}, over {len(tables)} seeds")
            for score in row:
                rhos = [each[unit][set_name][score]["rho"] for each in tables]
                lines.append(
                    f"  {TITLES[score]:40} {median(rhos):6.2f}  {min(rhos):5.2f} to {max(rhos):5.2f}"
                )
    return "\n".join(lines)


def run(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train once and ablate."""
    began = time.perf_counter()
    trained = train(given.model, settings_of(given.steps, seed), given.rows)
    trained_at = time.perf_counter()
    ablated = ablate(trained)
    return {
        "seed": seed,
        "training_seconds": trained_at - began,
        "ablation_seconds": time.perf_counter() - trained_at,
        "scores": {"modules": trained.modules, "layers": trained.layers},
        "rises": ablated,
        "rho": correlations(trained, ablated),
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("smollm2", "tiny"), default="smollm2")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rows", type=int, default=16, help="rows of each set to ablate on")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs, with seeds from 0")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write everything measured as JSON")
    return parser.parse_args()


def main() -> None:
    given = options()
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    runs: list[dict[str, Any]] = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        runs.append(run(given, seed))
        if given.out:
            given.out.write_text(json.dumps(runs))
        last, ce, without = runs[-1], runs[-1]["rises"]["ce"], runs[-1]["rises"]["ce_without"]
        print(
            f"\nseed {seed}: {given.steps} steps in {last['training_seconds']:.0f} s, "
            f"{given.rows} rows of each set ablated in {last['ablation_seconds']:.0f} s"
        )
        for name, title in SETS.items():
            print(f"{title} {ce[name]:.4f}, with every adapter off {without[name]:.4f}")
        print(show(last["rho"]), flush=True)
    if len(runs) > 1:
        print("\n" + spread([each["rho"] for each in runs]))


if __name__ == "__main__":
    main()
