"""What `heldout check` found, as plain facts for the terminal and for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from heldout.records import Data, EvalSet, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a training row, all of whose tokens are trained or none."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One training row as the model gets it."""

    place: str
    tokens: int
    label_tokens: int
    spans: list[Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A field of the data, and how far it was used."""

    name: str
    rows: int
    """Rows that have it."""
    used: int
    """Rows that were made of it, among others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the run will take; None where that is not known."""

    eval_examples: int = 0
    eval_tokens: int = 0
    """Tokens of one evaluation's forward passes, prompts included; decoding comes on top."""
    evaluations: int | None = None
    eval_seconds: float | None = None
    """One evaluation, from timing `timed` examples."""
    timed: int = 0
    checkpoint_bytes: int | None = None
    checkpoints: int | None = None
    """Most checkpoints on disk at one time."""
    free_bytes: int | None = None

    @property
    def disk_bytes(self) -> int | None:
        """What the checkpoints will take together."""
        if self.checkpoint_bytes is None or self.checkpoints is None:
            return None
        return self.checkpoint_bytes * self.checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Everything that was looked at before training."""

    data: Data
    held_out: EvalSet | None = None
    findings: list[Verdict] = field(default_factory=list)
    """Worst first."""
    not_checked: list[Verdict] = field(default_factory=list)
    estimate: Estimate = field(default_factory=Estimate)
    examples: list[Shown] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    """The tokens that end an answer, as text."""
    template: bool | None = None
    """Whether the tokenizer has a chat template; None without a tokenizer."""
    fields: list[Used] = field(default_factory=list)
    """The fields of the training rows."""
    held_out_fields: list[Used] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """One sentence a training line that is left out."""
