"""The size, spectrum and rank of a product of thin matrices, without ever forming it.

||B A||_F^2 = sum((B^T B) * (A A^T)), and the singular values of B A are the roots of the eigenvalues
of (A A^T)^(1/2) (B^T B) (A A^T)^(1/2): everything follows from two R x R Gram matrices.

Legend: B [E, out, R], A [E, R, in], a stack of E products; G [E, R, R].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
"""B and A; the product is B @ A."""


class Product(NamedTuple):
    """scale * B @ A. A scale that is kept apart costs no copy of a factor."""

    b: Tensor
    a: Tensor
    scale: float = 1.0

    def pair(self) -> Pair:
        """The factors with the scale in B, in float32 where B is in half."""
        return _full(self.b) * self.scale, self.a


Read = Callable[[], Product]
"""Gives a product when it is its turn, so that copies of factors live one at a time."""

BLOCK = 2**14
"""Rows whose products are added up in float32; blocks are added up in float64."""
SAFE_SPREAD = 4
"""(sum_i |b_i| |a_i|)^2 / ||B A||_F^2 over R, above which the terms b_i a_i, a column of B times a row
of A, cancel and float64 is used throughout.

Orthogonal terms of equal size have a spread of 1. Float32 then errs by 1e-6 of the norm and of the largest
singular value, by 7e-6 at a spread of 4 where all entries are of one size, so that they round alike. In
float64 it reaches 1e-5 at 1e10.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What was read of a stack of products B A; NaN where a factor is not finite.

    `square` is the sum of ||B A||_F^2 over the stack, `spectral` its largest singular value, `rank`
    the participation ratio (sum s^2)^2 / sum s^4 of the singular values, a mean over those products
    that are not zero (0 where all are), and `of` the R it could reach.
    """

    square: float
    spectral: float
    rank: float
    of: int


def difference(now: Pair, before: Pair, scale: float = 1.0) -> Product:
    """Factors of scale * (B A - B0 A0) that lose no digits: [B - B0, B0] and [A; A - A0].

    Subtracting the products, or [B, -B0][A; A0] in float32, loses every digit of a small movement.
    """
    (b, a), (b0, a0) = ((_full(x), _full(y)) for x, y in (now, before))
    return Product(torch.cat([b - b0, b0], dim=2), torch.cat([a, a - a0], dim=1), scale)


@torch.no_grad()
def squares(reads: Sequence[Read]) -> list[float]:
    """||B A||_F^2 of each stack, summed over it; waits for the device a few times."""
    found: dict[int, float] = {}
    for places, owner, g_b, g_a in _grams(reads):
        square = _summed((g_b * g_a).sum((1, 2)).clamp_min(0.0), owner, len(places))
        found.update(zip(places, square.tolist(), strict=True))
    return [found[i] for i in range(len(reads))]


@torch.no_grad()
def sizes(reads: Sequence[Read]) -> list[Size]:
    """Norm, largest singular value and rank in use of each stack; waits for the device a few times."""
    found: dict[int, Size] = {}
    for places, owner, g_b, g_a in _grams(reads):
        n = len(places)
        square, spectral, rank = _spectra(g_b, g_a)
        used = _summed((rank != 0).double(), owner, n).clamp_min(1.0)
        largest = spectral.new_zeros(n).scatter_reduce(0, owner, spectral, "amax")
        numbers = [_summed(square, owner, n), largest, _summed(rank, owner, n) / used]
        for i, (square_, spectral_, rank_) in zip(
            places, torch.stack(numbers, 1).tolist(), strict=True
        ):
            of = g_b.shape[-1]
            found[i] = Size(square=square_, spectral=spectral_, rank=rank_, of=of)
    return [found[i] for i in range(len(reads))]


def _spectra(g_b: Tensor, g_a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Square norm, largest singular value and participation ratio of each of a batch of products."""
    square = (g_b * g_a).sum((1, 2)).clamp_min(0.0)
    fine = torch.isfinite(square)
    g_b, g_a = (torch.where(fine[:, None, None], g, 0.0) for g in (g_b, g_a))
    root, failed = torch.linalg.cholesky_ex(g_a)
    if bool(failed.any()):  # a factor of less than full rank
        values, vectors = torch.linalg.eigh(g_a)
        root = vectors * values.clamp_min(0.0).sqrt()[:, None, :]
    energy = torch.linalg.eigvalsh(root.mT @ g_b @ root).clamp_min(0.0)
    fourth = energy.square().sum(1)
    rank = torch.where(fourth > 0, energy.sum(1).square() / fourth, 0.0)
    nan = torch.full_like(rank, torch.nan)
    return square, energy[:, -1].sqrt().where(fine, nan), rank.where(fine, nan)


def _summed(values: Tensor, owner: Tensor, n: int) -> Tensor:
    """Sum over the products of each stack."""
    return values.new_zeros(n).index_add(0, owner, values)


def _grams(reads: Sequence[Read]) -> Iterator[tuple[list[int], Tensor, Tensor, Tensor]]:
    """B^T B and A A^T in float64 of all products of one device and R.

    With their stacks' places in `reads`, and which of those each product belongs to.
    """
    by_shape: dict[tuple[torch.device, int], dict[int, Pair]] = {}
    scales: list[float] = []
    for i, read in enumerate(reads):
        b, a, scale = read()
        product = _blocked if _in_blocks(b.device) else _whole
        by_shape.setdefault((b.device, b.shape[2]), {})[i] = product(b), product(a.mT)
        scales.append(scale)
    for (device, r), grams in by_shape.items():
        places = list(grams)
        g_b, g_a = (torch.cat([pair[side] for pair in grams.values()]).double() for side in (0, 1))
        counts = torch.tensor([len(pair[0]) for pair in grams.values()])
        owner = torch.repeat_interleave(torch.arange(len(places)), counts).to(g_b.device)
        if _in_blocks(device):
            for k in set(owner[_cancels(g_b, g_a, r)].tolist()):
                b, a, _ = reads[places[k]]()
                g_b[owner == k], g_a[owner == k] = _whole(b), _whole(a.mT)
        squared = g_b.new_tensor([scales[i] ** 2 for i in places])
        yield places, owner, g_b * squared[owner, None, None], g_a


def _cancels(g_b: Tensor, g_a: Tensor, r: int) -> Tensor:
    """Whether the terms of each product cancel so much that float32 blocks are not exact enough."""
    lengths = (g_b * g_a).diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt().sum(1)
    return lengths.square() > SAFE_SPREAD * r * (g_b * g_a).sum((1, 2))


def _blocked(x_ENR: Tensor) -> Tensor:
    """X^T X of each X [N, R]: products of `BLOCK` rows in float32, several added up in float64."""
    x_ENR = x_ENR.float()
    experts, rows, r = x_ENR.shape
    if rows <= BLOCK and experts == 1:  # one matrix is multiplied faster than a stack of one
        x_NR = x_ENR[0]
        return torch.mm(x_NR.T, x_NR)[None]
    if rows <= BLOCK:
        return x_ENR.mT @ x_ENR
    whole = rows // BLOCK * BLOCK
    blocks = (x_ENR if whole == rows else x_ENR[:, :whole]).reshape(-1, BLOCK, r)
    products = torch.bmm(blocks.mT, blocks).view(experts, -1, r, r)
    gram = products.sum(1, dtype=torch.float64)
    if whole < rows:
        tail = x_ENR[:, whole:]
        gram += tail.mT @ tail
    return gram


def _whole(x_ENR: Tensor) -> Tensor:
    """X^T X in float64; on the host where the device has no float64."""
    x_ENR = x_ENR.detach()
    x_ENR = (x_ENR.cpu() if x_ENR.device.type == "mps" else x_ENR).double()
    return x_ENR.mT @ x_ENR


def _full(x: Tensor) -> Tensor:
    """In float32 where it was in half, whose differences would be rounded."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _in_blocks(device: torch.device) -> bool:
    """Whether matrix products of float32 keep its precision (no TF32 or bfloat16 underneath) and can
    be added up in float64."""
    if device.type == "mps":
        return False
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set per backend (the Trainer's `tf32`), which torch refuses to sum up
        return False
