"""How a fixed set is read, decoded and compared, in one place for every way in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast, get_args

from heldout.errors import ConfigError
from heldout.evals.calibration import Bins
from heldout.evals.embeddings import embeddings_of
from heldout.evals.fixed_set import MAX_SAMPLES, FixedSet, load, most_tokens
from heldout.evals.match import Match
from heldout.evals.rendering import PROMPTS, TRAINED, Style
from heldout.evals.rows import Keys, Reading, Row, Source, read


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """Options of an evaluation; `heldout settings` explains each under the same name (`eval.*`).

    Raises `ConfigError` if `extract` is no regular expression or `ece_bins` no known convention.
    """

    prompt_key: str | None = None
    response_key: str | None = None
    group_key: str | None = None
    turns: str = "last"
    max_tokens: int | None = None
    normalize_case: bool = False
    normalize_whitespace: bool = False
    extract: str | None = None
    max_new_tokens: int | None = None
    full_text: bool = False
    template_kwargs: Mapping[str, Any] | None = None
    prompt: str = TRAINED
    ece_bins: str = "guo"

    def __post_init__(self) -> None:
        _ = self.match, self.bins
        if self.prompt not in PROMPTS:
            raise ConfigError(f"prompt must be one of {PROMPTS}, found {self.prompt!r}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> EvalOptions:
        """The options among settings by dotted name (`eval.turns`).

        The chat template's arguments are those of the training rows where none are given.
        """
        chosen = {each.name: settings[f"eval.{each.name}"] for each in fields(cls)}
        if chosen["template_kwargs"] is None:
            chosen["template_kwargs"] = settings["data.template_kwargs"] or None
        return cls(**chosen)

    @property
    def match(self) -> Match:
        """When two texts are the same answer."""
        return Match(self.normalize_case, self.normalize_whitespace, self.extract)

    @property
    def bins(self) -> Bins:
        """The convention of the calibration bins."""
        for known in get_args(Bins):
            if self.ece_bins == known:
                return cast(Bins, known)
        raise ConfigError(f"ece_bins must be one of {get_args(Bins)}, found {self.ece_bins!r}")

    @property
    def keys(self) -> Keys:
        """Which fields hold what."""
        return Keys(prompt=self.prompt_key, response=self.response_key, group=self.group_key)

    def read(self, source: Source) -> Reading:
        """Read the rows of a set without a tokenizer; raises what `rows.read` raises."""
        return read(source, self.keys, self.turns)

    def load(
        self,
        source: Source | Reading,
        tokenizer: Any,
        model_config: Any = None,
        max_samples: int = MAX_SAMPLES,
        train_rows: Iterable[Row] = (),
        training_template: str | None = None,
    ) -> FixedSet:
        """Load a set for a model of this config; raises what `fixed_set.load` raises."""
        return load(
            source,
            tokenizer,
            max_samples,
            keys=self.keys,
            turns=self.turns,
            max_tokens=most_tokens(model_config, self.max_tokens),
            embeddings=embeddings_of(model_config),
            style=Style(
                template_kwargs=self.template_kwargs or {},
                training_template=training_template,
                prompt=self.prompt,
            ),
            train_rows=train_rows,
        )
