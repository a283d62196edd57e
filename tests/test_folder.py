"""The folder is the registry."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from heldout.folder import load


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty package on disk; its modules are forgotten after the test."""
    folder = tmp_path / "a_registry"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("a_registry")]:
        monkeypatch.delitem(sys.modules, name)
    return import_module("a_registry")


def add(package: ModuleType, name: str, code: str) -> None:
    Path(package.__path__[0], f"{name}.py").write_text(code, encoding="utf-8")


def test_every_file_is_loaded_in_the_order_of_names(package: ModuleType) -> None:
    for name in ("zebra", "ant", "mole"):
        add(package, name, f"PART = {name!r}")
    assert load(package, "PART") == ["ant", "mole", "zebra"]


def test_an_empty_folder_has_no_parts(package: ModuleType) -> None:
    assert load(package, "PART") == []


def test_a_file_without_its_constant_is_named(package: ModuleType) -> None:
    add(package, "forgot", "part = 1")
    with pytest.raises(AttributeError, match=r"a_registry\.forgot must define PART"):
        load(package, "PART")


def test_a_constant_may_be_false(package: ModuleType) -> None:
    add(package, "none", "PART = None")
    assert load(package, "PART") == [None]
