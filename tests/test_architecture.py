"""Contracts over the whole tree: who may import whom, and what every file of a folder must have.

The table below is design.md section 3. A failing case here is answered by moving code, or by
changing the table on purpose.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import heldout.signals.each
import heldout.store.foreign
import heldout.verdicts.rules
import heldout.views.export
from heldout.evals.evaluate import METRICS as EVAL_METRICS
from heldout.folder import load
from heldout.records import Metric
from heldout.store.reader import Reader
from heldout.verdicts.rule import Rule
from heldout.views.exporter import Exporter

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FILES = sorted((SOURCE / "heldout").rglob("*.py"))

LIGHT = {"msgspec", "numpy", "rich", "scipy", "starlette", "typer", "uvicorn", "yaml"}
"""What `pip install heldout` installs, by import name."""

OURS = {
    "records": set(),
    "errors": set(),
    "folder": set(),
    "config": {"errors", "records", "verdicts"},
    "names": {"records"},
    "kinds": set(),
    "stats": set(),
    "store": {"records", "errors", "folder", "names"},
    "derive": {"records", "stats"},
    "verdicts": {"records", "derive", "stats", "folder"},
    "signals": {"records", "errors", "folder", "kinds"},
    "evals": {"records", "errors", "folder", "stats", "kinds"},
    "views": {"records", "errors", "folder", "store", "derive", "evals"},
    "watch": {"records", "errors", "names", "store", "derive", "verdicts", "signals", "evals"},
}
"""Which parts of heldout a part may import besides itself. Parts not listed may import any."""

THEIRS = {
    "records": {"msgspec"},
    "errors": set(),
    "folder": set(),
    "config": {"yaml"},
    "names": set(),
    "kinds": set(),
    "stats": {"numpy", "scipy"},
    "store": {"msgspec", "tensorboard", "wandb"},
    "derive": {"msgspec", "numpy"},
    "verdicts": {"msgspec", "numpy"},
    "signals": {"msgspec", "psutil", "pynvml", "torch"},
    "evals": {"msgspec", "numpy", "pyarrow", "torch"},
    "views": LIGHT | {"apprise"},
    "watch": {"torch"},
}
"""Which packages of others a part may import besides the standard library."""

IMPURE = {
    "asyncio",
    "builtins",
    "datetime",
    "glob",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
} | {"shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid"}
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "__import__"}
PURE_PARTS = ("records", "stats", "derive", "verdicts")
TRAINING = {"accelerate", "datasets", "peft", "transformers", "trl"}
TRAINING_PARTS = {"adapters", "train", "cli", "demo"}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part(module: str) -> str:
    """The part of heldout a module belongs to; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


MODULES = {module_name(path): path for path in FILES}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that one statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in MODULES else str(node.module)


def imports(module: str) -> set[str]:
    """Everything a module imports, also inside functions."""
    return {name for node in ast.walk(TREES[module]) for name in imported(node)}


def imports_at_once(module: str) -> set[str]:
    """What a module imports while it is itself being imported."""

    def walk(node: ast.AST) -> Iterator[str]:
        yield from imported(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return set(walk(TREES[module]))


def top(name: str) -> str:
    return name.split(".")[0]


def test_a_module_imports_only_the_parts_of_heldout_below_it() -> None:
    above = {}
    for module in MODULES:
        here = part(module)
        used = {part(name) for name in imports(module) if top(name) == "heldout"} - {here}
        allowed = OURS.get(here, used) - (set() if here == "__main__" else {"cli"})
        above[module] = used - allowed
    assert {module: found for module, found in above.items() if found} == {}


def test_a_module_imports_only_the_packages_its_part_needs() -> None:
    strange = {}
    for module in MODULES:
        here = part(module)
        used = {top(name) for name in imports(module)} - sys.stdlib_module_names - {"heldout"}
        allowed = THEIRS.get(here, used)
        if here not in TRAINING_PARTS and module != "heldout":  # which names them for type checkers
            allowed = allowed - TRAINING
        strange[module] = used - allowed
    assert {module: found for module, found in strange.items() if found} == {}


def test_what_judges_has_no_input_no_output_no_clock_and_no_chance() -> None:
    impure = {}
    for module in MODULES:
        if part(module) not in PURE_PARTS:
            continue
        nodes = list(ast.walk(TREES[module]))
        calls = [node.func for node in nodes if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        found = {top(name) for name in imports(module)} & IMPURE | names & IMPURE_CALLS
        if part(module) != "stats":  # resampling there is seeded
            found |= {n.attr for n in nodes if isinstance(n, ast.Attribute)} & {"random"}
        impure[module] = found
    assert impure
    assert {module: found for module, found in impure.items() if found} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {x for x in imports_at_once(name) if x in MODULES} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_circle_check_sees_a_circle() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
    assert "heldout.errors" in imports_at_once("heldout")
    assert "heldout.adapters.huggingface" in imports("heldout") - imports_at_once("heldout")


def test_the_light_packages_are_those_the_wheel_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[<>=\[ ]", line)[0] for line in project["dependencies"]}
    assert {"yaml" if name == "pyyaml" else name for name in names} == LIGHT


def test_a_module_has_a_name_that_says_what_is_in_it() -> None:
    vague = {"base", "common", "helpers", "manager", "misc", "utils"}
    assert [module for module in MODULES if module.split(".")[-1] in vague] == []


# Folders are registries: every file of one keeps its contract.

SECTIONS = ("Checks", "Why", "What to do", "When it is wrong", "Source")


def files_of(package: str) -> list[str]:
    return [name for name in MODULES if name.startswith(f"{package}.")]


def test_a_rule_is_named_like_its_file_and_explains_itself() -> None:
    for module in files_of("heldout.verdicts.rules"):
        rule = import_module(module).RULE
        assert isinstance(rule, Rule), module
        assert rule.name == module.rsplit(".", 1)[1].replace("_", "-")
        page = ast.get_docstring(TREES[module]) or ""
        found = re.findall(rf"^({'|'.join(SECTIONS)}): \S", page, re.MULTILINE)
        assert tuple(found) == SECTIONS, module


def test_a_rule_is_silenced_only_by_rules_that_exist() -> None:
    rules = load(heldout.verdicts.rules, "RULE")
    names = {rule.name for rule in rules}
    assert len(names) == len(rules)
    assert all(set(rule.silenced_by) <= names - {rule.name} for rule in rules)


def test_an_exporter_is_named_like_its_file() -> None:
    for module in files_of("heldout.views.export"):
        exporter = import_module(module).EXPORTER
        assert isinstance(exporter, Exporter), module
        assert exporter.name == module.rsplit(".", 1)[1]
        assert re.fullmatch(r"\.[a-z0-9.]+", exporter.suffix), module
        assert "/" in exporter.media_type, module
        assert heldout.views.export.EXPORTERS[exporter.name] is exporter


def test_a_reader_is_named_like_its_file_and_loads_its_library_only_to_read() -> None:
    for module in files_of("heldout.store.foreign"):
        reader = import_module(module).READER
        assert isinstance(reader, Reader), module
        assert reader.name == module.rsplit(".", 1)[1]
        assert reader in heldout.store.foreign.READERS
        at_once = {top(name) for name in imports_at_once(module)}
        assert at_once <= sys.stdlib_module_names | {"heldout"}, module


def test_no_two_readers_are_asked_at_once() -> None:
    ranks = [reader.rank for reader in heldout.store.foreign.READERS]
    assert ranks == sorted(set(ranks))


def signal_metrics() -> list[tuple[str, Metric]]:
    """Every metric with the part that makes it; loading fails where a file has no SIGNAL."""
    made = load(heldout.signals.each, "SIGNAL")
    metrics = [(make.__module__, metric) for make in made for metric in make().metrics]
    return metrics + [("heldout.evals.evaluate", metric) for metric in EVAL_METRICS]


def test_a_metric_says_what_it_means_in_one_sentence() -> None:
    for module, metric in signal_metrics():
        where = f"{metric.name} of {module}"
        assert re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+)*", metric.name), where
        assert metric.title, where
        assert metric.unit == metric.unit.strip(), where
        assert metric.help.endswith("."), where
        assert metric.source, where


def test_no_two_metrics_share_a_name() -> None:
    names = [metric.name for _, metric in signal_metrics()]
    assert len(set(names)) == len(names)
