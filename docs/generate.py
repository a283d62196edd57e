"""Write the pages that come from the code: metrics.md, rules.md and settings.md.

python docs/generate.py            # rewrite them; a test checks that they are current
"""

from __future__ import annotations

import ast
import importlib
import inspect
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import heldout.signals.each
import heldout.verdicts.rules
from heldout import records
from heldout.config import REQUIRED, SETTINGS
from heldout.evals.evaluate import METRICS
from heldout.folder import load
from heldout.names import KNOWN
from heldout.signals.each import lora_layers
from heldout.verdicts.rule import Rule

ENDINGS = {
    "stop": "While it is open the decision is to stop",
    "roll-back": "While it is open the decision is to stop and go back to the recommended checkpoint",
}
HERE = Path(__file__).parent
NOTICE = "<!-- Written by docs/generate.py; edit the code it comes from. -->\n"


def metrics() -> str:
    """Every number heldout records."""
    found = {metric.name: metric for metric in (*KNOWN.values(), *METRICS)}
    for signal in load(heldout.signals.each, "SIGNAL"):
        found |= {metric.name: metric for metric in signal.metrics}
    lines = [
        "# Metrics\n",
        NOTICE,
        "The numbers that heldout itself records, by name. Every other one that the Trainer logs is recorded",
        "too, under its own name in small letters (`eval_` as `eval/`): `eval/accuracy`, `rewards/margins`,",
        "`kl`, `my/metric`; with `/logged` behind it where heldout has one of that name itself.",
        "What the LoRA layers' table holds comes after it.\n",
        "| name | what it is | unit | better | where it comes from | what it costs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for metric in sorted(found.values(), key=lambda metric: metric.name):
        better = {"higher": "higher", "lower": "lower", "none": ""}[metric.direction]
        name, cost = f"`{metric.name}`", metric.cost
        lines.append(
            f"| {' | '.join((name, metric.help, metric.unit, better, metric.source, cost))} |"
        )
    return "\n".join([*lines, *_layers()]) + "\n"


def _layers() -> list[str]:
    """The fields of a layer's reading, from the docstrings of its record."""
    lines = [
        "\n## LoRA layers\n",
        f"{inspect.getdoc(lora_layers)} {inspect.getdoc(lora_layers.LoraLayers)}\n",
        f"Cost: {lora_layers.COST}\n",
        "| field | what it is |",
        "| --- | --- |",
    ]
    tree = ast.parse(Path(records.__file__).read_text(encoding="utf-8"))
    found = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for struct in ("Layer", "Reading"):
        for field, text in zip(found[struct].body, found[struct].body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                meaning = " ".join(str(ast.literal_eval(text.value)).split())
                escaped = meaning.replace("|", "\\|")
                lines.append(f"| `{ast.unparse(field.target)}` | {escaped} |")
    return lines


def rules() -> str:
    """Every rule's page, from its docstring."""
    pages = ["# Rules\n", NOTICE]
    folder = heldout.verdicts.rules
    names: list[Rule[Any]] = load(folder, "RULE")
    for rule in names:
        module = importlib.import_module(f"{folder.__name__}.{rule.name.replace('-', '_')}")
        first, _, rest = (module.__doc__ or "").strip().partition("\n\n")
        body = "\n\n".join(_bold_head(part) for part in rest.split("\n\n"))
        pages.append(
            f"## {rule.name}\n\n{first}\n\n{body}\n{_ending(rule)}{_thresholds(rule, module)}"
        )
    return "\n".join(pages)


def _ending(rule: Rule[Any]) -> str:
    if rule.ends is None:
        return ""
    level = rule.ends.level
    where = "" if level == "info" else f", where its level is {level} or above"
    return f"\n**Ends the run.** {ENDINGS[rule.ends.action]}{where}.\n"


def settings() -> str:
    """Every setting with its default."""
    lines = [
        "# Settings\n",
        NOTICE,
        "A config is a YAML file of sections: `eval.every` is `every:` under `eval:`. The environment",
        "overrides the file (`HELDOUT_EVAL_EVERY=50`), and `--set eval.every=50` overrides both. A",
        "`heldout.Monitor` takes what you give by no keyword (`every=50`) from the environment,",
        "else the default: the sections eval, decision, signals, alerts, notify, check and output.\n",
        "| key | default | what it does |",
        "| --- | --- | --- |",
    ]
    for setting in SETTINGS:
        shown = "required" if setting.default is REQUIRED else f"`{setting.default}`"
        lines.append(f"| `{setting.name}` | {shown} | {setting.help} |")
    return "\n".join(lines) + "\n"


PAGES = {"metrics.md": metrics, "rules.md": rules, "settings.md": settings}


def _bold_head(part: str) -> str:
    head, colon, rest = part.partition(":")
    rest = rest.strip()
    return f"**{head}.** {rest[0].upper()}{rest[1:]}" if colon and "\n" not in head else part


def _thresholds(rule: Rule[Any], module: ModuleType) -> str:
    """A rule's limits with their meaning, so that a page never says less than the code."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    bodies = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    lines = []
    for body in bodies:
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                name = ast.unparse(field.target)
                meaning = " ".join(str(ast.literal_eval(text.value)).split())
                lines.append(f"- `{name}` = {getattr(rule.limits, name)}: {meaning}")
    return "\n**Limits.**\n\n" + "\n".join(lines) + "\n" if lines else ""


if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
