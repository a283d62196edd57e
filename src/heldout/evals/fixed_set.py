"""Load a fixed held-out set: turn each row into token ids, name its content, compare it with training.

`heldout.evals.rows` says what a line may look like. A row that cannot be used is named with file,
line and reason, and the others still count; nothing is cut to fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heldout.errors import DataError, EmptySet, HeldoutError, ModelError
from heldout.evals.marks import MARK
from heldout.evals.overlap import Overlap, digest, overlap
from heldout.evals.rows import DETECT, Keys, Message, Row, read_rows
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
    as_trained: bool = True
    """False where training data shows the answer behind other text or tokens than these."""

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
    path: str | Path,
    tokenizer: Any,
    max_samples: int = MAX_SAMPLES,
    *,
    keys: Keys = DETECT,
    turns: str = "last",
    max_tokens: int | None = None,
    train_rows: Iterable[Row] = (),
) -> FixedSet:
    """Load at most `max_samples` usable examples of the JSONL file at `path`, evenly spread over it.

    Files are often sorted by topic, so the first ones would be a biased choice. `keys` and `turns`
    are those of `read_rows`. An example of more than `max_tokens` tokens (see `most_tokens`), or
    than the tokenizer says the model takes, is left out and counted. `train_rows` is what the model
    is trained on: what the set shares with it is remarked.

    Raises `DataError` if the file cannot be read, `EmptySet` if no line is usable (with the reason
    of each; chat messages for a tokenizer without a chat template are one), and `ModelError` if there
    is no tokenizer.
    """
    if tokenizer is None:
        raise ModelError(
            "there is no tokenizer: pass processing_class to the Trainer, or "
            "heldout.Monitor(..., tokenizer=tokenizer)"
        )
    rows, skipped = read_rows(path, keys, turns)
    examples: list[Example] = []
    seen: dict[str, Row] = {}
    too_long = 0
    for row in _spread(rows, max_samples):
        try:
            example = _encode(row, tokenizer)
        except HeldoutError as error:
            skipped.append(f"{row.place}: {error}")
            continue
        long = _too_long(example, tokenizer, max_tokens)
        if example.id in seen:
            first = seen[example.id]
            turn = f" turn {first.turn}" if first.turn else ""
            skipped.append(f"{row.place}: the same example as line {first.line}{turn}")
        elif not example.prompt_ids:
            skipped.append(f"{row.place}: the prompt is empty, nothing precedes the answer")
        elif _says_nothing(example, tokenizer):
            skipped.append(f"{row.place}: the answer has no token before the one that ends it")
        elif long:
            skipped.append(f"{row.place}: {long}")
            too_long += 1
        else:
            seen[example.id] = row
            examples.append(example)
    if not examples:
        raise EmptySet(f"{path}: no usable example. " + (" ".join(skipped[:5]) or "It is empty."))
    shared = overlap((example.row for example in examples), train_rows)
    about = EvalSet(
        path=str(path),
        hash=digest(sorted(example.id for example in examples)),
        n=len(examples),
        skipped=skipped,
        remarks=_remarks(examples, too_long, shared),
        too_long=too_long,
        overlap=shared.same + shared.other_answer,
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
    unlike = sum(not example.as_trained for example in examples)
    if unlike:
        found.append(
            f"{unlike} of {n} prompts open the answer otherwise than training data does "
            "(the chat template's generation prompt, or tokens that merge over the border)"
        )
    if too_long:
        found.append(
            f"{too_long} of {n + too_long} examples are longer than the model or eval.max_tokens "
            "allows: left out, not cut"
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
            "file calls group, source or document_id is no shared text, rename the field"
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


def _encode(row: Row, tokenizer: Any) -> Example:
    """Token ids by concatenation, since text tokenised jointly can merge over the border."""
    prompt, answer, behind, as_trained = _render(row, tokenizer)
    templated = _has_template(tokenizer)

    def ids(text: str, special: bool = False) -> list[int]:
        return list(tokenizer(text, add_special_tokens=special)["input_ids"])

    prompt_ids = ids(prompt, not templated)
    response_ids = ids(answer + behind)
    joint = ids(prompt + answer + behind, not templated)
    both = prompt_ids + response_ids
    return Example(
        id=digest([row.messages, sorted(row.references)]),
        row=row,
        prompt_ids=tuple(prompt_ids),
        response_ids=_ended(response_ids, ids(behind), tokenizer, templated),
        as_trained=as_trained and joint[: len(both)] == both,
    )


def _ended(ids: list[int], behind: list[int], tokenizer: Any, templated: bool) -> tuple[int, ...]:
    """Cut after the first token that ends a turn, which the template has put behind the answer.

    That need not be the tokenizer's EOS (Gemma's is `<eos>`, its turns end with `<end_of_turn>`).
    What templates put behind it is never generated. Plain text ends with EOS instead.
    """
    special = set(getattr(tokenizer, "all_special_ids", ()))
    ends = {tokenizer.eos_token_id, *[token for token in behind if token in special][:1]}
    for i, token in enumerate(ids):
        if token in ends:
            return tuple(ids[: i + 1])
    if templated or tokenizer.eos_token_id is None:
        return tuple(ids)
    return (*ids, tokenizer.eos_token_id)


def _render(row: Row, tokenizer: Any) -> tuple[str, str, str, bool]:
    """The prompt, the answer, what the template puts behind it, and whether they join up."""
    messages = list(row.messages)
    if not _has_template(tokenizer):
        if len(messages) == 2 and messages[0]["role"] == "user":
            return messages[0]["content"], messages[1]["content"], "", True
        raise ModelError(
            "it is a conversation, and the tokenizer has no chat template. Set "
            "tokenizer.chat_template, name an instruct model, or give prompt/response pairs."
        )

    def render(turns: list[Message], generate: bool = False) -> str:
        return str(
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generate)
        )

    try:
        prompt, whole = render(messages[:-1], generate=True), render(messages)
        for answer in (row.response, row.response.strip()):  # some templates strip it
            if whole.startswith(prompt + answer):
                return prompt, answer, whole[len(prompt + answer) :].rstrip(), True
        marked = render([*messages[:-1], {"role": "assistant", "content": MARK}])
    except Exception as error:  # a template is a program of its own and may refuse a role
        raise DataError(f"the chat template refuses it: {error}") from error
    return prompt, row.response, marked.rpartition(MARK)[2].rstrip(), False


def _has_template(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def _says_nothing(example: Example, tokenizer: Any) -> bool:
    """True where the golden answer is a special token and nothing else, so all of it would be masked."""
    special = getattr(tokenizer, "all_special_ids", ())
    return len(example.response_ids) == 1 and example.response_ids[0] in special


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
