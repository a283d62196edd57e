"""heldout: the truth about a fine-tuning run, from a fixed held-out set and the step itself.

The public names, each imported when it is first asked for. The read side works without torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from heldout.errors import HeldoutError

if TYPE_CHECKING:
    from heldout.adapters.huggingface import Monitor
    from heldout.derive.patterns import PatternTracker, get_default_patterns
    from heldout.derive.smart_alerts import generate_smart_alerts
    from heldout.evals.evaluate import FixedEvalSet
    from heldout.evals.options import EvalOptions
    from heldout.notebook import show
    from heldout.signals.entropy import compute_token_entropy
    from heldout.signals.lora import capture_lora_initial_state, compute_lora_deltas
    from heldout.views.notify.options import NotifyOptions
    from heldout.views.status import StatusWriter

__version__ = version("heldout")

__all__ = [
    "EvalOptions",
    "FixedEvalSet",
    "HeldoutError",
    "Monitor",
    "NotifyOptions",
    "PatternTracker",
    "StatusWriter",
    "__version__",
    "capture_lora_initial_state",
    "compute_lora_deltas",
    "compute_token_entropy",
    "generate_smart_alerts",
    "get_default_patterns",
    "show",
]

_WHEN_USED = {
    "EvalOptions": "heldout.evals.options",
    "FixedEvalSet": "heldout.evals.evaluate",
    "Monitor": "heldout.adapters.huggingface",
    "NotifyOptions": "heldout.views.notify.options",
    "PatternTracker": "heldout.derive.patterns",
    "StatusWriter": "heldout.views.status",
    "capture_lora_initial_state": "heldout.signals.lora",
    "compute_lora_deltas": "heldout.signals.lora",
    "compute_token_entropy": "heldout.signals.entropy",
    "generate_smart_alerts": "heldout.derive.smart_alerts",
    "get_default_patterns": "heldout.derive.patterns",
    "show": "heldout.notebook",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: most need torch, and none should slow `import heldout`."""
    if name not in _WHEN_USED:
        raise AttributeError(f"module 'heldout' has no attribute {name!r}")
    try:
        return getattr(import_module(_WHEN_USED[name]), name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "heldout":
            raise
        raise ModuleNotFoundError(
            f"heldout.{name} needs {error.name}. Install it with: pip install 'heldout[train]'",
            name=error.name,
        ) from error
