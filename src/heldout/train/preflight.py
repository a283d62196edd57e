"""Look through the data before the first step: what is wrong, what it will cost, what is trained.

What needs no tokenizer is looked for in the files alone. The rules in `heldout.verdicts.rules.data_*`
judge the facts, here and again in the run's journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from heldout.config import nested
from heldout.derive.preflight import Estimate, Preflight, Shown, Span, Used
from heldout.errors import DataError, EmptySet, HeldoutError, ModelError
from heldout.evals.embeddings import embeddings_of, without_embedding
from heldout.evals.fixed_set import FixedSet, most_tokens
from heldout.evals.marks import Marks, written_in
from heldout.evals.options import EvalOptions
from heldout.evals.overlap import repeated, shared
from heldout.evals.rendering import Renderer
from heldout.evals.rows import Field, Keys, Reading, Row, Source, unused
from heldout.evals.training_rows import IGNORED, Tally, TokenFacts, evenly_spaced
from heldout.records import Data, EvalSet, Level, Run, Verdict
from heldout.train.arguments import complete, lora_config, training_arguments
from heldout.train.data import load_rows
from heldout.train.estimate import (
    checkpoint_bytes,
    evaluation_steps,
    free_bytes,
    most_checkpoints,
    timed,
    tokens_in,
)
from heldout.train.model import load_config, load_tokenizer, load_weights
from heldout.train.tokens import (
    Text,
    Tokens,
    made_otherwise,
    rendered,
    sentences,
    tokens_of,
    training_renderer,
)
from heldout.verdicts.judge import Judge, all_rules
from heldout.verdicts.life import ACTIVE, LEVELS

log = logging.getLogger("heldout")

NO_MODEL = "no model is named (--model): tokens, lengths, labels, end tokens and templates were not looked at"
EXAMPLES = 3
ENOUGH = 0.9
"""Share of the free space that checkpoints may take before a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """Both sets as read, and what they are to be read with; no tokenizer where no model is named."""

    rows: Sequence[Row]
    """The training rows that can be used."""
    left_out: Sequence[str] = ()
    """A sentence for each training line that cannot be read."""
    fields: Sequence[Field] = ()
    """The fields of the training rows."""
    held_out_fields: Sequence[Field] = ()
    renderer: Renderer | None = None
    texts: Sequence[Text] = ()
    """The rows that can be rendered, as training writes them."""
    refused: Sequence[tuple[Row, HeldoutError]] = ()
    """The rows that cannot, each with the reason."""
    tokenizer: Any = None
    config: Any = None
    held_out: Sequence[Row] = ()
    fixed: FixedSet | None = None
    about: EvalSet | None = None

    @classmethod
    def of(cls, reading: Reading) -> Sets:
        """The training set as read, alone."""
        return cls(rows=reading.rows, left_out=reading.left_out, fields=reading.fields)

    def shown_to(self, tokenizer: Any, config: Any, renderer: Renderer) -> Sets:
        """The same as this tokenizer renders the training rows, for a model of this config."""
        texts, refused = rendered(self.rows, renderer)
        return replace(
            self,
            tokenizer=tokenizer,
            config=config,
            renderer=renderer,
            texts=texts,
            refused=refused,
        )

    def load(
        self, options: EvalOptions, source: Source | Reading, most: int, rows: Iterable[Row] = ()
    ) -> FixedSet:
        """The held-out set, rendered as training is; raises what `fixed_set.load` raises."""
        template = self.renderer.style.training_template if self.renderer else None
        return options.load(source, self.tokenizer, self.config, most, rows, template)

    def compared_with(self, fixed: FixedSet) -> Sets:
        """The same with this held-out set."""
        rows = [example.row for example in fixed.examples]
        return replace(self, held_out=rows, fixed=fixed, about=fixed.about)


def check(settings: Mapping[str, Any], time_it: bool = False, sized: bool = True) -> Preflight:
    """Read both sets as `settings` say and look through them; nothing is trained.

    `model.name` and `eval.data` may be None. `time_it` loads the weights to time an evaluation.
    `sized` says that the settings are those of a run, so that its evaluations and checkpoints count.
    Raises `DataError` if a file cannot be read at all, `ModelError` if the model cannot be loaded.
    """
    settings = complete(settings)
    keys = Keys(
        prompt=settings["data.prompt_key"], response=settings["data.response_key"], section="data"
    )
    sets = Sets.of(load_rows(settings["data.train"], keys))
    if settings["model.name"]:
        tokenizer, args = load_tokenizer(settings), training_arguments(settings, Path())
        renderer = training_renderer(tokenizer, args, settings["data.template_kwargs"])
        sets = sets.shown_to(tokenizer, load_config(settings), renderer)
    sets = _with_held_out(settings, sets)
    found = look(settings, sets, sized)
    if time_it and sets.fixed:
        model = load_weights(settings)
        options = EvalOptions.of(settings)
        estimate = timed(found.estimate, model, sets.tokenizer, sets.fixed, options)
        found = replace(found, estimate=estimate)
    return found


def before_training(settings: Mapping[str, Any], sets: Sets) -> Data | None:
    """Look through the data of a run; raises `DataError` with what is wrong if it must not start.

    Returns the facts for the journal; None where the SFTTrainer makes the rows in a way of its own, so
    that they are looked at when it has made them. A failure of the check itself stops nothing.
    """
    try:
        found = look(settings, sets)
    except DataError:
        raise
    except Exception:
        log.warning("heldout: the check of the data failed; training goes on", exc_info=True)
        return None
    grave = [each for each in found.findings if each.level in ("error", "critical")]
    if grave:
        said = "\n".join(f"{each.rule}: {each.message}\n  {each.action}" for each in grave)
        hint = "heldout check shows more. To train all the same: check.data: false"
        raise DataError(
            f"{settings['data.train']}: not trained, the check found errors.\n{said}\n{hint}"
        )
    return found.data if found.data.looked_at else None


def look(settings: Mapping[str, Any], sets: Sets, sized: bool = True) -> Preflight:
    """Gather the facts of both sets and judge them."""
    texts = _texts(sets, settings["data.train"])
    facts, examples, remarks = _tokens(settings, sets)
    data = Data(
        time=time.time(),
        path=str(settings["data.train"]),
        rows=len(sets.rows) - sum(isinstance(error, DataError) for _, error in sets.refused),
        looked_at=facts.looked_at if facts else 0,
        tokens=facts.tokens if facts else 0,
        label_tokens=facts.label_tokens if facts else 0,
        longest=facts.longest if facts else 0,
        max_length=facts.max_length if facts else settings["train.max_length"],
        context=most_tokens(sets.config) if sets.config is not None else None,
        held_out=len(sets.held_out),
        found=texts.found() | (facts.found() if facts else {}),
        strange=facts.strange if facts else "",
        opening=_opening(sets),
        beyond=_beyond(facts, sets.tokenizer) if facts else "",
        remarks=remarks,
    )
    estimate = _estimate(settings, sets, sized)
    findings, not_checked = _judged(settings, data, sets.about)
    findings += _on_disk(estimate, data.time)
    findings += _on_fields(sets, data.time)
    findings.sort(key=lambda found: -LEVELS.index(found.level))
    marks, tokenizer = facts.marks if facts else None, sets.tokenizer
    ends = sorted(marks.ends) if marks else []
    return Preflight(
        data=data,
        held_out=sets.about,
        findings=findings,
        not_checked=not_checked,
        estimate=estimate,
        examples=examples,
        ends=[str(token) for token in tokenizer.convert_ids_to_tokens(ends)] if ends else [],
        template=bool(tokenizer.chat_template) if tokenizer is not None else None,
        left_out=[*sets.left_out, *sentences(sets.refused)],
        fields=_used(sets.fields),
        held_out_fields=_used(sets.held_out_fields),
    )


def _used(fields: Sequence[Field]) -> list[Used]:
    return [Used(name=each.name, rows=each.rows, used=each.used) for each in fields]


def _on_fields(sets: Sets, now: float) -> list[Verdict]:
    """A warning for fields that usually belong to what is asked or said, and are not used."""
    found = []
    for scope, fields in (("train", sets.fields), ("held-out", sets.held_out_fields)):
        text = unused(fields)
        if text:
            found.append(
                Verdict(
                    time=now,
                    step=0,
                    rule="data-fields",
                    state="open",
                    level="warning",
                    scope=scope,
                    message=f"The {scope} rows have {text}",
                    action="If a model needs them to answer, put them into the prompt, or name the "
                    "prompt's field so that docs/data.md's rules use them; else leave them.",
                    evidence={each.name: each.rows - each.used for each in fields if each.asks},
                )
            )
    return found


def _with_held_out(settings: Mapping[str, Any], sets: Sets) -> Sets:
    """Read the held-out set, as examples where there is a tokenizer; a set of nothing is a finding."""
    path = settings["eval.data"]
    if not path:
        return sets
    options = EvalOptions.of(settings)
    most = settings["eval.max_samples"]
    reading = options.read(path)
    sets = replace(sets, held_out_fields=reading.fields)
    if sets.tokenizer is None:
        rows, skipped = reading.rows, reading.left_out
        about = EvalSet(path=reading.name, hash="", n=len(rows), skipped=skipped)
        return replace(sets, held_out=rows, about=about)
    try:
        fixed = sets.load(options, reading, most, sets.rows)
    except EmptySet as error:
        about = EvalSet(path=str(path), hash="", n=0, skipped=[str(error)])
        return replace(sets, about=about)
    return sets.compared_with(fixed)


def _texts(sets: Sets, path: str | Path) -> Tally:
    """What the texts show without their tokens."""
    tally = Tally()
    tally.looked_for("unusable", "duplicate")
    for sentence in sets.left_out:
        tally.add("unusable", _line_in(sentence, str(path)))
    for row, earlier in repeated(sets.rows):
        tally.add("duplicate", row.line, earlier.line)
    if sets.held_out:
        tally.looked_for("leaked", "leaked_prompt")
    for row, answered, asked in shared(sets.held_out, sets.rows):
        for i in dict.fromkeys(answered or asked):
            kind = "leaked" if answered else "leaked_prompt"
            tally.add(kind, row.line, sets.held_out[i].line)
    if sets.tokenizer is not None:
        tally.looked_for("no_template")
    for row, error in sets.refused:
        tally.add("no_template" if isinstance(error, ModelError) else "unusable", row.line)
    return tally


def _opening(sets: Sets) -> str:
    """What the held-out prompts end with."""
    if sets.fixed is None or sets.tokenizer is None:
        return ""
    return str(sets.tokenizer.decode(list(sets.fixed.examples[0].opening)))


def _line_in(sentence: str, path: str) -> int:
    """The line that a sentence of `read_rows` begins with: `file:line: what is wrong`."""
    return int(sentence.removeprefix(f"{path}:").split(":", 1)[0])


def _tokens(
    settings: Mapping[str, Any], sets: Sets
) -> tuple[TokenFacts | None, list[Shown], list[str]]:
    """The facts of the rows' tokens, some rows to show, and what could not be looked at."""
    if sets.renderer is None:
        return None, [], [NO_MODEL]
    rows = sets.texts
    args = training_arguments(settings, Path(settings["output.runs"]))
    otherwise = made_otherwise(args)
    if otherwise:
        text = f"train.extra.{otherwise} makes other rows: they are looked at when training starts"
        return None, [], [text]
    indices = evenly_spaced(len(rows), settings["check.rows"])
    marks = Marks.of(sets.tokenizer)
    held_out = sets.fixed.examples if sets.fixed else ()
    openings = [each.opening for each in held_out]
    facts = TokenFacts(
        marks, args.max_length, openings=openings, embeddings=embeddings_of(sets.config)
    )
    shown = {indices[i] for i in evenly_spaced(len(indices), EXAMPLES)}
    examples = []
    chosen = [rows[i] for i in indices]
    for i, tokens in zip(indices, tokens_of(chosen, sets.renderer, args), strict=True):
        strange = _strange(tokens.row, sets.tokenizer, marks)
        facts.add(tokens.row.line, tokens.ids, tokens.labels, tokens.length, strange)
        if i in shown:
            examples.append(_shown(tokens, sets.tokenizer))
    few = f"tokens were looked at in {len(indices):,} of {len(rows):,} rows, evenly spaced (check.rows)"
    return facts, examples, [few] if len(indices) < len(rows) else []


def _beyond(facts: TokenFacts, tokenizer: Any) -> str:
    """The first token of the training rows without an embedding, in words; "" where all have one."""
    ids = [] if facts.beyond is None else [facts.beyond]
    return without_embedding(ids, facts.embeddings, tokenizer)


def _strange(row: Row, tokenizer: Any, marks: Marks) -> str:
    """What a row holds of another chat template than the tokenizer's own, once; "" for nothing."""
    texts = [message["content"] for message in row.messages]
    if tokenizer.chat_template:
        return marks.misfit or written_in(texts)
    return marks.strange_in(" ".join(texts))


def _shown(tokens: Tokens, tokenizer: Any) -> Shown:
    """A row in pieces that are trained and pieces that are not."""
    trained = tokens.labels != IGNORED
    trained[:1] = False  # nothing predicts the first token
    borders = [
        0,
        *(i for i in range(1, len(trained)) if trained[i] != trained[i - 1]),
        len(trained),
    ]
    return Shown(
        place=tokens.row.place,
        tokens=len(tokens.ids),
        label_tokens=int(trained.sum()),
        spans=[
            Span(text=tokenizer.decode(tokens.ids[a:b].tolist()), trained=bool(trained[a]))
            for a, b in pairwise(borders)
            if a < b
        ],
    )


def _judged(
    settings: Mapping[str, Any], data: Data, about: EvalSet | None
) -> tuple[list[Verdict], list[Verdict]]:
    """What the rules about data find, and those that could not look."""
    judge = Judge([rule for rule in all_rules() if Data in rule.on])
    alerts = nested(settings)["alerts"]
    run = Run(
        id="check",
        time=data.time,
        model=settings["model.name"] or "",
        total_steps=settings["train.steps"],
        eval_set=about,
        config={"alerts": {**alerts, "rules": []}},
    )
    judge.feed(run)
    judge.feed(data)
    last = list(judge.history.alerts.values())
    found = [verdict for verdict in last if verdict.state in ACTIVE]
    return found, [verdict for verdict in last if verdict.state in ("no-data", "error")]


def _estimate(settings: Mapping[str, Any], sets: Sets, sized: bool) -> Estimate:
    tokens = tokens_in(sets.fixed.examples) if sets.fixed else 0
    estimate = Estimate(eval_examples=len(sets.held_out), eval_tokens=tokens)
    if not sized:
        return estimate
    size = None
    if sets.config is not None:
        size = checkpoint_bytes(settings, sets.config, lora_config(settings), sets.tokenizer)
    return replace(
        estimate,
        evaluations=len(evaluation_steps(settings)),
        checkpoint_bytes=size,
        checkpoints=most_checkpoints(settings),
        free_bytes=free_bytes(settings),
    )


def _on_disk(estimate: Estimate, now: float) -> list[Verdict]:
    """Whether the checkpoints fit on the disk."""
    need, free = estimate.disk_bytes, estimate.free_bytes
    if need is None or free is None or need <= ENOUGH * free:
        return []
    level: Level = "warning" if need <= free else "error"
    text = f"{estimate.checkpoints} checkpoints need about {need / 1e9:.1f} GB, free are {free / 1e9:.1f}"
    return [
        Verdict(
            step=0,
            time=now,
            rule="disk-space",
            state="open",
            level=level,
            message=text,
            action="Keep fewer (train.keep), save less often (train.save_every), or free some space.",
            evidence={"need_bytes": need, "free_bytes": free},
        )
    ]
