"""History: the fold of a journal."""

from __future__ import annotations

from facts import checkpoint, evaluation, history, layers, losses, note, result, run, sample, score

from heldout.derive.history import History
from heldout.derive.patterns import matrix
from heldout.derive.progress import fixed_eval
from heldout.records import Metric, Verdict
from heldout.views.snapshot import snapshot


def steps(folded: History, name: str = "loss/step") -> list[int]:
    return folded.columns.get(name).steps.tolist()


def test_numbers_of_one_step_that_come_in_two_samples_are_one_row() -> None:
    folded = history(sample(1), sample(2, 0.5), sample(2, 0.25, learning_rate=0.1))
    assert steps(folded) == [1, 2]
    assert folded.columns.get("loss/step").last == 0.25
    assert steps(folded, "learning_rate") == [2]


ATTEMPT = [
    run(),
    *losses([1.0] * 6),
    *evaluation(3, score(3)),
    layers(3, [1.0]),
    checkpoint(3),
    *evaluation(6, score(9)),
    layers(6, [2.0]),
    checkpoint(6),
]


def test_a_run_that_resumes_supersedes_what_came_after_its_step() -> None:
    folded = history(*ATTEMPT, run(step=3))
    assert steps(folded) == [1, 2, 3]
    assert folded.step == 3
    assert [kept.step for kept in folded.evals] == [3]
    assert list(folded.items) == [3]
    assert [kept.step for kept in folded.layers] == [3]
    assert [kept.step for kept in folded.checkpoints] == [3]


def test_a_run_that_starts_anew_supersedes_everything() -> None:
    folded = history(*ATTEMPT, note(6, "failed"), run(time=2_000.0))
    fresh = history(run(time=2_000.0))
    assert vars(folded).keys() == vars(fresh).keys()
    assert snapshot(folded) == snapshot(fresh)


def test_a_sample_at_an_earlier_step_supersedes_without_a_note() -> None:
    folded = history(*losses([1.0] * 6), *evaluation(6, score(9)), sample(3, 7.0))
    assert steps(folded) == [1, 2, 3]
    assert folded.evals == []
    assert folded.items == {}


def test_what_was_derived_before_a_sample_at_an_earlier_step_is_forgotten() -> None:
    folded = history(run())
    for step in range(5):
        for fact in (sample(step + 1), *evaluation(step + 1, score(20 * step))):
            folded.add(fact)
    assert fixed_eval(folded)["step"] == 5
    folded.add(sample(2))
    assert fixed_eval(folded)["em_reference"] == 1
    assert fixed_eval(folded)["em"] == 0.0


def test_a_note_supersedes_nothing() -> None:
    folded = history(*losses([1.0] * 3), note(1, "failure"))
    assert steps(folded) == [1, 2, 3]


def test_an_evaluation_at_the_same_step_replaces_the_first() -> None:
    folded = history(*evaluation(5, score(3, 10)), *evaluation(5, score(7, 10)))
    assert [kept.correct for kept in folded.evals] == [7]
    assert matrix(folded.last_items)["rows"][0]["seen"] == 10


def test_a_checkpoint_saved_again_counts_once_and_a_reading_too() -> None:
    folded = history(
        checkpoint(1), checkpoint(2), checkpoint(1), layers(4, [1.0]), layers(4, [2.0])
    )
    assert [saved.step for saved in folded.checkpoints] == [2, 1]
    assert [layer.delta_norm for reading in folded.layers for layer in reading.layers] == [2.0]


def test_the_last_items_are_those_of_the_latest_evaluation() -> None:
    assert history().last_items == []
    folded = history(*evaluation(0, score(1, 4)), *evaluation(5, score(2, 4)))
    assert {row.step for row in folded.last_items} == {5}
    assert history(result(3, 1, 4)).last_items == []


def test_the_state_follows_the_run_through_its_attempts() -> None:
    folded = history()
    assert folded.state == "starting"
    seen = []
    for fact in (
        run(),
        sample(1),
        note(1, "failed", "out of memory"),
        run(step=1, time=1_002.0),
        sample(2),
        note(3, "finished"),
        run(time=1_010.0),
        sample(1),
    ):
        folded.add(fact)
        seen.append(folded.state)
    assert seen == [
        "starting",
        "running",
        "failed",
        "running",
        "running",
        "finished",
        "starting",
        "running",
    ]


def test_metrics_explain_themselves_by_name() -> None:
    metric = Metric(name="a", title="A", unit="", direction="none", help="A.", source="test")
    assert history(metric).metrics == {"a": metric}


def test_what_is_remembered_is_computed_once_until_the_next_evaluation() -> None:
    folded = history(*evaluation(0, score(1, 4)))
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return len(calls)

    assert [folded.remember("count", count) for _ in range(3)] == [1, 1, 1]
    folded.add(sample(1))
    assert folded.remember("count", count) == 1
    folded.add(checkpoint(1))
    assert folded.remember("count", count) == 2


class Count:
    """A fold that counts."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def add(self, step: int, value: float) -> None:
        self.seen.append(value)


def test_a_fold_is_of_what_the_series_holds_now() -> None:
    folded = history(sample(1, 1.0), sample(2, 2.0))
    assert folded.fold("loss/step", Count).seen == [1.0, 2.0]
    folded.add(sample(3, 3.0))
    assert folded.fold("loss/step", Count) is folded.fold("loss/step", Count)
    assert folded.fold("loss/step", Count).seen == [1.0, 2.0, 3.0]
    folded.add(sample(2, 5.0))
    assert folded.fold("loss/step", Count).seen == [1.0, 5.0]
    assert folded.fold("unknown", Count).seen == []


def test_a_fold_forgets_a_series_that_was_emptied() -> None:
    folded = history(sample(5, 1.0))
    assert folded.fold("loss/step", Count).seen == [1.0]
    folded.add(run(step=3, time=2_000.0))
    assert folded.fold("loss/step", Count).seen == []


def test_alerts_are_kept_by_rule_as_well() -> None:
    said = Verdict(
        step=1, time=0.0, rule="r", scope="s", state="open", level="info", message="", action=""
    )
    folded = history(run(), said)
    assert folded.alerts_of == {"r": {"s": said}}
    folded.add(run(time=2_000.0))
    assert folded.alerts_of == {}
