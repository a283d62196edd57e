"""The folder is the registry: a signal, rule, exporter or panel is one file with one constant."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def load(package: ModuleType, constant: str) -> list[Any]:
    """Import every module of `package` in name order and return its `constant`.

    Raises `AttributeError` naming the module when one lacks it, so that a forgotten constant is
    a failing import and not a silently missing part.
    """
    found = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        if not hasattr(module, constant):
            raise AttributeError(f"{module.__name__} must define {constant}")
        found.append(getattr(module, constant))
    return found
