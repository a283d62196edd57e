"""Every fact of a run is one small frozen record; this module is the whole vocabulary.

A journal is a sequence of these records, one JSON object a line, told apart by the field
`type`. Steps are optimizer steps (0 = before the first update), times are Unix seconds, and
cross-entropy and entropy are in nats.

JSON has no NaN, so `encode` writes the strings "NaN", "Infinity" and "-Infinity" wherever a
number is not finite, and `decode` turns them back into floats; Python's `float()` and
JavaScript's `Number()` read the same strings.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

SCHEMA = 1
"""Version of the journal and of status.json; raised when a reader of the old form would err."""

HEARTBEAT = "trainer-silent"
"""The one rule that viewers judge and not the trainer: its verdicts stand beside the journal."""

Level = Literal["info", "warning", "error", "critical"]
State = Literal["pending", "open", "escalated", "resolved", "closed", "no-data", "error"]
Action = Literal["continue", "stop", "roll-back", "resume", "look", "none"]
LayerState = Literal["ok", "frozen", "no-gradient", "stalled", "rounding", "blow-up"]
Direction = Literal["higher", "lower", "none"]


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """The parent of every fact; its subclass's lower-case name is the JSON field `type`."""


class EvalSet(msgspec.Struct, frozen=True, kw_only=True):
    """What the fixed set is: the hash names its content, so two runs compare only when it agrees."""

    path: str
    hash: str
    n: int
    skipped: list[str] = []
    """One sentence a line that could not be used, as `file:line: what is wrong`."""
    remarks: list[str] = []
    """What holds for the whole set and a reader of its scores should know."""
    too_long: int = 0
    """Examples left out because the model, or the limit asked for, takes fewer tokens."""
    overlap: list[str] = []
    """One sentence an example that the training set holds too, or whose prompt it holds."""
    unlike: int = 0
    """Examples whose answer is trained behind another prompt than it is served behind."""
    difference: str = ""
    """How the two prompts of the first of them differ."""
    prompt: str = "trained"
    """Which of the two is scored: trained or served."""


class Run(Record, frozen=True, kw_only=True):
    """A training process started: who, what, with which settings. The first record of a journal."""

    id: str
    time: float
    model: str
    step: int = 0
    """Where it starts: 0, or the step of the checkpoint it resumes from; later steps are superseded."""
    total_steps: int
    eval_set: EvalSet | None = None
    learning_rate: str = ""
    """The schedule by the Trainer's name: linear, cosine, constant, ..."""
    training: dict[str, Any] = {}
    """What rules ask of the training's settings, by the Trainer's names where it has them: learning_rate,
    warmup_steps, gradient_accumulation_steps, fp16, save_steps, eval_steps, logging_steps,
    metric_for_best_model, greater_is_better; best_metric, best_global_step, best_model_checkpoint as a log
    has them at its end; vocabulary (classes of the loss), adapters (whether only adapters are trained)."""
    source: str = ""
    """The kind of foreign log this was read from; empty where heldout recorded the run itself."""
    resume: str = ""
    """How to go on after an interruption, with `{checkpoint}` where the checkpoint's name belongs."""
    train_patterns: dict[str, int] = {}
    """Training rows by pattern, where the training set could be read as prompts."""
    config: dict[str, Any] = {}
    environment: dict[str, str] = {}
    host: str = ""
    pid: int = 0
    process: dict[str, str] = {}
    """What tells the process from every other whatever the clock says, where the system has it: boot (of
    the machine), start (in the clock's ticks since then), namespace (that `pid` is a number in)."""
    schema: int = SCHEMA


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a training set that share something: how many there are, and the first of them."""

    n: int
    rows: list[int]
    """Ascending, at most 1,000: lines of `Data.path` from 1 on, or where there is none rows from 0 on."""
    partners: list[int] = []
    """The row that each one repeats, or the line of the held-out set that it is found on."""


class Data(Record, frozen=True, kw_only=True):
    """What the training set was found to hold before the first step; rules judge it."""

    time: float
    path: str = ""
    """The file it was read from, where heldout read it."""
    rows: int
    looked_at: int
    """Rows whose tokens were looked at, evenly spaced."""
    tokens: int
    label_tokens: int
    """Tokens of those rows, padding aside, and those of them that the loss is computed on."""
    longest: int = 0
    """Tokens of the longest of those rows, before it is cut where that is known."""
    max_length: int | None = None
    """Tokens a row is cut at."""
    context: int | None = None
    """Tokens the model takes."""
    held_out: int = 0
    """Examples of the held-out set that the rows were compared with."""
    found: dict[str, Rows] = {}
    """Rows by what is wrong with them, counted among those looked at; a kind that was not looked for is
    absent. Of the tokens: at most one of empty, masked (no label), cut_away (no label is left after the
    cut), cut, no_end (no end token is trained), and double_bos, foreign_marks (marks of another chat template
    or of the same one twice), unmarked (an answer is trained without the tokenizer's marks of turns),
    opened_otherwise (no answer is trained behind what the held-out prompts end with) and plain_text (the
    same, of text without any mark that is trained as a whole), no_embedding (the model has none for a token).
    Of the texts: unusable (lines left out), no_template (conversations left out for lack of one), duplicate,
    leaked (prompt and answer are held out), leaked_prompt."""
    strange: str = ""
    """What the first row of foreign_marks holds, in words."""
    opening: str = ""
    """What the held-out prompts end with, in front of an answer, as text."""
    beyond: str = ""
    """The token without an embedding in the first row of no_embedding, and the remedy, in words."""
    remarks: list[str] = []
    """What could not be looked at, and why."""


class Metric(Record, frozen=True, kw_only=True):
    """What a number means. Written once a run, so nothing downstream imports torch to explain it."""

    name: str
    title: str
    unit: str
    direction: Direction
    help: str
    source: str
    cost: str = ""
    """What measuring it takes; empty where that is nothing beside the step's own bookkeeping."""


Step = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""An optimizer step that is kept in columns; beyond 2**53 floats cannot tell two of them apart."""


class Sample(Record, frozen=True, kw_only=True):
    """The scalars of one recorded optimizer step."""

    step: Step
    time: float
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """Samples that hold the same names, a column a name; the steps ascend."""

    names: tuple[str, ...]
    steps: array[int]
    columns: tuple[array[float], ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """Many samples of a journal that follow one another, as columns: how a reader passes them on.

    It stands for its samples in a fold; a journal never holds it. No step is below the one before, and
    tables that share a name share no step.
    """

    steps: array[int]
    """Of every sample, in the order of the journal."""
    times: array[float]
    tables: tuple[Table, ...]
    last: dict[str, float]
    """The values of the last sample."""

    @property
    def time(self) -> float:
        """The latest of the times."""
        latest = max(self.times)
        return latest if latest == latest else max((t for t in self.times if t == t), default=0.0)


class Item(Record, frozen=True, kw_only=True):
    """One held-out example at one evaluation."""

    step: int
    id: str
    """Content hash of the prompt and the golden response."""
    line: int = 0
    """Line of the set's file."""
    pattern: str
    bin: str
    """Length bin by golden response tokens, EOS included."""
    tokens: int
    correct: bool
    """String exact match: greedy decoding's text is an accepted answer after normalisation."""
    token_correct: bool
    """Greedy decoding gives the golden response token by token."""
    ce: float
    """Mean over the response tokens, nats."""
    entropy: float
    divergence: int | None
    """0-based response position of the first token greedy decoding would get wrong."""
    near_tie: bool = False
    """Whether the numerics of another batch or kernel could turn `token_correct` around."""
    text: str | None = None
    """What greedy decoding says where it diverges, up to where it no longer could be right."""
    group: str = ""
    """Examples of one group (turns of a conversation, questions on one text) are not independent."""


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """One bin of the reliability diagram: `confidence` and `accuracy` are means over `n` tokens."""

    n: int
    confidence: float
    accuracy: float


class EvalResult(Record, frozen=True, kw_only=True):
    """The fixed set scored at one step; its `Item`s stand just before it in the journal."""

    step: int
    time: float
    n: int
    correct: int
    em: float
    em_low: float
    em_high: float
    """String exact match and its Wilson 95 % interval."""
    token_em: float
    """Exact match token by token; never above `em` where golden answers end with an end token."""
    near_ties: int
    """Examples whose token exact match hangs on a gap within the arithmetic's own noise."""
    decoded: int
    """Examples that had to be decoded, because their text could still match."""
    ce: float
    ce_low: float
    ce_high: float
    """95 % interval of `ce`, with examples and not tokens as independent."""
    ce_by_example: float
    """Mean over examples of their mean cross-entropy, where `ce` is the mean over tokens."""
    entropy: float
    token_accuracy: float
    ece: float
    ece_low: float
    ece_high: float
    """95 % interval of `ece`, by resampling examples."""
    ece_null: float
    """What `ece` would be expected to show at these confidences if calibration were perfect."""
    ece_equal_mass: float
    """The same with ten bins of as many tokens each."""
    confidence_gap: float
    """Mean confidence less accuracy: above 0 is overconfident."""
    brier: float
    """Mean squared difference of confidence and being right, over tokens."""
    sequence_ece: float | None = None
    """ECE of whole answers, where all were decoded to their end."""
    tokens: int
    non_finite: int
    """Examples whose logits held a NaN or an infinity; they count as wrong."""
    seconds: float
    bins: list[Bin]
    """The reliability diagram: ten equal-width confidence bins (a, b]."""
    rechecked: int = 0
    """Examples answered again by the model's own `generate`, at the start of a run."""
    mismatched: list[str] = []
    """The ids of those for which it said something else than the one pass, near-ties left out."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of some adapted modules together; None where it could not be."""

    relative: float | None = None
    """Movement: ||dW||_F over the Frobenius norm of the same modules' frozen weights."""
    spectral: float | None = None
    """The largest singular value of any module's dW."""
    rank: float | None = None
    """Rank in use: (sum s^2)^2 / sum s^4 of dW's singular values, mean over modules."""
    rank_of: float | None = None
    """The rank they could use: r, and 2r for adapters that did not start at zero; mean."""
    speed: float | None = None
    """What one optimizer step changed, as `relative`."""
    impact: float | None = None
    """Dependence of the training loss: mean over steps of |<B, dL/dB>|, summed over those modules where it
    is defined (low-rank adapters that started at zero), nats."""
    impact_share: float | None = None
    """`impact` over its sum over all layers."""
    grad: float | None = None
    """Norm of the factors' gradients at the last sampled step, before clipping unless the note says so."""
    state: LayerState = "ok"
    """The worst state of any module."""


class Part(Reading, frozen=True, kw_only=True):
    """The adapted modules of one kind in one layer."""

    norm: float
    """||dW||_F: root of the sum of squares over modules."""


class Layer(Reading, frozen=True, kw_only=True):
    """How far one layer's adapters have moved: ||dW||_F by kind, None where nothing is adapted."""

    stack: str
    layer: int
    """Index in the stack; -1 for modules outside of any (embeddings, head)."""
    qkv: float | None = None
    o: float | None = None
    mlp: float | None = None
    other: float | None = None
    delta_norm: float
    """Frobenius norm over all the layer's adapted modules: sqrt of the sum of squares."""
    parts: dict[str, Part] = {}
    """The same by kind."""


class Layers(Record, frozen=True, kw_only=True):
    """A reading of every adapted layer; `note` says why when there is none."""

    step: int
    time: float
    layers: list[Layer]
    note: str = ""
    troubles: dict[str, LayerState] = {}
    """The modules whose state is not ok, by name."""


class Checkpoint(Record, frozen=True, kw_only=True):
    """The Trainer saved a checkpoint or, where `gone`, removed it again."""

    step: int
    time: float
    path: str
    gone: bool = False


class Verdict(Record, frozen=True, kw_only=True):
    """A rule's alert changed state. The last record of a (rule, scope) is its present state."""

    step: int
    time: float
    rule: str
    scope: str = ""
    """What the alert is about when a rule watches several things: a pattern, a layer; else empty."""
    state: State
    level: Level
    message: str
    action: str
    evidence: dict[str, Any] = {}
    ends: Literal["", "stop", "roll-back"] = ""
    """How the alert ends the run while it is open; empty where it advises."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do for the next run, with the numbers that say so."""

    topic: str
    message: str
    evidence: dict[str, Any] = {}


class Decision(Record, frozen=True, kw_only=True):
    """What to do with the run, judged after an evaluation or a change of the alerts."""

    step: int
    time: float
    action: Action
    checkpoint: str | None
    tied: list[str]
    reason: str
    evidence: dict[str, Any] = {}
    """The numbers in `reason`, and the steps saved or wasted."""
    advice: list[Advice] = []


class Note(Record, frozen=True, kw_only=True):
    """Something worth remembering that is no number: a resume, lost rows, a failure, the end."""

    step: int
    time: float
    topic: str
    text: str


AnyRecord = (
    Run
    | Data
    | Metric
    | Sample
    | Item
    | EvalResult
    | Layers
    | Checkpoint
    | Verdict
    | Decision
    | Note
)


def encode(value: Any) -> bytes:
    """Encode a record, or any JSON-like value, as strict JSON without a line break."""
    if type(value) is Sample and all(map(math.isfinite, value.values.values())):
        return _encoder.encode(value)  # written at every step
    plain = _strict(msgspec.to_builtins(value, enc_hook=_scalar))
    try:
        return _encoder.encode(plain)
    except UnicodeEncodeError:
        return _encoder.encode(_readable(plain))


def decode(line: bytes | str) -> AnyRecord:
    """Decode one line of a journal. Raises `msgspec.DecodeError` or its child `ValidationError`."""
    try:
        record: AnyRecord = _decoder.decode(line)
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deeply") from error
    return record


def _scalar(value: Any) -> Any:
    """A numpy or torch scalar as Python's own number, anything else as its text."""
    return value.item() if hasattr(value, "item") else str(value)


def _readable(value: Any) -> Any:
    """Replace what UTF-8 cannot hold: file names on Linux may be any bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def spelled(value: float) -> float | str:
    """A number as JSON holds it: itself, or one of the three strings where it is not finite."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return spelled(value)
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return value


_encoder = msgspec.json.Encoder(enc_hook=_scalar)
_decoder = msgspec.json.Decoder(AnyRecord, strict=False)
