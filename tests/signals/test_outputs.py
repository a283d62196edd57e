"""What the signals read of real models of several kinds, against what these computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from peft import PromptTuningConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from heldout.kinds import kind_of
from heldout.signals.collection import Signals, on_host
from heldout.signals.moment import IGNORED, Batch, Moment, Start

IDS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 12]])
LABELS = torch.tensor([[3, IGNORED, 5, 6, 7], [8, 9, IGNORED, IGNORED, IGNORED]])


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals write where they are: into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def t5() -> nn.Module:
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=50, dropout_rate=0.0, decoder_start_token_id=0, **sizes)
    return T5ForConditionalGeneration(config)


def bart() -> nn.Module:
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
    sizes |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return BartForConditionalGeneration(BartConfig(vocab_size=50, dropout=0.0, **sizes))


def bert() -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertForMaskedLM(
        BertConfig(vocab_size=50, intermediate_size=16, hidden_dropout_prob=0.0, **sizes)
    )


def tagger() -> nn.Module:
    model: nn.Module = AutoModelForTokenClassification.from_config(tiny.config(num_labels=13))
    return model


def prompted() -> nn.Module:
    """Three virtual tokens stand before the given ones, so that the first label too is predicted."""
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model: nn.Module = get_peft_model(tiny.model(), settings)
    return model


def classifier() -> nn.Module:
    config = tiny.config(num_labels=2)
    model: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return model


class Wrapped(nn.Module):
    """A model of the user's own, which returns what `shape` makes of the loss and the logits."""

    def __init__(self, shape: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.inner = tiny.model()
        self.shape = shape

    def forward(self, **inputs: Any) -> Any:
        outputs = self.inner(**inputs)
        return self.shape(outputs.loss, outputs.logits)


def watched(
    model: nn.Module, labels: Tensor | None, given: bool = True
) -> tuple[dict[str, float], list[str], Any]:
    """One step of all signals on one forward pass: its values, what is missing, and the outputs."""
    signals = Signals(lambda name, error: pytest.fail(f"{name}: {error}"))
    signals.begin(Start(model=model, folder=Path()), {})
    with torch.no_grad():
        outputs = model(input_ids=IDS, **({"labels": labels} if given else {}))
    signals.forward(
        Batch(
            input_ids_BT=IDS,
            attention_mask_BT=torch.ones_like(IDS),
            labels_BT=labels if given else None,
            outputs=outputs,
            items=None,
        )
    )
    (numbers,) = on_host([signals.collect()])
    values = signals.step(Moment(step=1, seconds=1.0, model=model), numbers)
    missing = signals.missing()
    signals.end()
    return values, missing, outputs


def entropy(logits: Tensor) -> float:
    log_p = logits.double().log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1).mean().item()


@pytest.mark.parametrize("make", [t5, bart, bert])
def test_labels_that_are_not_shifted_are_all_counted(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make()
    values, missing, outputs = watched(model, LABELS)
    is_label = LABELS != IGNORED
    assert kind_of(model).label_shift == 0
    assert values["throughput/label_tokens"] == is_label.sum()
    assert values["loss/step"] == pytest.approx(outputs.loss.item(), rel=1e-6)
    assert values["entropy/train"] == pytest.approx(entropy(outputs.logits[is_label]), rel=1e-5)
    assert not [text for text in missing if "CE" in text or "entropy" in text]


def test_virtual_tokens_before_the_labels_are_counted_as_the_model_does() -> None:
    values, _, outputs = watched(prompted(), LABELS)
    is_label = LABELS != IGNORED
    logits = outputs.logits[:, 2:-1][is_label]
    assert values["throughput/label_tokens"] == is_label.sum()
    loss = nn.functional.cross_entropy(logits, LABELS[is_label])
    assert values["loss/step"] == pytest.approx(loss.item(), rel=1e-6)
    assert values["entropy/train"] == pytest.approx(entropy(logits), rel=1e-5)


def test_micro_batches_of_an_encoder_decoder_weigh_by_all_their_labels() -> None:
    torch.manual_seed(0)
    model = t5()
    signals = Signals(lambda name, error: pytest.fail(f"{name}: {error}"))
    signals.begin(Start(model=model, folder=Path()), {})
    total, tokens = 0.0, 0
    for row in range(2):
        ids, labels = IDS[row : row + 1], LABELS[row : row + 1]
        with torch.no_grad():
            outputs = model(input_ids=ids, labels=labels)
        log_p = outputs.logits.double().log_softmax(-1)[labels != IGNORED]
        total -= log_p.gather(-1, labels[labels != IGNORED][:, None]).sum().item()
        tokens += len(log_p)
        signals.forward(
            Batch(
                input_ids_BT=ids,
                attention_mask_BT=None,
                labels_BT=labels,
                outputs=outputs,
                items=None,
            )
        )
    (numbers,) = on_host([signals.collect()])
    values = signals.step(Moment(step=1, seconds=1.0, model=model), numbers)
    assert values["loss/step"] == pytest.approx(total / tokens, rel=1e-5)


def test_labels_of_a_causal_model_are_shifted_with_and_without_adapters() -> None:
    assert kind_of(tiny.model()).label_shift == kind_of(tiny.lora_model()).label_shift == 1
    assert kind_of(nn.Linear(1, 1)).label_shift == 1


SHAPES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "dict": lambda loss, logits: {"logits": logits, "loss": loss},
    "tuple": lambda loss, logits: (loss, logits),
    "list": lambda loss, logits: [loss, logits],
    "longer": lambda loss, logits: (loss, logits, (logits,)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_outputs_are_read_as_the_trainer_reads_them(shape: Callable[[Tensor, Tensor], Any]) -> None:
    expected, _, _ = watched(tiny.model(), LABELS)
    values, missing, _ = watched(Wrapped(shape), LABELS)
    for name in ("loss/step", "entropy/train"):
        assert values[name] == expected[name]
    assert not [text for text in missing if "CE" in text or "entropy" in text]


@pytest.mark.parametrize(
    "shape",
    [
        lambda loss, logits: (loss,),
        lambda loss, logits: {"loss": loss},
        lambda loss, logits: (loss, None),
        lambda loss, logits: (loss, logits.mean(-1)),
    ],
)
def test_a_loss_alone_is_read_and_the_logits_are_said_to_be_missing(
    shape: Callable[[Tensor, Tensor], Any],
) -> None:
    values, missing, _ = watched(Wrapped(shape), LABELS)
    assert math.isfinite(values["loss/step"])
    assert "entropy/train" not in values
    (text,) = (text for text in missing if "entropy" in text)
    assert "gives neither entropy nor logits" in text


@pytest.mark.parametrize(
    "shape", [lambda loss, logits: (logits, logits), lambda loss, logits: (), lambda *_: None]
)
def test_outputs_without_a_loss_are_said_to_have_none(
    shape: Callable[[Tensor, Tensor], Any],
) -> None:
    values, missing, _ = watched(Wrapped(shape), LABELS)
    assert "loss/step" not in values
    assert [text for text in missing if text.startswith("no streaming CE: the model returns no")]


CLASSES = [
    (classifier, torch.tensor([0, 1])),
    (classifier, torch.tensor([[0.0, 1.0], [1.0, 0.0]])),
    (tagger, LABELS.clamp(max=12)),
]


@pytest.mark.parametrize(("make", "labels"), CLASSES)
def test_the_loss_over_classes_is_read_and_no_class_is_taken_for_a_token(
    make: Callable[[], nn.Module], labels: Tensor
) -> None:
    torch.manual_seed(0)
    model = make()
    values, missing, outputs = watched(model, labels)
    assert values["loss/step"] == pytest.approx(outputs.loss.item(), rel=1e-6)
    assert not {"entropy/train", "throughput/label_tokens"} & set(values)
    what = kind_of(model).what
    assert f"no token entropy: {what}, and its labels are no tokens" in missing
    assert not [text for text in missing if "CE" in text]


def test_micro_batches_of_a_tagger_weigh_by_their_labels_whatever_the_trainer_divides_by() -> None:
    torch.manual_seed(0)
    model = tagger()
    signals = Signals(lambda name, error: pytest.fail(f"{name}: {error}"))
    signals.begin(Start(model=model, folder=Path()), {})
    losses, counts = [], []
    for row in range(2):
        ids, labels = IDS[row : row + 1], LABELS[row : row + 1].clamp(max=12)
        outputs = model(input_ids=ids, labels=labels)
        losses.append(outputs.loss.item())
        counts.append((labels != IGNORED).sum().item())
        signals.forward(
            Batch(
                input_ids_BT=ids,
                attention_mask_BT=None,
                labels_BT=labels,
                outputs=outputs,
                items=6,
            )
        )
        outputs.loss.backward()
    (numbers,) = on_host([signals.collect()])
    values = signals.step(Moment(step=1, seconds=1.0, model=model), numbers)
    mean = sum(loss * n for loss, n in zip(losses, counts, strict=True)) / sum(counts)
    assert values["loss/step"] == pytest.approx(mean, rel=1e-6)


def test_labels_that_the_trainer_keeps_to_itself_are_said_to_be_missing() -> None:
    values, missing, _ = watched(tiny.model(), LABELS, given=False)
    assert "loss/step" not in values
    assert "no token entropy: the model is given no labels" in missing
    assert [text for text in missing if text.startswith("no streaming CE: the model returns no")]


def test_a_loss_of_the_models_own_making_is_not_said_to_be_none() -> None:
    class Own(nn.Module):
        def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
            return {"loss": input_ids.float().mean()}

    _, missing, _ = watched(Own(), None, given=False)
    assert "no streaming CE: the model is given no labels" in missing
