from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heldout.signals import lowrank
from heldout.signals.lowrank import BLOCK, Pair, Product, Size, difference, sizes, squares

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
OUTS = (5, BLOCK, BLOCK + 1, 2 * BLOCK + 300)


def factors(
    seed: int, out: int = 30, into: int = 40, r: int = 4, experts: int = 1, spread: float = 1.0
) -> Pair:
    """Random factors in float64; the singular values of each product fall to about `spread`."""
    made = torch.Generator().manual_seed(seed)
    b, a = (
        torch.randn(experts, *shape, generator=made, dtype=torch.float64)
        for shape in ((out, r), (r, into))
    )
    return b * torch.logspace(0, math.log10(spread), r, dtype=torch.float64), a


def mixed(pair: Pair, seed: int, spread: float) -> Pair:
    """The same product from factors that cancel: B M and M^-1 A, M's singular values to `spread`."""
    (b, a), made = pair, torch.Generator().manual_seed(seed)
    r = b.shape[2]
    left, right = (
        torch.linalg.qr(torch.randn(r, r, generator=made, dtype=torch.float64))[0] for _ in "ab"
    )
    scale = torch.logspace(0, math.log10(spread), r, dtype=torch.float64)
    return b @ (left * scale @ right.T), right / scale @ left.T @ a


def cast(pair: Pair, dtype: torch.dtype) -> Pair:
    return pair[0].to(dtype), pair[1].to(dtype)


def read(*pairs: Pair | Product) -> list[Size]:
    found = sizes([lambda pair=pair: Product(*pair) for pair in pairs])  # type: ignore[misc]
    alone = squares([lambda pair=pair: Product(*pair) for pair in pairs])  # type: ignore[misc]
    assert alone == pytest.approx([size.square for size in found], rel=1e-12, nan_ok=True)
    return found


def materialised(products: Tensor, of: int) -> Size:
    """The same from the singular values of the products [E, out, in] themselves."""
    singular = torch.linalg.svdvals(products.double())
    energy = singular.square()
    alive = energy.sum(1) > 0
    ranks = (energy.sum(1).square() / energy.square().sum(1))[alive]
    return Size(
        square=products.double().square().sum().item(),
        spectral=singular.max().item(),
        rank=ranks.mean().item() if len(ranks) else 0.0,
        of=of,
    )


def assert_is(found: Size, expected: Size, rel: float = 1e-5) -> None:
    assert found.of == expected.of
    assert numbers(found) == pytest.approx(numbers(expected), rel=rel, abs=0)


def numbers(size: Size) -> Sequence[float]:
    return size.square, size.spectral, size.rank


def assert_right(pair: Pair, rel: float = 1e-5) -> None:
    b, a = (side.double() for side in pair)
    assert_is(read(pair)[0], materialised(b @ a, b.shape[2]), rel)


@pytest.fixture
def precision() -> Iterator[Any]:
    """Sets the precision of float32 products for one test."""
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out", OUTS)
def test_a_tall_product_is_read_as_its_singular_values_say(out: int, dtype: torch.dtype) -> None:
    assert_right(cast(factors(out, out=out), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("into", OUTS)
def test_a_wide_product_is_read_as_its_singular_values_say(into: int, dtype: torch.dtype) -> None:
    assert_right(cast(factors(into, into=into, experts=3), dtype))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    out=st.integers(1, 60),
    into=st.integers(1, 60),
    r=st.integers(1, 12),
    experts=st.integers(1, 3),
    spread=st.floats(-6, 0),
    dtype=st.sampled_from(DTYPES),
)
def test_any_product_is_read_as_its_singular_values_say(
    seed: int, out: int, into: int, r: int, experts: int, spread: float, dtype: torch.dtype
) -> None:
    assert_right(cast(factors(seed, out, into, r, experts, 10**spread), dtype))


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10_000),
    r=st.integers(2, 12),
    out=st.sampled_from((30, BLOCK + 30)),
    gauge=st.floats(-6, 0),
    spread=st.floats(-6, 0),
    dtype=st.sampled_from(DTYPES),
)
def test_factors_that_cancel_cost_no_digits_but_those_beyond_float64(
    seed: int, r: int, out: int, gauge: float, spread: float, dtype: torch.dtype
) -> None:
    """Beyond are factors whose product is less than a hundred-thousandth of theirs, in norms."""
    b, a = cast(mixed(factors(seed, out, 20, r, spread=10**spread), seed + 1, 10**gauge), dtype)
    b64, a64 = b.double(), a.double()
    cancelling = ((b64.norm() * a64.norm()) / (b64 @ a64).norm()).square().item()
    # 7e-6 and 1e-15 with one processor's kernels, 1.3e-5 and 2.5e-15 with another's
    assert_right((b, a), rel=max(3e-5, 5e-15 * cancelling))


@pytest.mark.parametrize("level", ["medium", "high"])
@pytest.mark.parametrize("out", OUTS)
def test_a_lower_matmul_precision_of_the_training_costs_no_digits(
    precision: Any, level: str, out: int
) -> None:
    precision(level)
    assert_right(cast(factors(out, out=out), torch.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_less_than_full_rank_are_read_too(dtype: torch.dtype) -> None:
    b, a = cast(factors(0, r=6), dtype)
    a[:, 3:] = a[:, :3]
    assert_right((b, a))
    a[:, 1:] = 0
    assert_right((b, a))
    assert read((b, a))[0].rank == pytest.approx(1)
    assert_right((b, a[:, :, :2]))
    assert_right((b[:, :2], a))


def test_more_ranks_than_rows_and_columns_are_read_too() -> None:
    assert_right(cast(factors(0, out=3, into=5, r=16), torch.float32))


def test_what_has_not_moved_is_zero_in_every_number() -> None:
    b, a = cast(factors(0, experts=2), torch.float32)
    zero = Size(square=0.0, spectral=0.0, rank=0.0, of=4)
    assert read((b * 0, a), (b, a * 0), (b * 0, a * 0)) == [zero] * 3


def test_the_rank_of_experts_is_a_mean_over_those_that_moved() -> None:
    b, a = cast(factors(0, experts=4), torch.float32)
    b[1], b[3] = 0, b[0]
    a[3, 1:] = 0
    assert_right((b, a))
    each = [read((b[i : i + 1], a[i : i + 1]))[0] for i in range(4)]
    whole = read((b, a))[0]
    assert whole.square == pytest.approx(sum(size.square for size in each))
    assert whole.spectral == pytest.approx(max(size.spectral for size in each), rel=1e-12)
    assert whole.rank == pytest.approx(sum(size.rank for size in each) / 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_factor_that_is_not_finite_is_told_and_spoils_no_other(
    bad: float, side: int, dtype: torch.dtype
) -> None:
    pair, other = (cast(factors(seed, out=BLOCK + 5, experts=2), dtype) for seed in (0, 1))
    pair[side][1, 0, 0] = bad
    before, found, after = read(other, pair, other)
    assert all(not math.isfinite(number) for number in numbers(found))
    assert before == after
    assert_is(after, materialised(other[0].double() @ other[1].double(), 4))


def test_stacks_of_any_shape_come_back_in_the_given_order() -> None:
    shapes = [(9, 40, 4, 1), (BLOCK + 9, 7, 2, 3), (40, 9, 4, 2), (8, 8, 8, 1), (9, 40, 4, 5)]
    pairs = [cast(factors(i, *shape), DTYPES[i % 3]) for i, shape in enumerate(shapes)]
    pairs.insert(2, cast(mixed(factors(9), 1, 1e-5), torch.float32))
    for (b, a), found in zip(pairs, read(*pairs), strict=True):
        assert_is(found, materialised(b.double() @ a.double(), b.shape[2]))
    assert sizes([]) == squares([]) == []


def test_factors_are_read_one_pair_at_a_time_and_left_as_they_are() -> None:
    pairs = [cast(factors(i), torch.float32) for i in range(3)]
    before = [(b.clone(), a.clone()) for b, a in pairs]
    alive: list[int] = []

    def turn(i: int) -> Any:
        def give() -> Product:
            alive.append(i)
            return Product(*pairs[i])

        return give

    sizes([turn(i) for i in range(3)])
    assert alive == [0, 1, 2]
    for (b, a), (b0, a0) in zip(pairs, before, strict=True):
        assert torch.equal(b, b0)
        assert torch.equal(a, a0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [2.0, -0.03, 0.0])
def test_a_scale_that_is_kept_apart_counts(dtype: torch.dtype, scale: float) -> None:
    b, a = cast(factors(0, out=BLOCK + 30), dtype)
    expected = materialised(scale * (b.double() @ a.double()), 4)
    assert_is(read(Product(b, a, scale))[0], expected)
    moved = b + factors(1, out=BLOCK + 30)[0].to(dtype), a
    change = scale * (moved[0].double() @ a.double() - b.double() @ a.double())
    assert_is(read(difference(moved, (b, a), scale))[0], materialised(change, 8))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    out=st.sampled_from((30, BLOCK + 30)),
    r=st.integers(1, 8),
    experts=st.integers(1, 2),
    size=st.floats(-5, -1),
    sides=st.sampled_from([(1, 1), (1, 0), (0, 1)]),
    dtype=st.sampled_from((torch.float64, torch.float32)),
)
def test_a_small_movement_from_a_start_is_read_to_its_last_digits(
    seed: int,
    out: int,
    r: int,
    experts: int,
    size: float,
    sides: tuple[int, int],
    dtype: torch.dtype,
) -> None:
    before = cast(factors(seed, out, 20, r, experts), dtype)
    step = factors(seed + 1, out, 20, r, experts)
    now = (
        before[0] + (step[0] * sides[0] * 10**size).to(dtype),
        before[1] + (step[1] * sides[1] * 10**size).to(dtype),
    )
    change = now[0].double() @ now[1].double() - before[0].double() @ before[1].double()
    start = (before[0].double() @ before[1].double()).norm()
    assert 0.1 * 10**size < (change.norm() / start).item() < 10 * 10**size
    assert_is(read(difference(now, before))[0], materialised(change, 2 * r))


@pytest.mark.parametrize(
    ("step", "cancels"),
    [
        (lambda b, a: (b + 1e-4 * b.sin().sign(), a + 1e-4 * a.sin().sign()), False),
        (lambda b, a: (b + 1e-6 * b[..., :1] * a[0, :, 0], a), False),
        (lambda b, a: (b + 1e-4 * b.sin().sign(), a * (1 - 1e-3)), False),
        (lambda b, a: (b * (1 - 1e-4), a * (1 - 1e-4)), False),
        (lambda b, a: (b * (1 + 1e-3), a / (1 + 1e-3)), True),
    ],
)
def test_float64_is_for_movements_that_cancel(
    step: Any, cancels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    whole = lowrank._whole
    monkeypatch.setattr(lowrank, "_whole", lambda x: asked.append(x) or whole(x))
    before = cast(factors(0, 2 * BLOCK + 300, 500, 16), torch.float32)
    now = step(*before)
    change = (now[0].double() - before[0].double()) @ now[1].double()
    change += before[0].double() @ (now[1].double() - before[1].double())
    # the terms that cancel are 2e5 times as large as what is left: float64 errs by 2.3e-5
    rel = 1e-4 if cancels else 1e-5
    assert_is(read(difference(now, before))[0], materialised(change, 32), rel)
    assert bool(asked) == cancels


@pytest.mark.parametrize("flipped", [0.005, 0.02, 0.035, 0.06, 0.2])
def test_entries_of_one_size_round_alike(flipped: float) -> None:
    """The worst case for float32: every product errs by the same, and terms that cancel keep it."""
    made = torch.Generator().manual_seed(0)

    def signs(*shape: int, share: float = 0.5) -> Tensor:
        return 1.0 - 2.0 * (torch.rand(shape, generator=made) < share)

    s, z = signs(12288, 8), signs(8, 12288)
    b = 0.759 * torch.cat([s, -s * signs(12288, 8, share=flipped)], 1)[None]
    a = 0.759 * torch.cat([z, z * signs(8, 12288, share=flipped)], 0)[None]
    left, right = torch.linalg.qr(b[0].double())[1], torch.linalg.qr(a[0].double().T)[1].T
    assert_is(read((b, a))[0], materialised((left @ right)[None], 16))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_movement_of_half_precision_factors_is_what_their_entries_say(dtype: torch.dtype) -> None:
    before = cast(factors(0), dtype)
    step = factors(1)
    now = before[0] + (step[0] * 0.01).to(dtype), before[1] + (step[1] * 0.01).to(dtype)
    change = now[0].double() @ now[1].double() - before[0].double() @ before[1].double()
    assert_is(read(difference(now, before))[0], materialised(change, 8))


def test_no_movement_from_a_start_is_exactly_zero() -> None:
    pair = cast(factors(0, out=BLOCK + 30), torch.float32)
    found = read(difference(pair, pair))[0]
    assert numbers(found) == (0, 0, 0)


def test_the_textbook_difference_would_have_lost_every_digit() -> None:
    """What `difference` is there for: the plain form in float32, at a movement of 1e-5."""
    before, step = cast(factors(0), torch.float32), cast(factors(1), torch.float32)
    now = before[0] + 1e-5 * step[0], before[1] + 1e-5 * step[1]
    b, a = torch.cat([now[0], -before[0]], 2), torch.cat([now[1], before[1]], 1)
    grams = (b.mT @ b) * (a @ a.mT)
    change = now[0].double() @ now[1].double() - before[0].double() @ before[1].double()
    exact = change.square().sum().item()
    assert abs(grams.sum().item() - exact) > 0.5 * exact
    assert read(difference(now, before))[0].square == pytest.approx(exact, rel=1e-5)


def test_a_precision_that_torch_cannot_name_is_read_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`torch.backends.fp32_precision`, as the Trainer's `tf32=True` sets it, makes torch raise."""

    def mixed_apis() -> str:
        raise RuntimeError("you have used mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed_apis)
    monkeypatch.setattr(lowrank, "_blocked", None)
    assert_right(cast(factors(0, out=BLOCK + 30), torch.float32))
