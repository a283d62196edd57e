"""Every setting in one table: name, default, help. Files, the environment and keywords fill it.

A config is a YAML file of sections (`eval:` with `every: 20` sets `eval.every`). The environment
overrides the file (`HELDOUT_EVAL_EVERY=50`), and `--set eval.every=50` overrides both. The defaults
of `heldout.Monitor`'s keywords are the same ones, and the environment overrides them too.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from heldout.errors import ConfigError
from heldout.records import HEARTBEAT
from heldout.verdicts.custom import mistake_in_limit, mistakes_in
from heldout.verdicts.judge import all_rules

REQUIRED = object()
PREFIX = "HELDOUT_"
LAST_NUMBER = "last-number"
TURNS = ("last", "all")

Check = Callable[[str, Any], str]
"""Called with the name and a value of the right type; returns what is wrong with it, or ""."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default` is `REQUIRED` where there is none; `types` are the accepted ones."""

    name: str
    types: tuple[type, ...]
    default: Any
    help: str
    minimum: float = 1
    """The least accepted value of a number."""
    check: Check | None = None
    """What its values must satisfy besides."""
    secret: bool = False
    """Whether its value may hold a password: it is never shown, and not recorded with a run."""


def _s(
    name: str,
    types: type | tuple[type, ...],
    default: Any,
    text: str,
    minimum: float = 1,
    check: Check | None = None,
    secret: bool = False,
) -> Setting:
    kinds = types if isinstance(types, tuple) else (types,)
    return Setting(name, kinds, default, text, minimum, check, secret)


def one_of(*choices: str) -> Check:
    """A check that a value is one of `choices`."""

    def check(name: str, value: Any) -> str:
        if value in choices:
            return ""
        wanted = " or ".join(map(repr, choices))
        return f"{name} must be {wanted}, found {value!r}.{nearest(str(value), choices)}"

    return check


def extraction(name: str, value: Any) -> str:
    """What is wrong with a setting that finds the answer in a text; "" if nothing is."""
    if value is None or value == LAST_NUMBER:
        return ""
    try:
        groups = re.compile(value).groups
    except re.error as error:
        return f"{name} is no regular expression: {error}, found {value!r}"
    if groups <= 1:
        return ""
    remedy = "Write (?:...) for brackets that are not around the answer, as in '#### (.*)'."
    return f"{name} must have one group at most, found {groups} in {value!r}. {remedy}"


def size_or_auto(name: str, value: Any) -> str:
    """What is wrong with a size that may be left to heldout; "" if nothing is."""
    if value == "auto" or (_is_float(str(value)) and float(value) >= 0):
        return ""
    return f"{name} must be auto or a number from 0 on, such as 0.01, found {value!r}"


def named(name: str, value: Any) -> str:
    """What is wrong with a setting that names a field; "" if nothing is."""
    return f"{name} must name a field, or be null to detect it; found ''" if value == "" else ""


def thresholds(name: str, value: list[Any]) -> str:
    """What is wrong with a list of threshold rules; "" if nothing is."""
    wrong = []
    taken: list[Any] = [HEARTBEAT, *(rule.name for rule in all_rules())]
    for i, line in enumerate(value, 1):
        wrong += [f"{name}, rule {i}: {text}" for text in mistakes_in(line)]
        called = line.get("name") if isinstance(line, dict) else None
        if called is not None and called in taken:
            wrong.append(f"{name}, rule {i}: the name {called!r} is taken by another rule")
        taken.append(called)
    return "\n".join(wrong)


def rule_names(name: str, value: list[Any]) -> str:
    """What is wrong with a list of rules' names; "" if nothing is."""
    known = sorted(rule.name for rule in all_rules())
    strange = [each for each in value if each not in known]
    return "\n".join(
        f"{name}: no rule is called {each!r}.{nearest(str(each), known)}" for each in strange
    )


def limits(name: str, value: dict[str, Any]) -> str:
    """What is wrong with thresholds by rule; "" if nothing is."""
    wrong = [rule_names(name, list(value))]
    for rule in all_rules():
        changes = value.get(rule.name, {})
        if not isinstance(changes, dict):
            wrong.append(f"{name}: {rule.name} must name its limits, found {changes!r}")
            continue
        known = sorted(type(rule.limits).__dataclass_fields__)
        for key, number in changes.items():
            if key not in known:
                wrong.append(f"{name}: {rule.name} has no limit {key!r}.{nearest(str(key), known)}")
            elif mistake := mistake_in_limit(rule, key, number):
                wrong.append(f"{name}: {rule.name}.{key} {mistake}")
    return "\n".join(filter(None, wrong))


NONE = type(None)

SETTINGS: tuple[Setting, ...] = (
    _s("model.name", str, REQUIRED, "Hub id, local folder, or package:NAME (one GGUF file in it)"),
    _s("model.gguf_file", (str, NONE), None, "GGUF file inside model.name, where it is one"),
    _s("model.dtype", str, "float32", "float32, bfloat16, float16 or auto"),
    _s(
        "data.train",
        str,
        REQUIRED,
        "Training set, JSONL (or JSON, CSV, TSV, Parquet); see docs/data.md",
    ),
    _s(
        "data.prompt_key",
        (str, NONE),
        None,
        "Field of data.train with the prompt; default: detected",
        check=named,
    ),
    _s(
        "data.response_key",
        (str, NONE),
        None,
        "Field of data.train with the response; default: detected",
        check=named,
    ),
    _s(
        "data.template_kwargs",
        dict,
        {},
        "Arguments of the chat template for all training rows, such as {enable_thinking: false}; a row's "
        "own chat_template_kwargs come first",
    ),
    _s("eval.data", str, REQUIRED, "Fixed held-out set, in a file of the same kinds"),
    _s("eval.every", int, 500, "Optimizer steps between evaluations"),
    _s("eval.at_start", bool, True, "Also evaluate before the first step"),
    _s("eval.max_samples", int, 2000, "Examples to take from eval.data at most"),
    _s(
        "eval.margin",
        (float, str),
        "auto",
        "Change in exact match too small to matter (plateau); auto: what the set can show",
        0,
        check=size_or_auto,
    ),
    _s(
        "eval.reference",
        (int, NONE),
        None,
        "Step to compare every evaluation with; default: the last four with up to twelve before",
        0,
    ),
    _s("eval.patterns", dict, {}, "Pattern name to regular expression; empty means the defaults"),
    _s(
        "eval.prompt_key",
        (str, NONE),
        None,
        "Field of eval.data with the prompt; default: detected",
        check=named,
    ),
    _s(
        "eval.response_key",
        (str, NONE),
        None,
        "Field of eval.data with the golden response; default: detected",
        check=named,
    ),
    _s(
        "eval.group_key",
        (str, NONE),
        None,
        "Field of eval.data that names the text several rows share, which are then not independent; "
        "default: group or document_id",
        check=named,
    ),
    _s(
        "eval.turns",
        str,
        "last",
        "Turns of a conversation to score: last, or all (each with what was said before it)",
        check=one_of(*TURNS),
    ),
    _s(
        "eval.template_kwargs",
        (dict, NONE),
        None,
        "The same for all held-out rows; default: data.template_kwargs",
    ),
    _s(
        "eval.prompt",
        str,
        "trained",
        "The prompt that is scored where a chat template trains behind another one than it serves: "
        "trained or served",
        check=one_of("trained", "served"),
    ),
    _s(
        "eval.max_tokens",
        (int, NONE),
        None,
        "Longest example in tokens; longer ones are left out and counted; default: what the model "
        "takes",
    ),
    _s("eval.normalize_case", bool, False, "Ignore letter case when texts are compared"),
    _s(
        "eval.normalize_whitespace",
        bool,
        False,
        "Take any run of whitespace as one space when texts are compared",
    ),
    _s(
        "eval.extract",
        (str, NONE),
        None,
        "Compare only this part of both texts: a regular expression with one group, or last-number",
        check=extraction,
    ),
    _s(
        "eval.max_new_tokens",
        (int, NONE),
        None,
        "Tokens after which an answer is cut; default: twice the golden answer's and 32 more",
    ),
    _s(
        "eval.full_text",
        bool,
        False,
        "Decode wrong answers to their end, for their whole text and calibration of whole answers",
    ),
    _s(
        "eval.ece_bins",
        str,
        "guo",
        "Bins of the calibration error: guo, ten bins (a, b], or torchmetrics, [a, b) and one for 1.0",
        check=one_of("guo", "torchmetrics"),
    ),
    _s("lora.r", int, 16, "Rank of the adapters"),
    _s("lora.alpha", (int, float), 32, "Scaling numerator: dW = alpha / r * B A", 0),
    _s("lora.dropout", float, 0.0, "Dropout on the adapters' input", 0),
    _s("lora.target_modules", (str, list), "all-linear", "Which modules get adapters"),
    _s("lora.enabled", bool, True, "False trains every weight"),
    _s("train.steps", int, 1000, "Optimizer steps"),
    _s("train.batch_size", int, 8, "Sequences in a micro-batch"),
    _s("train.accumulation", int, 1, "Micro-batches in an optimizer step"),
    _s("train.learning_rate", float, 2e-4, "Peak learning rate", 0),
    _s("train.schedule", str, "linear", "Learning rate schedule, by the Trainer's name"),
    _s("train.warmup_steps", int, 0, "Steps of linear warm-up", 0),
    _s("train.weight_decay", float, 0.0, "AdamW weight decay", 0),
    _s("train.max_length", int, 1024, "Longest sequence in tokens; longer ones are cut"),
    _s("train.bf16", bool, False, "Run the forward pass in bfloat16 (autocast)"),
    _s("train.seed", int, 42, "Seed of data order and adapter initialisation", 0),
    _s("train.save_every", (int, NONE), None, "Steps between checkpoints; default eval.every"),
    _s("train.keep", (int, NONE), None, "Checkpoints kept on disk; default all"),
    _s("train.threads", (int, NONE), None, "CPU threads for torch; default torch's own choice"),
    _s("train.extra", dict, {}, "Further fields of TRL's SFTConfig, passed on as they are"),
    _s(
        "alerts.limits",
        dict,
        {},
        "Thresholds to change, by rule: {loss-spike: {ratio: 2}}; docs/rules.md lists them",
        check=limits,
    ),
    _s("alerts.off", list, [], "Rules not to judge by", check=rule_names),
    _s(
        "alerts.rules",
        list,
        [],
        "Your own thresholds: [{name: slow, metric: time/step, op: '>', value: 3, for: 20}]",
        check=thresholds,
    ),
    _s(
        "alerts.file",
        (str, NONE),
        None,
        "Python file of your own rules; relative to the config file",
    ),
    _s(
        "decision.may_stop", bool, False, "Stop the training when the decision is stop or roll-back"
    ),
    _s("decision.load_best", bool, False, "After training, load the checkpoint to keep"),
    _s(
        "decision.keep",
        bool,
        True,
        "Keep the recommended checkpoints from deletion by train.keep (save_total_limit)",
    ),
    _s(
        "notify.urls",
        list,
        [],
        "Where alerts are sent, as Apprise URLs; better in the environment, as they hold secrets",
        secret=True,
    ),
    _s(
        "notify.level",
        str,
        "warning",
        "Least level that is sent: info, warning, error or critical",
        check=one_of("info", "warning", "error", "critical"),
    ),
    _s(
        "notify.link",
        (str, NONE),
        None,
        "Address of the dashboard, put into each message",
        secret=True,
    ),
    _s("notify.dry_run", bool, False, "Print what would be sent instead of sending it"),
    _s("check.data", bool, True, "Look through the data before the first step, and stop on errors"),
    _s("check.rows", int, 20_000, "Training rows whose tokens are looked at, evenly spaced"),
    _s("signals.window", int, 300, "Steps that the streaming CE reaches back over", 1),
    _s("signals.every", int, 1, "Steps between transfers of the recorded numbers to the host", 1),
    _s("output.runs", str, "runs", "Folder of runs"),
    _s("output.run", (str, NONE), None, "Name of this run; default a time stamp"),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}


def default(name: str) -> Any:
    """The default of the setting called `name`."""
    return BY_NAME[name].default


def load(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read the config at `path`; returns every setting by its dotted name.

    `overrides` are `a.b=c` with `c` in YAML. Raises `ConfigError` naming the file, the key, the
    nearest valid key, and the accepted types; all mistakes are reported at once.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {_without_excerpt(error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as 'model:', found {tree!r:.40}")
    given = [(str(path), name, value) for name, value in _flatten(tree)]
    given += [(f"${key}", name, value) for key, name, value in _environment(os.environ)]
    given += [("--set", *_override(text)) for text in overrides]
    known = {_variable(setting.name) for setting in SETTINGS}
    strays = [key for key in os.environ if key.startswith(PREFIX) and key not in known]
    settings: dict[str, Any] = {s.name: s.default for s in SETTINGS}
    mistakes = [f"${key}: unknown variable.{nearest(key, sorted(known))}" for key in strays]
    for source, name, value in given:
        problem = _problem(name, value)
        if problem:
            mistakes.append(f"{source}: {problem}")
        else:
            settings[name] = _converted(name, value)
    missing = [name for name, value in settings.items() if value is REQUIRED]
    mistakes += [f"{path}: {name} is missing: {BY_NAME[name].help}" for name in missing]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return settings


def checked_alerts(alerts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `alerts` settings given as keywords; raises `ConfigError` with every mistake."""
    if "file" in alerts:
        raise ConfigError("alerts: name the file of your rules by rules=, and not here")
    mistakes = [_problem(f"alerts.{key}", value) for key, value in alerts.items()]
    if any(mistakes):
        raise ConfigError("\n".join(filter(None, mistakes)))
    return dict(alerts)


def in_environment(sections: Collection[str], defaults: bool = False) -> dict[str, Any]:
    """The settings of some sections that the environment gives, by dotted name; `defaults` adds the others'.

    Raises `ConfigError` with every mistake, variables of these sections without a setting among them.
    """
    of_these = {s.name: s.default for s in SETTINGS if s.name.split(".")[0] in sections}
    given = [each for each in _environment(os.environ) if each[1] in of_these]
    mistakes = [f"${key}: {text}" for key, name, x in given if (text := _problem(name, x))]
    known = {_variable(setting.name) for setting in SETTINGS}
    ours = tuple(_variable(f"{section}.") for section in sections)
    strays = [key for key in os.environ if key.startswith(ours) and key not in known]
    mistakes += [f"${key}: unknown variable.{nearest(key, sorted(known))}" for key in strays]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    found = {name: _converted(name, value) for _, name, value in given}
    return of_these | found if defaults else found


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as a tree of sections, without those that may hold a password."""
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        if BY_NAME[name].secret:
            continue
        section, key = name.split(".", 1)
        tree.setdefault(section, {})[key] = value
    return tree


def nearest(name: str, known: Sequence[str]) -> str:
    """A sentence naming the known names closest to `name`; "" when none is close."""
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _flatten(tree: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    flat = []
    for section, body in tree.items():
        if body is None and any(name.startswith(f"{section}.") for name in BY_NAME):
            continue
        if isinstance(body, dict) and str(section) not in BY_NAME:
            flat += [(f"{section}.{_word(key)}", value) for key, value in body.items()]
        else:
            flat.append((str(section), body))
    return flat


def _word(key: object) -> object:
    """A key as it was written: YAML 1.1 reads `off:` as false, and `alerts.off` is meant."""
    return "off" if key is False else key


def _environment(environ: Mapping[str, str]) -> list[tuple[str, str, Any]]:
    found = []
    for setting in SETTINGS:
        key = _variable(setting.name)
        if key in environ:
            found.append((key, setting.name, _yaml(f"${key}", environ[key])))
    return found


def _variable(name: str) -> str:
    return PREFIX + name.upper().replace(".", "_")


def _override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected name=value, as in --set eval.every=50")
    setting = BY_NAME.get(name.strip())
    shown = name if setting and setting.secret else text
    return name.strip(), _yaml(f"--set {shown}", value)


def _yaml(source: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        message = _without_excerpt(error)
        raise ConfigError(f"{source}: the value is not YAML: {message}") from None


def _without_excerpt(error: Exception) -> str:
    """What is wrong with a text and where; an excerpt of it could hold a password."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    place = error.problem_mark or error.context_mark
    where = f"line {place.line + 1}, column {place.column + 1}: " if place else ""
    return where + " ".join(filter(None, (error.context, error.problem)))


def _problem(name: str, value: Any) -> str:
    if name not in BY_NAME:
        return f"unknown key {name!r}.{nearest(name, list(BY_NAME))}"
    types = BY_NAME[name].types
    least = BY_NAME[name].minimum
    if _accepts(types, value):
        number = _converted(name, value)
        if isinstance(number, int | float) and not number >= least and bool not in types:
            return f"{name} must be at least {least:g}, found {value!r}"
        check = BY_NAME[name].check
        return check(name, value) if check else ""
    wanted = " or ".join("null" if each is NONE else each.__name__ for each in types)
    found = "a value" if BY_NAME[name].secret else repr(value)
    return f"{name} must be {wanted}, found {found} ({type(value).__name__})"


def _accepts(types: tuple[type, ...], value: Any) -> bool:
    if isinstance(value, bool):
        return bool in types
    if float in types and isinstance(value, str) and str not in types:
        return _is_float(value)
    return isinstance(value, types) or (float in types and isinstance(value, int))


def _converted(name: str, value: Any) -> Any:
    types = BY_NAME[name].types
    number = float in types and not isinstance(value, NONE | int) and _is_float(value)
    return float(value) if number else value


def _is_float(text: str | float) -> bool:
    """YAML 1.1 reads 2e-4 as text; a number is meant."""
    try:
        float(text)
    except ValueError:
        return False
    return True
