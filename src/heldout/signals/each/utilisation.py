"""How much of what the devices could compute goes into the model.

Legend: B sequences, T positions, N weights that take part in a matrix product, E experts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from heldout.records import Metric
from heldout.signals.moment import Batch, Moment, Number, Signal, Start, Sums, Values
from heldout.signals.peaks import accelerators, peak_flops

WINDOW = 20
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""What configs call the number of experts in a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """FLOPs that one training step needs: `token` for each token, `pair` for each two of a sequence.

    `problem` says why they are not known; both are 0 then.
    """

    token: float = 0.0
    pair: float = 0.0
    problem: str = ""


class Utilisation(Signal):
    """Model FLOPs utilisation (MFU): FLOPs the step needs, over what the devices do at their peak.

    Chowdhery et al., PaLM, 2022, appendix B. A token needs 2N FLOPs forward, 2N backward through the
    activations and two for each trained weight: 6N in full training, about 4N with LoRA. Weights
    below the first trained one need no backward pass. Embedding look-ups need none at all; the output
    layer does, also where it shares the embedding's weights; of E experts a token needs its own.
    Attention needs 12 x layers x width x T more a token, as in PaLM: causal masks and sliding windows
    are not discounted. Recomputed activations count nothing, and neither does padding: T is a
    sequence's own length, so each adds its square. A single row without a mask is several sequences
    of unknown lengths (padding-free batches), and so are rows under a mask of more than two
    dimensions: their attention is left out.

    The peak is that of bfloat16, whatever the run computes in. Evaluation, saving and the monitor's
    own work are not in the time.
    """

    metrics = (
        Metric(
            name="utilisation/mfu",
            title="Model FLOPs utilisation",
            unit="",
            direction="higher",
            help="Share of the devices' dense bfloat16 peak that the model's own FLOPs reach, "
            f"over the last {WINDOW} steps.",
            source="PaLM, appendix B; peaks from data sheets",
            cost="one division more",
        ),
        Metric(
            name="utilisation/model_flops",
            title="Model FLOP/s",
            unit="FLOP/s",
            direction="higher",
            help="FLOPs a second that training the model needs, recomputation and padding aside, "
            f"over the last {WINDOW} steps.",
            source="PaLM, appendix B",
            cost="two sums over the rows of a micro-batch, sent with the others",
        ),
    )
    width: ClassVar[int] = 2

    def __init__(self) -> None:
        self._sums = Sums(self.width)
        self._work = Work()
        self._peak = 0.0
        self._no_peak = ""
        self._flops = self._seconds = 0.0
        self._marks = deque([(0.0, 0.0)], maxlen=WINDOW + 1)

    def begin(self, start: Start) -> None:
        """Count the model's weights, and look up what its devices can do."""
        self._work = work(start.model)
        names = _device_names(start.model)
        peaks = [peak_flops(name) or 0.0 for name in names]
        self._peak = start.ranks * sum(peaks) if all(peaks) else 0.0
        self._no_peak = "" if self._peak else f"no peak FLOP/s is known of {' and '.join(names)}"

    def forward(self, batch: Batch) -> None:
        """Count tokens, and pairs of tokens of one sequence."""
        if self._work.problem:
            return
        lengths_B, mask, ids = batch.lengths_B, batch.attention_mask_BT, batch.input_ids_BT
        if isinstance(lengths_B, Tensor):
            as_floats_B = lengths_B.float()  # there is no dot product of integers on CUDA
            self._sums.add(as_floats_B.sum(), torch.dot(as_floats_B, as_floats_B))
        elif lengths_B is not None:
            self._sums.add(sum(lengths_B), sum([length * length for length in lengths_B]))
        elif ids is not None:
            known = mask is None and ids.dim() == 2 and len(ids) > 1
            pairs = ids.numel() * ids.shape[-1] if known else 0
            self._sums.add(float(ids.numel()), float(pairs))

    def collect(self) -> Sequence[Number]:
        """This step's tokens and pairs."""
        return self._sums.take()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record the FLOP/s and, where the peak is known, their share of it."""
        if not numbers:
            return {}
        tokens, pairs = numbers
        self._flops += tokens * self._work.token + pairs * self._work.pair
        self._seconds += moment.seconds
        self._marks.append((self._flops, self._seconds))
        flops, seconds = self._marks[0]
        if self._seconds <= seconds:
            return {}
        rate = (self._flops - flops) / (self._seconds - seconds)
        values = {"utilisation/model_flops": rate}
        if self._peak:
            values["utilisation/mfu"] = rate / self._peak
        return values

    def missing(self) -> str:
        """A model whose FLOPs, or a device whose peak, is not known."""
        problem = self._work.problem or self._no_peak
        return f"no model FLOPs utilisation (MFU): {problem}" if problem else ""


def work(model: nn.Module) -> Work:
    """Count what training needs from the model's weights, its config, and what is trained."""
    config = next(
        (c for m in model.modules() if (c := getattr(m, "config", None)) is not None), None
    )
    if getattr(config, "is_encoder_decoder", False):
        return Work(problem="encoder and decoder see different numbers of tokens")
    if any(getattr(config, f"{kind}_config", None) for kind in ("vision", "audio")):
        return Work(problem="the model's parts see different numbers of tokens")
    share = _experts_used(config)
    has_experts = any("experts" in name.split(".") for name, _ in model.named_modules())
    if has_experts != (share < 1):
        return Work(problem="the config does not say how many experts a token uses")
    forward, backward, trained = _weights(model, share)
    layers, width = getattr(config, "num_hidden_layers", 0), _attention_width(config)
    reached = backward / forward if forward else 0.0
    return Work(
        token=2 * forward + 2 * backward + 2 * trained,
        pair=(4 + 8 * reached) * (layers or 0) * width,
    )


def _weights(model: nn.Module, experts_used: float) -> tuple[float, float, float]:
    """Weights in products by a token: all, those with a backward pass behind them, the trained.

    Relies on modules being registered in the order they run in. Weights packed into fewer numbers
    (4 bits) count by the shape of their layer; the originals of PEFT's `modules_to_save` do not run.
    """
    forward = backward = trained = 0.0
    reached = False
    for name, module in model.named_modules():
        path = name.split(".")
        if "original_module" in path:
            continue
        own = list(module.parameters(recurse=False))
        if not isinstance(module, nn.Embedding):
            share = experts_used if "experts" in path else 1.0
            size = share * _size(module, own)
            forward += size
            backward += size * reached
            trained += share * sum(p.numel() for p in own if p.dim() > 1 and p.requires_grad)
        reached = reached or any(p.requires_grad for p in own)
    return forward, backward, trained


def _size(module: nn.Module, own: Sequence[nn.Parameter]) -> int:
    shape = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if next(module.children(), None) is None and isinstance(shape[0], int):
        return shape[0] * int(shape[1] or 0)
    return sum(p.numel() for p in own if p.dim() > 1)


def _experts_used(config: Any) -> float:
    """The share of a layer's experts that a token goes through; 1 without experts."""
    experts = next((n for name in EXPERTS if (n := getattr(config, name, None))), 0)
    used = getattr(config, "num_experts_per_tok", None)
    return min(used / experts, 1.0) if experts and used else 1.0


def _attention_width(config: Any) -> int:
    """Heads times their width, which need not be the hidden size; 0 where the config is silent."""
    heads, head = getattr(config, "num_attention_heads", None), getattr(config, "head_dim", None)
    return heads * head if heads and head else getattr(config, "hidden_size", None) or 0


def _device_names(model: nn.Module) -> list[str]:
    """What each device of this process is called; its type where it has no other name."""
    devices = accelerators(model) or [torch.device("cpu")]
    return [torch.cuda.get_device_name(d) if d.type == "cuda" else d.type for d in devices]


SIGNAL = Utilisation
