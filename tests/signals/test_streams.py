from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch

from heldout.signals.each.streaming_ce import StreamingCE
from heldout.signals.each.token_entropy import TokenEntropy, some_positions
from heldout.signals.entropy import (
    AT_ONCE,
    compute_token_entropy,
    row_entropies,
    summed_entropy,
)
from heldout.signals.moment import (
    IGNORED,
    Batch,
    Moment,
    Signal,
    SignalOptions,
    Start,
    Values,
    to_host,
)


def batch(labels: list[list[int]], loss: float, items: int | None = None, **more: Any) -> Batch:
    ids = torch.tensor(labels)
    outputs = SimpleNamespace(loss=torch.tensor(loss), **more)
    return Batch(
        input_ids_BT=ids.clamp_min(0),
        attention_mask_BT=(ids != -1).long(),
        labels_BT=ids.where(ids > 0, -100),
        outputs=outputs,
        items=items,
    )


def read(signal: Signal, step: int = 1, seconds: float = 2.0) -> Values:
    numbers = to_host(signal.collect())
    moment = Moment(step=step, seconds=seconds, model=torch.nn.Linear(1, 1))
    return signal.step(moment, numbers)


def streaming(window: int = 300, ranks: int = 1) -> StreamingCE:
    signal = StreamingCE()
    options = SignalOptions(window=window)
    model = torch.nn.Linear(1, 1)
    signal.begin(Start(model=model, folder=Path(), ranks=ranks, options=options))
    return signal


def test_micro_batches_weigh_by_their_label_tokens() -> None:
    signal = streaming()
    signal.forward(batch([[0, 5, 5, 5]], loss=1.0))
    signal.forward(batch([[0, 0, 0, 5]], loss=5.0))
    assert read(signal)["loss/step"] == pytest.approx((3 * 1.0 + 1 * 5.0) / 4)


def test_a_loss_divided_by_the_whole_steps_tokens_adds_up() -> None:
    signal = streaming()
    signal.forward(batch([[0, 5, 5, 5]], loss=3 * 1.0 / 4, items=4))
    signal.forward(batch([[0, 0, 0, 5]], loss=1 * 5.0 / 4, items=4))
    assert read(signal)["loss/step"] == pytest.approx(2.0)


@pytest.mark.parametrize("window", [3, 300])
def test_the_stream_is_the_token_weighted_bias_corrected_mean(window: int) -> None:
    signal, losses, counts = streaming(window), [3.0, 1.0, 2.0], [1, 3, 2]
    for loss, count in zip(losses, counts, strict=True):
        signal.forward(batch([[0, *[5] * count]], loss=loss))
        found = read(signal)["loss/streaming"]
    alpha = 2 / (window + 1)
    weights = [(1 - alpha) ** (2 - i) * n for i, n in enumerate(counts)]
    expected = sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)
    assert found == pytest.approx(expected)


def test_streaming_ce_smooths_a_noisy_loss() -> None:
    torch.manual_seed(0)
    signal, raw, smooth = streaming(), [], []
    for loss in (2.0 + torch.randn(600)).tolist():
        signal.forward(batch([[0, 5]], loss=loss))
        values = read(signal)
        raw.append(values["loss/step"])
        smooth.append(values["loss/streaming"])
    late = torch.tensor(smooth[300:])
    assert late.std() < 0.1 * torch.tensor(raw[300:]).std()
    assert late.mean() == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_step_is_recorded_and_counted_and_stays_out_of_the_mean(bad: float) -> None:
    signal = streaming()
    signal.forward(batch([[0, 5]], loss=2.0))
    read(signal)
    signal.forward(batch([[0, 5]], loss=bad))
    values = read(signal)
    assert not math.isfinite(values["loss/step"])
    assert values["loss/streaming"] == pytest.approx(2.0)
    assert values["loss/non_finite"] == 1


def test_a_resumed_stream_continues_the_same_curve() -> None:
    whole, first, second = streaming(), streaming(), streaming()
    for i, loss in enumerate([4.0, 3.0, 2.0, 1.0]):
        for signal in (whole, first if i < 2 else second):
            if signal is second and i == 2:
                second.restore(first.state())
            signal.forward(batch([[0, 5]], loss=loss))
            last = read(signal)
        if i == 3:
            assert last["loss/streaming"] == whole._loss_mass / whole._token_mass


def test_labels_that_are_all_masked_are_no_loss_and_change_no_curve() -> None:
    model, ids = tiny.model(), torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        loss = model(input_ids=ids, labels=torch.full_like(ids, IGNORED)).loss.item()
    assert math.isnan(loss)
    signal = streaming()
    signal.forward(batch([[0, 5]], loss=2.0))
    read(signal)
    state = signal.state()
    for items in (None, 0):
        signal.forward(batch([[0, 0, 0]], loss=loss, items=items))
        assert read(signal) == {}
        assert signal.state() == state
    assert signal.missing() == ""
    signal.forward(batch([[0, 5]], loss=1.0))
    later = read(signal)
    assert later["loss/step"] == 1.0
    assert 1 < later["loss/streaming"] < 2
    assert later["loss/non_finite"] == 0


def test_a_first_step_without_labels_is_not_said_to_be_without_a_loss() -> None:
    signal = streaming()
    signal.forward(batch([[0, 0, 0]], loss=math.nan))
    assert read(signal) == {}
    assert signal.missing() == ""


@pytest.mark.parametrize("host", ["cpu", "as on another device"])
@pytest.mark.parametrize("loss", [1.0, math.nan])
def test_a_micro_batch_without_labels_leaves_the_others_of_its_step_alone(
    loss: float, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host != "cpu":
        monkeypatch.setattr("heldout.signals.moment.is_at_hand", lambda tensor: False)
    signal = streaming()
    signal.forward(batch([[0, 5, 5, 5]], loss=loss))
    signal.forward(batch([[0, 0, 0, 0]], loss=math.nan))
    signal.forward(batch([[0, 0, 0, 5]], loss=5.0))
    values = read(signal)
    assert values["loss/step"] == pytest.approx((3 * loss + 5.0) / 4, nan_ok=True)
    assert values["loss/non_finite"] == math.isnan(loss)


@pytest.mark.parametrize("host", ["cpu", "as on another device"])
@pytest.mark.parametrize("items", [None, 0])
def test_a_process_without_labels_leaves_the_others_sums_alone(
    items: int | None, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host != "cpu":
        monkeypatch.setattr("heldout.signals.moment.is_at_hand", lambda tensor: False)
    first, second = streaming(ranks=2), streaming(ranks=2)
    first.forward(batch([[0, 5, 5]], loss=3.0, items=None if items is None else 2))
    second.forward(batch([[0, 0, 0]], loss=math.nan, items=items))
    sums = [to_host(signal.collect()) for signal in (first, second)]
    assert sums == [[6.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_saved_mean_that_is_not_finite_starts_anew() -> None:
    signal = streaming()
    signal.restore({"loss_mass": math.nan, "token_mass": 3.0, "non_finite": 4})
    signal.forward(batch([[0, 5]], loss=2.0))
    assert read(signal) == {"loss/step": 2.0, "loss/streaming": 2.0, "loss/non_finite": 4}
    assert all(map(math.isfinite, signal.state().values()))


def test_entropy_from_logits_is_the_mean_over_label_positions() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 7)
    labels = [[0, 3, 4, 0, 1], [0, 0, 2, 2, 2]]
    signal = TokenEntropy()
    signal.forward(batch(labels, loss=1.0, logits=logits))
    p = logits.softmax(-1)
    entropies = -(p * p.log()).sum(-1)[:, :-1]
    kept = torch.tensor(labels)[:, 1:] > 0
    assert read(signal)["entropy/train"] == pytest.approx(entropies[kept].mean().item(), rel=1e-5)


@pytest.mark.parametrize("most", [1, 3, 40])
def test_positions_are_spread_evenly_over_those_with_a_label(most: int) -> None:
    torch.manual_seed(0)
    is_label = torch.rand(4, 13) > 0.6
    rows, columns, kept = some_positions(is_label, most)
    everyone = [tuple(each) for each in is_label.nonzero().tolist()]
    chosen = list(zip(rows[kept].tolist(), columns[kept].tolist(), strict=True))
    assert len(chosen) == min(most, len(everyone))
    places = [everyone.index(each) for each in chosen]
    gaps = [b - a for a, b in pairwise(places)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("host", ["cpu", "as on another device"])
def test_a_sample_of_a_large_micro_batch_weighs_as_much_as_all_of_it(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host != "cpu":
        monkeypatch.setattr("heldout.signals.moment.is_at_hand", lambda tensor: False)
    signal = TokenEntropy()
    certain, uniform = torch.full((1, 2001, 7), -math.inf), torch.zeros(1, 11, 7)
    certain[..., 3] = 0.0
    signal.forward(batch([[3] * 2001], loss=1.0, logits=certain))
    signal.forward(batch([[3] * 11], loss=1.0, logits=uniform))
    expected = 10 * math.log(7) / 2010
    assert read(signal)["entropy/train"] == pytest.approx(expected, rel=1e-5)


def test_no_label_at_all_is_no_position() -> None:
    assert not some_positions(torch.zeros(2, 3, dtype=torch.bool), 4)[2].any()


def test_entropy_from_a_fused_head_is_used_as_it_is() -> None:
    signal = TokenEntropy()
    entropy, mask = torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[1, 1, 0]])
    signal.forward(batch([[0, 1, 1, 0]], loss=1.0, entropy=entropy, label_mask=mask, logits=None))
    assert read(signal)["entropy/train"] == pytest.approx(2.0)


def test_without_logits_there_is_no_entropy() -> None:
    signal = TokenEntropy()
    signal.forward(batch([[0, 1]], loss=1.0))
    assert read(signal) == {}


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_summed_entropy_is_the_sum_of_the_rows(spread: float) -> None:
    torch.manual_seed(0)
    logits = spread * torch.randn(5, 9, 5000)
    b_R, t_R = torch.arange(37) // 9, torch.arange(37) % 9
    rows = logits.flatten(0, 1)[:37]
    assert 2 * AT_ONCE > rows.numel() > AT_ONCE
    log_p = rows.double().log_softmax(-1)
    exact = -(log_p.exp() * log_p).sum().item()
    assert summed_entropy(logits, b_R, t_R) == pytest.approx(exact, rel=1e-5)
    assert summed_entropy(logits, b_R[:0], t_R[:0]) == 0.0
    rows[3, :4000] = -math.inf
    logits[0, 3] = rows[3]
    expected = row_entropies(rows).sum().item()
    assert summed_entropy(logits, b_R, t_R) == pytest.approx(expected, rel=1e-6)
    logits[3, 8, 4] = math.nan
    assert math.isnan(summed_entropy(logits, b_R, t_R))


def test_token_entropy_lies_between_certain_and_uniform() -> None:
    assert compute_token_entropy(torch.zeros(2, 3, 50)) == pytest.approx(math.log(50))
    certain = torch.full((1, 4), -math.inf)
    certain[0, 2] = 0.0
    assert compute_token_entropy(certain) == 0.0
    assert 0 < compute_token_entropy(torch.randn(4, 9, 50)) < math.log(50)
    assert math.isnan(compute_token_entropy(torch.tensor([[math.nan, 0.0]])))


@pytest.mark.parametrize(
    ("logged", "name"),
    [
        ([2.0, 2.1, 1.9, 2.0], "loss/step"),
        ([8.0, 8.1, 7.9, 8.0], "loss/step"),  # summed over micro-batches, which loss-scale tells
        ([0.0, 0.0, 0.0, 0.0], "loss/step"),  # a NaN that the Trainer hides
        ([2.6, 2.0, 2.7, 2.6], "loss/step"),
        ([2.6, 2.5, 2.7, 2.6], "ce/step"),  # a penalty beside the model's own loss
    ],
)
def test_a_loss_that_is_only_a_part_of_what_the_trainer_logs_is_not_judged(
    logged: list[float], name: str
) -> None:
    signal = streaming()
    for value in logged:
        for _ in range(2):
            signal.forward(batch([[0, 5, 5]], loss=2.0))
            found = read(signal)
        signal.log({"loss": value})
    assert name in found
