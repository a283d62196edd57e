"""Load a fixed held-out set: turn each row into token ids, name its content, compare it with training.

`heldout.evals.rows` says what a line may look like. A row that cannot be used is named with file,
line and reason, and the others still count; nothing is cut to fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from heldout.errors import EmptySet, HeldoutError, ModelError
from heldout.evals.embeddings import without_embedding
from heldout.evals.overlap import Overlap, content_id, digest, overlap
from heldout.evals.rendering import Renderer, Style
from heldout.evals.rows import DETECT, Keys, Reading, Row, Source, nothing_in, read, read_rows
from heldout.evals.thinking import Thinking
from heldout.records import EvalSet

__all__ = ["MAX_SAMPLES", "Example", "FixedSet", "Keys", "Row", "load", "read_rows"]

MAX_SAMPLES = 2000
ABSURD_LENGTH = 10**9
"""Tokenizers without a limit report one of about 1e30 as `model_max_length`."""
SHOWN = 3
"""Places named in a remark; the whole list stands in the record of the set."""
ENOUGH_GROUPS = 20
"""Below 20 to 50 clusters their standard errors are too small (Cameron & Miller 2015, section VI)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One held-out example as token ids; `response_ids` ends with the token that ends a turn.

    `id` names the content alone (messages and references), so that models with other tokenizers and
    chat templates compare on one file.
    """

    id: str
    row: Row
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    end: int | None = None
    """The token that ends the answer as its template does; None where it is the model's to know."""
    thinking: Thinking = field(default_factory=Thinking)
    """What the template puts in front of the answer, which texts are compared without."""
    opening: tuple[int, ...] = ()
    """The marks that the prompt ends with, in front of the answer; () where there are none."""
    unwritten: bool = False
    """Whether the chat template leaves out the reasoning that the answer comes with."""
    unlike: str = ""
    """How the prompt that is served differs from the one that is trained; "" where it does not."""

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together."""
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSet:
    """A loaded set and what it is."""

    examples: tuple[Example, ...]
    about: EvalSet


def load(
    source: Source | Reading,
    tokenizer: Any,
    max_samples: int = MAX_SAMPLES,
    *,
    keys: Keys = DETECT,
    turns: str = "last",
    max_tokens: int | None = None,
    embeddings: int | None = None,
    style: Style | None = None,
    train_rows: Iterable[Row] = (),
) -> FixedSet:
    """Load at most `max_samples` usable examples of `source`, evenly spread over it.

    Files are often sorted by topic, so the first ones would be a biased choice. `keys` and `turns`
    are those of `rows.read`, whose result may be given in place of the source. An example of more
    than `max_tokens` tokens (see `most_tokens`), or than the tokenizer says the model takes, is left
    out and counted, and so is one with a token beyond the model's `embeddings`. `train_rows` is what
    the model is trained on: what the set shares with it is remarked.

    Raises `DataError` if the source cannot be read, `EmptySet` if no row is usable (with the
    reasons; chat messages for a tokenizer without a chat template are one), and `ModelError` if there
    is no tokenizer, or if the model lacks an embedding for most rows.
    """
    if tokenizer is None:
        raise ModelError(
            "there is no tokenizer: pass processing_class to the Trainer, or "
            "heldout.Monitor(..., tokenizer=tokenizer)"
        )
    reading = source if isinstance(source, Reading) else read(source, keys, turns)
    skipped = list(reading.left_out)
    renderer = Renderer(tokenizer, style)
    examples: list[Example] = []
    seen: dict[str, Row] = {}
    too_long, unknown = 0, []
    for row in _spread(reading.rows, max_samples):
        try:
            example = _encode(row, renderer)
        except HeldoutError as error:
            skipped.append(f"{row.place}: {error}")
            continue
        long = _too_long(example, tokenizer, max_tokens)
        ids = (*example.prompt_ids, *example.response_ids)
        lacking = without_embedding(ids, embeddings, tokenizer)
        if example.id in seen:
            first = seen[example.id]
            turn = f" turn {first.turn}" if first.turn else ""
            skipped.append(f"{row.place}: the same example as line {first.line}{turn}")
        elif not example.prompt_ids:
            skipped.append(f"{row.place}: no token of a prompt is left in front of the answer")
        elif _says_nothing(example, tokenizer):
            skipped.append(f"{row.place}: the answer has no token before the one that ends it")
        elif lacking:
            unknown.append(f"{row.place}: {lacking}")
        elif long:
            skipped.append(f"{row.place}: {long}")
            too_long += 1
        else:
            seen[example.id] = row
            examples.append(example)
    if len(unknown) > len(examples):
        raise ModelError(f"{len(unknown)} of {len(unknown) + len(examples)} rows: {unknown[0]}")
    skipped += unknown
    if not examples:
        raise EmptySet(nothing_in(reading.name or "the rows given", skipped))
    unlike = [example.unlike for example in examples if example.unlike]
    shared = overlap((example.row for example in examples), train_rows)
    about = EvalSet(
        path=reading.name,
        hash=digest(sorted(example.id for example in examples)),
        n=len(examples),
        skipped=skipped,
        remarks=[*_remarks(examples, too_long, shared), *reading.remarks],
        too_long=too_long,
        overlap=shared.same + shared.other_answer,
        unlike=len(unlike),
        difference=next(iter(unlike), ""),
        prompt=renderer.style.prompt,
    )
    return FixedSet(examples=tuple(_independent(examples)), about=about)


def most_tokens(config: Any, max_tokens: int | None = None) -> int | None:
    """The most tokens an example may have for a model of this `config`; None where nothing says.

    That is the least of `max_tokens` and the positions the model was made for. A tokenizer does not
    know the latter: its own limit is often another or none.
    """
    text = getattr(config, "text_config", None) or config
    positions = getattr(text, "max_position_embeddings", None)
    made_for = positions if isinstance(positions, int) and positions > 0 else None
    return min((limit for limit in (made_for, max_tokens) if limit is not None), default=None)


def _remarks(examples: Sequence[Example], too_long: int, shared: Overlap) -> list[str]:
    """What a reader of the set's scores should know, one sentence each."""
    n, found = len(examples), []
    if too_long:
        found.append(
            f"{too_long} of {n + too_long} examples are longer than the model or eval.max_tokens "
            "allows: left out, not cut"
        )
    unwritten = sum(example.unwritten for example in examples)
    if unwritten:
        found.append(
            f"{unwritten} of {n} answers come with reasoning that the chat template does not write: it is "
            "neither trained nor scored. Use a template that writes it, or put it into the answer's text"
        )
    if shared.same:
        found.append(
            f"{len(shared.same)} of {n} examples are also in the training set, ignoring case and "
            f"whitespace: their scores show memory. {_some(shared.same)}"
        )
    if shared.other_answer:
        found.append(
            f"{len(shared.other_answer)} of {n} prompts are also in the training set with another "
            f"answer, ignoring case and whitespace. {_some(shared.other_answer)}"
        )
    return found + _on_groups(examples) + _on_rivals(examples)


def _on_groups(examples: Sequence[Example]) -> list[str]:
    """Whether the file's groups can carry intervals that take them as the independent units."""
    groups = {example.row.group for example in examples if example.row.group}
    whole = all(example.row.group for example in examples)
    if whole and len(groups) == 1:
        return [f"all examples are of one group, {min(groups)!r:.60}, so it says nothing: ignored"]
    if whole and len(groups) < ENOUGH_GROUPS:
        return [
            f"all examples are of only {len(groups)} groups, so intervals are rough; if what the "
            "data calls group or document_id is no shared text, rename the field"
        ]
    return []


def _independent(examples: list[Example]) -> list[Example]:
    """The examples without their group where all are of one: that separates nothing."""
    groups = {example.row.group for example in examples}
    if len(groups) > 1 or "" in groups:
        return examples
    return [replace(example, row=replace(example.row, group="")) for example in examples]


def _on_rivals(examples: Sequence[Example]) -> list[str]:
    """Examples with one prompt and different golden responses: greedy decoding gives one answer."""
    first: dict[str, Example] = {}
    found = []
    for example in examples:
        asked = digest(example.row.messages[:-1])
        if asked in first:
            found.append(f"{example.row.place} has the prompt of {first[asked].row.place}.")
        first.setdefault(asked, example)
    if not found:
        return []
    return [
        f"{len(found)} of {len(examples)} examples repeat the prompt of another one with another "
        "golden response, so both cannot be matched: give all accepted answers of a prompt as "
        f"'references' of one example. {_some(found)}"
    ]


def _some(sentences: Sequence[str]) -> str:
    more = len(sentences) - SHOWN
    tail = f"; and {more} more" if more > 0 else ""
    return "; ".join(sentence.rstrip(".") for sentence in sentences[:SHOWN]) + tail + "."


def _spread(rows: list[Row], most: int) -> list[Row]:
    if len(rows) <= most:
        return rows
    return [rows[i * len(rows) // most] for i in range(most)]


def _encode(row: Row, renderer: Renderer) -> Example:
    found = renderer.render(row)
    return Example(
        id=content_id(row),
        row=replace(row, template_kwargs=renderer.template_kwargs(row)),
        prompt_ids=found.prompt_ids,
        response_ids=found.answer_ids,
        end=found.end,
        thinking=found.thinking,
        opening=found.opening,
        unwritten=found.unwritten,
        unlike=found.unlike,
    )


def _says_nothing(example: Example, tokenizer: Any) -> bool:
    """Whether no text is left of the golden answer without the token that ends it and its thoughts."""
    said = [token for token in example.response_ids if token != example.end]
    text = str(tokenizer.decode(said, skip_special_tokens=False))
    return not example.thinking.off(text).strip()


def _too_long(example: Example, tokenizer: Any, max_tokens: int | None) -> str:
    """Why an example is too long; "" when it is not."""
    size = example.length
    limit = getattr(tokenizer, "model_max_length", None)
    if limit and limit < ABSURD_LENGTH and size > limit:
        return f"{size} tokens, the model takes {int(limit)}"
    if max_tokens is not None and size > max_tokens:
        return (
            f"{size} tokens, more than the limit of {max_tokens} "
            "(what the model takes, or eval.max_tokens; --max-tokens)"
        )
    return ""
