"""What kind of model is trained: what its labels are, and whether the fixed set can be scored with it.

Read off what every transformers model says of itself, `loss_type` and `config.is_encoder_decoder`; of
an adapted model, off the one inside. A model that says nothing is taken for a causal language model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CAUSAL = ("ForCausalLM", "ForConditionalGeneration")
"""What transformers calls the losses of models whose labels are the tokens that come next."""
TASKS = {
    "ForSequenceClassification": "classifies sequences",
    "ForTokenClassification": "classifies tokens",
    "ForQuestionAnswering": "marks answers in a text",
}
"""What models do whose labels are no tokens, by the name of their loss."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model; the defaults are a causal language model's."""

    what: str = ""
    """What the model is, as a sentence without its end."""
    tokens: bool = True
    """Whether its labels are tokens."""
    label_shift: int = 1
    """How many positions behind the one that predicts it a label stands."""
    scored: bool = True
    """Whether one forward pass over prompt and answer says what it would generate."""

    @property
    def unread(self) -> str:
        """Why its training rows say nothing by token; "" where a label stands behind each token."""
        if not self.tokens:
            return f"{self.what}, and its labels are no tokens"
        return "" if self.label_shift else f"{self.what}: its labels are not the row's next tokens"

    @property
    def scope(self) -> str:
        """One sentence on what is watched and what is not; "" where everything is."""
        if self.scored:
            return ""
        signals = "loss, entropy" if self.tokens else "loss"
        rest = "a fixed set is not scored and the training rows are not looked at"
        if not self.tokens:
            rest = "its labels are no tokens, so entropy and label tokens are not read, " + rest
        return (
            f"{self.what}: {signals}, speed, weights and every number that the Trainer logs are "
            f"watched; {rest}. The Trainer's own evaluation decides (eval_loss, or what "
            "metric_for_best_model names)."
        )


LANGUAGE_MODEL = Kind()


def kind_of(model: Any) -> Kind:
    """Tell a model's kind. Never raises: what a foreign model does not say is taken for the usual."""
    getter = getattr(model, "get_base_model", None)
    model = getter() if callable(getter) else model
    name, loss = type(model).__name__, getattr(model, "loss_type", None)
    config = getattr(model, "config", None)
    both = getattr(config, "is_encoder_decoder", False) is True
    if loss == "ForMaskedLM":
        return Kind(f"{name} fills in masked tokens", label_shift=0, scored=False)
    if isinstance(loss, str) and loss not in CAUSAL:
        task = TASKS.get(loss, f"is trained with another loss than a language model's ({loss})")
        if loss == "ForSequenceClassification" and getattr(config, "num_labels", None) == 1:
            task = "gives each sequence one number, as reward models do"
        return Kind(f"{name} {task}", tokens=False, label_shift=0, scored=False)
    if both:
        return Kind(f"{name} is an encoder-decoder", label_shift=0, scored=False)
    return LANGUAGE_MODEL
