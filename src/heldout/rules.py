"""What users write rules of their own with, and the reader of the file that holds them.

    from heldout.rules import Finding, History, NoLimits, NotChecked, Rule

A rule of a user's is one of heldout's: the same life, the same alerts, notifications and page.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import yaml

from heldout.derive.history import History
from heldout.errors import ConfigError
from heldout.records import HEARTBEAT, EvalResult, Level, Record, Sample
from heldout.verdicts.judge import all_rules
from heldout.verdicts.rule import Ending, Ends, Finding, NoLimits, NotChecked, Rule

__all__ = [
    "Ends",
    "EvalResult",
    "Finding",
    "History",
    "NoLimits",
    "NotChecked",
    "Rule",
    "Sample",
    "load_rules",
    "user_rules",
]

CONSTANTS = ("RULE", "RULES")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def load_rules(path: Path, alerts: Mapping[str, Any] | None = None) -> list[Rule[Any]]:
    """Run the Python file at `path` and return its rules: the constant RULE, or the list RULES.

    `alerts` are the settings whose threshold lines have names too. Raises `ConfigError` naming the
    file, and the line of what Python refuses; all mistakes are reported at once.
    """
    module = _executed(path)
    given = [getattr(module, name) for name in CONSTANTS if hasattr(module, name)]
    if not given:
        names = [name for name in vars(module) if not name.startswith("_")]
        found = f" It defines {', '.join(names)}." if names else ""
        raise ConfigError(f"{path}: define RULE = Rule(...), or RULES as a list of them.{found}")
    rules = [
        rule for each in given for rule in (each if isinstance(each, list | tuple) else [each])
    ]
    if not rules:
        raise ConfigError(f"{path}: RULES is empty")
    return user_rules(rules, alerts, str(path))


def mistakes_in_file_of(config: Path, overrides: Sequence[str] = ()) -> list[str]:
    """What is wrong with the file of rules that a config names, where the config itself is wrong too.

    So `alerts.file` is looked for in what may hold anything, as `heldout.config.load` would find it:
    in the config, the environment and `overrides`, the last one winning.
    """
    try:
        tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        tree = None
    alerts = tree.get("alerts") if isinstance(tree, dict) else None
    alerts = alerts if isinstance(alerts, dict) else {}
    given = [text.partition("=") for text in overrides]
    named = [value for name, _, value in given if name.strip() == "alerts.file"]
    name = [alerts.get("file"), os.environ.get("HELDOUT_ALERTS_FILE"), *named]
    files = [each for each in name if each and isinstance(each, str)]
    lines = alerts.get("rules")
    try:
        if files:
            load_rules(
                config.parent / files[-1], {"rules": lines if isinstance(lines, list) else []}
            )
    except ConfigError as error:
        return str(error).splitlines()
    return []


def user_rules(
    rules: Iterable[Any], alerts: Mapping[str, Any] | None = None, source: str = "rules"
) -> list[Rule[Any]]:
    """Return `rules` where all of them can be judged by; raises `ConfigError` with every mistake."""
    found = list(rules)
    own = [rule.name for rule in all_rules()]
    lines = [
        line.get("name") for line in (alerts or {}).get("rules") or [] if isinstance(line, dict)
    ]
    taken = Counter([HEARTBEAT, *own, *(name for name in lines if isinstance(name, str))])
    names = {each.name for each in found if isinstance(each, Rule) and isinstance(each.name, str)}
    wrong = []
    for number, rule in enumerate(found, 1):
        if not isinstance(rule, Rule):
            wrong.append(
                f"{source}: rule {number} must be a heldout.rules.Rule, found {rule!r:.60}"
            )
            continue
        about = f"{source}: rule {number} ({rule.name!r})"
        wrong += [f"{about}: {text}" for text in _mistakes(rule, taken, names)]
        if isinstance(rule.name, str):
            taken[rule.name] += 1
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def _mistakes(rule: Rule[Any], taken: Mapping[str, int], names: set[str]) -> list[str]:
    """What is wrong with one rule; `taken` are the names before it and `names` those beside it."""
    wrong = []
    if not isinstance(rule.name, str) or not NAME.fullmatch(rule.name):
        wrong.append("its name must be small letters, digits and hyphens, as in 'loss-too-high'")
    elif taken.get(rule.name):
        wrong.append("the name is taken by another rule")
    if not callable(rule.check):
        wrong.append(f"check must be a function of (history, limits), found {rule.check!r}")
    elif not _takes_two(rule.check):
        wrong.append(
            f"check must take (history, limits), found {rule.check!r:.40} "
            f"with {inspect.signature(rule.check)}"
        )
    if not dataclasses.is_dataclass(rule.limits) or isinstance(rule.limits, type):
        wrong.append(
            f"limits must be an object of a dataclass, or NoLimits(), found {rule.limits!r:.60}"
        )
    if not isinstance(rule.on, tuple) or not rule.on or not all(map(_is_record, rule.on)):
        wrong.append(f"on must be a tuple of records such as (EvalResult,), found {rule.on!r}")
    if rule.ends is not None:
        wrong += _mistakes_in_ending(rule.ends)
    if not isinstance(rule.silenced_by, tuple):
        wrong.append(f"silenced_by must be a tuple of names, found {rule.silenced_by!r}")
    else:
        unknown = [name for name in rule.silenced_by if name not in {*taken, *names} - {rule.name}]
        wrong += [f"silenced_by names {name!r}, which is no other rule" for name in unknown]
    return wrong


def _mistakes_in_ending(ends: object) -> list[str]:
    if not isinstance(ends, Ends):
        return [f'ends must be an Ends such as Ends("stop", "error"), found {ends!r:.60}']
    wrong = []
    for name, value, kind in (("action", ends.action, Ending), ("level", ends.level, Level)):
        known = get_args(kind)
        if value not in known:
            close = difflib.get_close_matches(str(value), known, n=1)
            hint = f". Did you mean {close[0]!r}?" if close else ""
            wrong.append(f"ends: {name} must be {' or '.join(known)}, found {value!r}{hint}")
    return wrong


def _is_record(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Record)


def _takes_two(check: Any) -> bool:
    try:
        inspect.signature(check).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature: it shows when it is called
        return True
    return True


def _executed(path: Path) -> ModuleType:
    """Run a file as a module of its own. Nothing is cached beside it."""
    module = ModuleType(f"heldout_rules_{path.stem}")
    module.__file__ = str(path)
    try:
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SyntaxError as error:
        where = f"{path}:{error.lineno}" if error.lineno else str(path)
        raise ConfigError(f"{where}: not Python: {error.msg}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not Python: {error}") from error
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        said = f"{where}: {type(error).__name__}: {error}"
        if isinstance(error, SystemExit):
            said += ". A file of rules defines them, and must not end the process"
        raise ConfigError(said) from error
    return module
