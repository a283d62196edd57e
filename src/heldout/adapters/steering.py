"""What a decision does to a Trainer: keeps its checkpoint on disk and, if asked, loads or stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transformers import TrainerState, TrainingArguments

from heldout.records import Decision


class Steering:
    """Acts through the Trainer's own state, so that it deletes and loads as it always does.

    `keep` keeps the recommended checkpoint from deletion by `save_total_limit`; `load_best` puts it
    into the model after training. Where the Trainer chooses a best model itself
    (`metric_for_best_model`), that choice stands.
    """

    def __init__(self, keep: bool, load_best: bool) -> None:
        self._keep, self._load_best = keep, load_best
        self.acting = False
        """Whether a recommended checkpoint matters to the Trainer."""
        self._loading = False

    def begin(self, args: TrainingArguments) -> Iterator[str]:
        """Training starts; says what is asked for and cannot be done."""
        if self._loading:  # of a training that did not come to its end
            args.load_best_model_at_end = False
        chosen = args.metric_for_best_model is not None or args.load_best_model_at_end
        several = args.world_size > 1
        deleting = self._keep and bool(args.save_total_limit)
        self._loading = self._load_best and not chosen and not several
        self.acting = self._loading or (deleting and not chosen)
        if self._loading:
            args.load_best_model_at_end = True
        if chosen and (deleting or self._load_best):
            yield (
                f"the Trainer chooses the best model itself (metric_for_best_model="
                f"{args.metric_for_best_model!r}): heldout neither keeps nor loads another"
            )
        elif several and self._load_best:
            yield "the recommended checkpoint is not loaded in a run of several processes: load it"

    def follow(self, state: TrainerState, output: Path, decision: Decision | None) -> None:
        """Make the recommended checkpoint, if it is on disk, the Trainer's best model."""
        if self.acting and decision and decision.checkpoint:
            folder = output / decision.checkpoint
            if folder.is_dir():
                state.best_model_checkpoint = str(folder)

    def release(self, state: TrainerState) -> None:
        """The last step is made: with `save_total_limit=1` the Trainer would now delete all but the best.

        It does so to leave what it loads; where nothing is loaded the last checkpoint stays too.
        """
        if self.acting and not self._loading:
            state.best_model_checkpoint = None

    def end(self, args: TrainingArguments, state: TrainerState) -> str:
        """Training is over; returns the name of the checkpoint that was loaded, or ""."""
        if not self._loading:
            return ""
        args.load_best_model_at_end = self._loading = False
        return Path(state.best_model_checkpoint).name if state.best_model_checkpoint else ""
