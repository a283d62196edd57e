"""Share an evaluation among the processes of a distributed run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from heldout.errors import HeldoutError, ModelError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that evaluate together. The default is one process alone.

    Every collective call must be made by all of them, in the same order. Results are keyed by the
    example's index: a gather that pads and cuts, as dataloaders' do, would lose or repeat examples.
    """

    index: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes the results."""
        return self.index == 0

    def share(self, costs: Sequence[float]) -> list[int]:
        """Return the indices that fall to this process: every `count`-th by falling cost."""
        order = sorted(range(len(costs)), key=lambda i: (-costs[i], i))
        return order[self.index :: self.count]

    def gather(self, mine: T) -> list[T]:
        """Return what each process has, by rank. A collective call."""
        if self.count == 1:
            return [mine]
        found: list[T | None] = [None] * self.count
        dist.all_gather_object(found, mine)
        return [each for each in found if each is not None]

    def sum(self, mine: Tensor) -> Tensor:
        """Add up a vector over the processes, in place. A collective call."""
        if self.count > 1:
            dist.all_reduce(mine)
        return mine

    @property
    def device(self) -> torch.device:
        """Where a tensor must be for `sum`: on the host, unless the processes talk by NCCL."""
        nccl = self.count > 1 and dist.get_backend() == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")

    def all(self, mine: bool) -> bool:
        """Whether it is true in every process. A collective call."""
        return all(self.gather(mine))


def together(ranks: Ranks, mine: dict[int, T] | str, n: int) -> list[T]:
    """Merge the shares of all processes into one list of `n`; a text in place of one is its failure.

    Raises the same `ModelError` in every process if one failed or an example is missing or double,
    so that none goes on alone and waits for the others for ever. A collective call.
    """
    parts = ranks.gather(mine)
    failures = [
        f"process {rank}: {part}" for rank, part in enumerate(parts) if isinstance(part, str)
    ]
    if failures:
        raise ModelError("; ".join(failures) if ranks.count > 1 else str(parts[0]))
    merged: dict[int, T] = {}
    for part in parts:
        assert isinstance(part, dict)
        merged.update(part)
    total = sum(len(part) for part in parts)
    if total != n or len(merged) != n:
        raise HeldoutError(f"{total} results of {len(merged)} examples came back for {n} examples")
    return [merged[i] for i in range(n)]
