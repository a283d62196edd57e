"""Models that are compiled: nothing of the monitor is traced, and it sees what it always sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn
from transformers import Trainer, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.derive.history import History
from heldout.evals.neutral import neutral
from heldout.store.journal import read

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 3
FULLGRAPH = "ACCELERATE_DYNAMO_USE_FULLGRAPH"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No graph of another test."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def plain() -> nn.Module:
    model: nn.Module = tiny.model()
    return model


def adapted() -> nn.Module:
    model: nn.Module = tiny.lora_model()
    return model


def in_place() -> nn.Module:
    model = adapted()
    model.compile(backend="eager", fullgraph=True)
    return model


def inside() -> nn.Module:
    model: Any = adapted()
    model.get_base_model().compile(backend="eager", fullgraph=True)
    return model  # type: ignore[no-any-return]


def layers() -> nn.Module:
    model: Any = adapted()
    for layer in model.get_base_model().model.layers:
        layer.compile(backend="eager", fullgraph=True)
    return model  # type: ignore[no-any-return]


def run(
    folder: Path, make: Callable[[], nn.Module], monitor: heldout.Monitor | None, **more: Any
) -> tuple[list[float], list[torch.Tensor], int]:
    """The logged losses, the trained weights, and how many graphs were compiled."""
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters  # type: ignore[attr-defined]
    counters.clear()
    tokenizer, model = tiny.tokenizer(), make()
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=STEPS,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **more,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[monitor] if monitor else [],
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, list(model.parameters()), counters["stats"]["unique_graphs"]


def history(folder: Path) -> History:
    return History.of(read(folder / "runs" / "r" / "journal.jsonl")[0])


BY_THE_TRAINER = {"torch_compile": True, "torch_compile_backend": "eager"}


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (plain, BY_THE_TRAINER),
        (adapted, BY_THE_TRAINER),
        (in_place, {}),
        (inside, {}),
        (layers, {}),
    ],
)
def test_a_model_that_must_be_one_graph_trains_the_same_and_every_step_is_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], nn.Module],
    more: dict[str, Any],
) -> None:
    for name in (FULLGRAPH, f"{FULLGRAPH}_MODE"):
        monkeypatch.setenv(name, "true")
    monitor = heldout.Monitor(runs=tmp_path / "runs", run="r")
    losses, weights, graphs = run(tmp_path, make, monitor, **more)
    expected = run(tmp_path, make, None, **more)
    assert losses == expected[0]
    assert all(map(torch.equal, weights, expected[1]))
    assert graphs == expected[2], "nothing is compiled anew for the monitor"
    found = history(tmp_path)
    assert found.columns.get("loss/step").values.tolist() == pytest.approx(losses, rel=1e-6)
    assert len(found.columns.get("entropy/train")) == STEPS
    assert not [note for note in found.notes if note.topic == "failure"]


def test_evaluations_in_between_leave_a_model_compiled_in_place_its_one_graph(
    tmp_path: Path,
) -> None:
    eval_set = tiny.write_jsonl(tmp_path / "fixed_eval.jsonl", tiny.rows(33)[10:])
    monitor = heldout.Monitor(eval_set, every=1, runs=tmp_path / "runs", run="r")
    losses, weights, _ = run(tmp_path, in_place, monitor)
    expected = run(tmp_path, in_place, None)
    assert losses == expected[0]
    assert all(map(torch.equal, weights, expected[1]))
    assert [result.step for result in history(tmp_path).evals] == [0, 1, 2, 3]


class Enclosed(Trainer):
    """Calls the model from inside a function of its own that is compiled."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        inputs.pop("num_items_in_batch", None)
        compiled = torch.compile(
            lambda ids, labels: model(input_ids=ids, labels=labels).loss,
            backend="eager",
            fullgraph=True,
        )
        loss: torch.Tensor = compiled(inputs["input_ids"], inputs["labels"])
        return loss


def test_a_model_called_from_inside_a_graph_is_trained_and_what_is_not_seen_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "Trainer", Enclosed)
    monitor = heldout.Monitor(runs=tmp_path / "runs", run="r")
    losses, _, _ = run(tmp_path, plain, monitor)
    found = history(tmp_path)
    assert len(losses) == STEPS
    assert not len(found.columns.get("loss/step"))
    told = [note.text for note in found.notes if "inside compiled code" in note.text]
    assert len(told) == 1


@pytest.mark.train
def test_an_evaluation_compiles_nothing_and_training_is_compiled_again() -> None:
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model = tiny.model()
    model.compile(backend=backend, fullgraph=True)
    ids = torch.arange(3, 11)[None]
    model(input_ids=ids)
    known = len(graphs)
    with neutral(model):
        for length in range(2, 7):
            model(input_ids=ids[:, :length])
    assert len(graphs) == known > 0
    model(input_ids=ids[:, :5])
    assert len(graphs) > known
