from __future__ import annotations

import math
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from heldout.signals import sampled
from heldout.signals.sampled import read_samples, take_samples


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of what is sampled, in float64."""
    return {
        name: p.detach().double().clone()
        for name, p in model.named_parameters()
        if p.requires_grad and p.dim() > 1
    }


def shake(model: nn.Module, size: float = 0.01, seed: int = 1) -> None:
    """Move every weight by noise with some large entries, as training does."""
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=made)
            p.add_(size * noise * noise.abs())


def few(monkeypatch: pytest.MonkeyPatch, most: int, fewest: int) -> None:
    monkeypatch.setattr(sampled, "MOST_ENTRIES", most)
    monkeypatch.setattr(sampled, "FEWEST_ENTRIES", fewest)


def test_a_small_model_is_kept_whole_and_read_exactly() -> None:
    model = tiny.model()
    before = weights(model)
    samples = take_samples(model)
    assert all(sample.stride == 1 for sample in samples.values())
    shake(model)
    after = weights(model)
    readings, error = read_samples(model, samples)
    assert error == 0
    assert {reading.name for reading in readings} == set(before)
    for reading in readings:
        change = (after[reading.name] - before[reading.name]).square().sum().item()
        assert reading.square == pytest.approx(change, rel=1e-9)
        start = before[reading.name].square().sum().item()
        assert reading.base_square == pytest.approx(start, rel=1e-9)
        assert (reading.spectral, reading.rank, reading.speed_square) == (None, None, None)


@pytest.mark.parametrize("seed", range(3))
def test_an_estimate_is_within_its_own_standard_errors(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    few(monkeypatch, 12_000, 100)
    model = tiny.model(seed)
    before, samples = weights(model), take_samples(model)
    shake(model, seed=seed + 10)
    after = weights(model)
    readings, error = read_samples(model, samples)
    assert 0.001 < error < 0.5
    relative = []
    for reading in readings:
        exact = (after[reading.name] - before[reading.name]).norm().item()
        relative.append(math.sqrt(reading.square) / exact - 1)
    assert max(map(abs, relative)) < 4 * error
    assert max(map(abs, relative)) > 0
    assert abs(sum(relative) / len(relative)) < 4 * error / math.sqrt(len(relative))


def test_the_error_is_the_largest_of_all_weights_and_halves_with_four_times_the_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors = []
    for most in (4_000, 16_000):
        few(monkeypatch, most, 1)
        model = tiny.model()
        samples = take_samples(model)
        shake(model)
        errors.append(read_samples(model, samples)[1])
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.4)


def test_what_has_not_moved_is_exactly_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 5_000, 100)
    model = tiny.model()
    readings, error = read_samples(model, take_samples(model))
    assert error == 0
    assert all(reading.square == 0 for reading in readings)


def test_real_training_is_estimated_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 20_000, 500)
    model = tiny.model()
    before, samples = weights(model), take_samples(model)
    train(model, steps=5)
    after = weights(model)
    readings, error = read_samples(model, samples)
    for reading in readings:
        exact = (after[reading.name] - before[reading.name]).norm().item()
        assert abs(math.sqrt(reading.square) / exact - 1) < 4 * error


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=8),
    st.integers(100, 5_000),
    st.integers(1, 200),
)
def test_no_more_is_kept_than_promised(
    shapes: list[tuple[int, int]], most: int, fewest: int
) -> None:
    model = nn.ParameterList([nn.Parameter(torch.zeros(shape)) for shape in shapes])
    with pytest.MonkeyPatch.context() as monkeypatch:
        few(monkeypatch, most, fewest)
        samples = take_samples(model)
    kept = [sample.entries.numel() for sample in samples.values()]
    assert sum(kept) <= most + 2 * fewest * len(shapes)
    for (rows, columns), sample in zip(shapes, samples.values(), strict=True):
        assert sample.entries.untyped_storage().nbytes() == 4 * sample.entries.numel()
        assert math.gcd(sample.stride, columns) == 1 or sample.stride == 1
        if rows * columns <= fewest:
            assert sample.stride == 1


@given(st.integers(2, 50), st.integers(1, 64), st.integers(1, 12))
def test_entries_meet_every_column(rows: int, columns: int, fewer: int) -> None:
    model = nn.Linear(columns, rows * 64, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.arange(columns).expand_as(model.weight))
    with pytest.MonkeyPatch.context() as monkeypatch:
        few(monkeypatch, rows * 64 * columns // fewer, 1)
        (sample,) = take_samples(model).values()
    assert set(sample.entries.tolist()) == set(range(columns))


def test_only_trained_weights_of_two_dimensions_are_sampled() -> None:
    model = tiny.model()
    model.model.layers[1].requires_grad_(False)
    names = set(take_samples(model))
    assert "model.layers.0.self_attn.q_proj.weight" in names
    assert not any("layers.1." in name or "norm" in name for name in names)


def test_weights_are_placed_by_layer_and_kind() -> None:
    samples = take_samples(tiny.model())
    place = samples["model.layers.2.self_attn.o_proj.weight"].place
    assert (place.stack, place.layer, place.kind, place.leaf) == ("model.layers", 2, "o", "o_proj")
    assert samples["lm_head.weight"].place.layer == -1


def test_a_tied_weight_counts_once() -> None:
    model = tiny.model(tie_word_embeddings=True)
    samples = take_samples(model)
    assert ("lm_head.weight" in samples) + ("model.embed_tokens.weight" in samples) == 1


def test_a_weight_that_is_frozen_or_new_later_is_passed_over() -> None:
    model: Any = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    samples = take_samples(model)
    model[0].requires_grad_(False)
    model.append(nn.Linear(4, 4))
    readings, _ = read_samples(model, samples)
    assert [reading.name for reading in readings] == ["1.weight"]


def test_a_movement_that_is_not_finite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 5_000, 100)
    model = tiny.model()
    samples = take_samples(model)
    shake(model)
    model.lm_head.weight.data.fill_(math.nan)
    found = {reading.name: reading for reading in read_samples(model, samples)[0]}
    assert math.isnan(found["lm_head.weight"].square)
    assert math.isfinite(found["model.embed_tokens.weight"].square)


def test_half_precision_weights_are_compared_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model().to(torch.bfloat16)
    before, samples = weights(model), take_samples(model)
    shake(model)
    after = weights(model)
    for reading in read_samples(model, samples)[0]:
        exact = (after[reading.name] - before[reading.name]).square().sum().item()
        assert reading.square == pytest.approx(exact, rel=1e-9)


def train(model: Any, steps: int) -> None:
    """A few real AdamW steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(400, (4, 16), generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
