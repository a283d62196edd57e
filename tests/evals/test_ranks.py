from __future__ import annotations

from typing import Any

import pytest

from heldout.errors import HeldoutError, ModelError
from heldout.evals.ranks import Ranks, together


class Fake(Ranks):
    """Ranks whose gather returns what was prepared for the others."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(0, len(parts))
        object.__setattr__(self, "parts", parts)

    def gather(self, mine: Any) -> list[Any]:
        return list(self.parts)  # type: ignore[attr-defined]


def test_every_example_falls_to_one_process_and_the_costs_are_even() -> None:
    costs = [float(i % 17) for i in range(103)]
    shares = [Ranks(i, 4).share(costs) for i in range(4)]
    assert sorted(i for share in shares for i in share) == list(range(103))
    sums = [sum(costs[i] for i in share) for share in shares]
    assert max(sums) - min(sums) <= max(costs)


def test_one_process_alone_keeps_its_own() -> None:
    assert together(Ranks(), {1: "b", 0: "a"}, 2) == ["a", "b"]
    assert Ranks().main


def test_shares_are_merged_by_index() -> None:
    assert together(Fake({2: "c", 0: "a"}, {1: "b"}), {}, 3) == ["a", "b", "c"]


def test_one_processs_failure_is_everyones() -> None:
    with pytest.raises(ModelError, match="process 1: RuntimeError: no"):
        together(Fake({0: "a"}, "RuntimeError: no"), {}, 2)


@pytest.mark.parametrize("parts", [({0: "a"}, {}), ({0: "a"}, {0: "a", 1: "b"})])
def test_a_missing_or_double_example_is_never_passed_over(parts: Any) -> None:
    with pytest.raises(HeldoutError, match="came back for 2 examples"):
        together(Fake(*parts), {}, 2)
