"""The settings that the environment gives a callback, wherever its maker gives no keyword.

`HELDOUT_EVAL_EVERY=50` is `every=50` of a `heldout.Monitor` that is made without it. What a keyword says
comes first, then the environment, then the default.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, cast

from heldout.config import in_environment
from heldout.evals.options import EvalOptions
from heldout.signals.moment import SignalOptions
from heldout.views.notify.options import NotifyOptions

SECTIONS = ("eval", "data", "decision", "signals", "alerts", "notify", "check", "output")
KEYWORDS = {
    "eval_set": "eval.data",
    "every": "eval.every",
    "at_start": "eval.at_start",
    "max_samples": "eval.max_samples",
    "margin": "eval.margin",
    "reference": "eval.reference",
    "patterns": "eval.patterns",
    "may_stop": "decision.may_stop",
    "load_best": "decision.load_best",
    "keep": "decision.keep",
    "rules": "alerts.file",
    "runs": "output.runs",
    "run": "output.run",
    "check_data": "check.data",
    "check_rows": "check.rows",
}
"""A callback's keywords and the settings that they stand for."""

P = ParamSpec("P")


def filled_in(init: Callable[P, None]) -> Callable[P, None]:
    """Have `init`, whose one positional argument is the set, take what it is not given from the environment.

    Raises `ConfigError` with every mistake in the variables, unknown ones included.
    """

    @functools.wraps(init)
    def wrapped(*args: P.args, **given: P.kwargs) -> None:
        keywords = dict(given)
        if len(args) > 1:
            keywords["eval_set"] = args[1]
        cast(Callable[..., None], init)(args[0], **_with_environment(keywords))

    return wrapped


def _with_environment(given: Mapping[str, Any]) -> dict[str, Any]:
    found = in_environment(SECTIONS)
    filled = {key: found[name] for key, name in KEYWORDS.items() if name in found}
    alerts = {name.removeprefix("alerts."): value for name, value in found.items()}
    alerts = {key: alerts[key] for key in ("limits", "off", "rules") if f"alerts.{key}" in found}
    if alerts and "alerts" not in (given.get("config") or {}):
        filled["alerts"] = alerts
    for key, kind, sections in (
        ("options", EvalOptions, ("eval", "data")),
        ("signals", SignalOptions, ("signals",)),
        ("notify", NotifyOptions, ("notify",)),
    ):
        if any(name.split(".")[0] in sections for name in found):
            filled[key] = kind.of(in_environment(sections, defaults=True))
    return filled | dict(given)
