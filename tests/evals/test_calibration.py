from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import BinaryCalibrationError

from heldout.evals.calibration import (
    bin_sums,
    brier,
    confidence_gap,
    ece,
    ece_equal_mass,
    ece_null,
    reliability,
)

CONFIDENCE = np.array([0.05, 0.10, 0.15, 0.35, 0.55, 0.60, 0.85, 0.90, 0.95, 1.0])
HIT = np.array([0, 0, 1, 0, 1, 0, 1, 1, 1, 1], dtype=bool)

tokens = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_the_published_example_gives_its_published_values() -> None:
    sums = bin_sums(CONFIDENCE, HIT)
    assert ece(sums) == pytest.approx(0.18)
    assert ece_null(sums) == pytest.approx(0.206443, abs=1e-6)


def test_edges_belong_to_the_bin_below_and_zero_to_the_first() -> None:
    sums = bin_sums(np.array([0.0, 0.1, 0.5, 1.0]), np.ones(4, dtype=bool))
    assert sums[:, 0].tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0, 1]


@given(tokens)
def test_ece_equals_a_loop_over_bins(pairs: list[tuple[float, bool]]) -> None:
    confidence = np.array([c for c, _ in pairs])
    hit = np.array([h for _, h in pairs])
    total = 0.0
    for b in range(10):
        inside = np.clip(np.ceil(confidence * 10) - 1, 0, 9) == b
        if inside.any():
            gap = abs(confidence[inside].mean() - hit[inside].mean())
            total += inside.sum() / len(pairs) * gap
    assert ece(bin_sums(confidence, hit)) == pytest.approx(total)


@given(tokens, tokens)
def test_sums_of_two_parts_add_up_to_the_whole(
    one: list[tuple[float, bool]], two: list[tuple[float, bool]]
) -> None:
    def sums(pairs: list[tuple[float, bool]]) -> np.ndarray:
        return bin_sums(np.array([c for c, _ in pairs]), np.array([h for _, h in pairs]))

    np.testing.assert_allclose(sums(one) + sums(two), sums(one + two))


def test_the_null_is_what_perfect_calibration_shows() -> None:
    draw = np.random.default_rng(0)
    found, predicted = [], []
    for _ in range(40):
        confidence = draw.beta(5, 0.5, 2000)
        sums = bin_sums(confidence, draw.random(2000) < confidence)
        found.append(ece(sums))
        predicted.append(ece_null(sums))
    assert np.mean(found) == pytest.approx(np.mean(predicted), rel=0.15)


def test_no_tokens_give_nan_and_an_empty_diagram() -> None:
    sums = bin_sums(np.array([np.nan]), np.array([True]))
    assert np.isnan(ece(sums))
    assert np.isnan(ece_null(sums))
    assert all(b.n == 0 for b in reliability(sums))


def test_the_published_example_in_other_bins() -> None:
    assert ece(bin_sums(CONFIDENCE, HIT, "torchmetrics")) == pytest.approx(0.25)
    assert ece_equal_mass(CONFIDENCE, HIT, 5) == pytest.approx(0.11)


@pytest.mark.parametrize("seed", range(20))
def test_torchmetrics_bins_are_those_of_torchmetrics(seed: int) -> None:
    draw = np.random.default_rng(seed)
    edges = draw.integers(0, 11, 40) / 10
    confidence = np.concatenate([draw.beta(5, 0.5, 60), edges]).astype(np.float32)
    hit = draw.random(100) < confidence
    metric = BinaryCalibrationError(n_bins=10, norm="l1")
    expected = metric(torch.tensor(confidence), torch.tensor(hit.astype(int))).item()
    found = ece(bin_sums(confidence.astype(np.float64), hit, "torchmetrics"))
    assert found == pytest.approx(expected, abs=1e-6)


@given(tokens)
def test_the_gap_is_signed_and_the_brier_score_is_a_mean_square(
    pairs: list[tuple[float, bool]],
) -> None:
    confidence = np.array([c for c, _ in pairs])
    hit = np.array([h for _, h in pairs])
    expected = confidence.mean() - hit.mean()
    assert confidence_gap(bin_sums(confidence, hit)) == pytest.approx(expected, abs=1e-12)
    assert brier(confidence, hit) == pytest.approx(np.mean([(c - h) ** 2 for c, h in pairs]))


def test_nothing_to_calibrate_is_nan() -> None:
    none, no_hits = np.array([]), np.array([], dtype=bool)
    assert np.isnan([ece_equal_mass(none, no_hits), brier(none, no_hits)]).all()
    assert np.isnan(ece_equal_mass(np.array([np.nan, 0.5]), np.array([True, False])))
