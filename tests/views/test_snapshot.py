"""The one picture of a run that every view shows."""

from __future__ import annotations

import math

from facts import (
    checkpoint,
    evaluation,
    history,
    layers,
    losses,
    note,
    run,
    sample,
    score,
    strict_json,
)

from heldout.derive.history import History
from heldout.records import (
    SCHEMA,
    AnyRecord,
    Data,
    Layer,
    Layers,
    Metric,
    Part,
    Rows,
    State,
    Verdict,
    encode,
)
from heldout.verdicts.judge import Judge
from heldout.views.snapshot import (
    MOST_CHANGES,
    MOST_ROWS,
    alerts,
    contract,
    not_checked,
    snapshot,
)

CONTRACT = {
    "fixed_eval",
    "bucket_matrix",
    "lora_layer_deltas",
    "streaming_ce",
    "current_entropy",
    "throughput",
    "smart_alerts",
}


def step(number: int, **more: float) -> AnyRecord:
    """A step with every metric that the contract asks for."""
    values = {
        "loss/streaming": 0.78,
        "entropy/train": 0.5,
        "throughput/tokens_per_second": 1000.0,
        "throughput/tokens_per_step": 512.0,
        "throughput/total_tokens": 512.0 * number,
        "time/step": 0.5,
    }
    return sample(number, 1.0, **values | more)


def judged(*facts: AnyRecord) -> History:
    judge = Judge()
    for fact in facts:
        judge.feed(fact)
    return judge.history


def full() -> History:
    metric = Metric(
        name="loss/step", title="L", unit="nats", direction="lower", help="L.", source="x"
    )
    return judged(
        run(total_steps=9),
        metric,
        *evaluation(0, score(40), pattern="math"),
        step(1),
        layers(1, [0.1, 0.4, 0.2], qkv=0.1),
        *evaluation(1, score(80), pattern="math"),
        checkpoint(1),
        step(2, **{"loss/streaming": math.nan}),
        note(2, "failure", "x"),
    )


def test_the_contract_is_filled_from_what_was_recorded() -> None:
    fields = contract(full())
    assert fields.keys() == CONTRACT
    assert fields["fixed_eval"]["em"] == 0.8
    assert fields["bucket_matrix"]["step"] == 1
    assert fields["bucket_matrix"]["cells"][0]["correct"] == 80
    layer = fields["lora_layer_deltas"][1]
    assert (layer["layer"], layer["qkv"], layer["mlp"], layer["delta_norm"]) == (1, 0.1, 0.0, 0.4)
    assert math.isnan(fields["streaming_ce"])
    assert fields["current_entropy"] == 0.5
    assert fields["throughput"]["tokens_per_sec"] == 1000.0
    assert fields["throughput"]["tokens_per_step"] == 512.0
    assert fields["throughput"]["total_tokens"] == 1024.0


def test_the_contract_is_there_before_anything_is() -> None:
    fields = contract(history())
    assert fields.keys() == CONTRACT
    assert fields["fixed_eval"] == {}
    assert fields["bucket_matrix"] == {}
    assert fields["lora_layer_deltas"] == []
    assert fields["streaming_ce"] is None
    assert fields["throughput"] == {}


def test_the_picture_is_strict_json_also_with_nan() -> None:
    picture = strict_json(encode(snapshot(full())))
    assert picture["schema"] == SCHEMA
    assert (picture["state"], picture["step"]) == ("running", 2)
    assert picture["latest"]["loss/streaming"] == "NaN"
    assert picture["metrics"]["loss/step"]["unit"] == "nats"
    assert [result["step"] for result in picture["evals"]] == [0, 1]
    assert picture["decision"]["checkpoint"] == "checkpoint-1"
    assert picture["advice"] == picture["decision"]["advice"]
    assert [layer["layer"] for layer in picture["lora"]["top"]] == [1, 2, 0]
    assert [saved["path"] for saved in picture["checkpoints"]] == ["checkpoint-1"]
    assert [text["topic"] for text in picture["notes"]] == ["failure"]


def test_the_layers_are_told_by_movement_by_impact_and_by_what_is_wrong() -> None:
    rows = [
        Layer(
            stack="",
            layer=i,
            delta_norm=1.0,
            relative=0.1 * i,
            impact=4 * share,
            impact_share=share,
            parts={"mlp": Part(norm=1.0, impact=4 * share, impact_share=share)},
        )
        for i, share in enumerate((0.5, 0.375, 0.125))
    ]
    facts = [
        Layers(step=at, time=0.0, layers=rows, troubles={"a.mlp": "stalled"}) for at in (1, 2, 3)
    ]
    shown = snapshot(history(run(), *facts))["lora"]
    assert shown["movement"] == "relative"
    assert [layer["layer"] for layer in shown["top_moved"]] == [2, 1, 0]
    assert [layer["layer"] for layer in shown["top_impact"]] == [0, 1, 2]
    assert shown["kinds"] == [{"kind": "mlp", "norm": math.sqrt(3), "impact": 4.0, "share": 1.0}]
    assert [row["module"] for row in shown["troubles"]] == ["a.mlp"]
    assert shown["num_troubles"] == 1
    assert shown["over_time"]["steps"] == [1, 2, 3]
    assert shown["over_time"]["layers"][0]["moved"] == [0.2, 0.2, 0.2]


def test_status_holds_the_layers_without_their_parts() -> None:
    layer = Layer(stack="", layer=0, delta_norm=1.0, impact=0.5, parts={"mlp": Part(norm=1.0)})
    (row,) = contract(history(Layers(step=1, time=0.0, layers=[layer])))["lora_layer_deltas"]
    assert row["impact"] == 0.5
    assert row.keys() == {*Layer.__struct_fields__} - {"parts"}


def test_a_journal_without_parts_shows_its_norms_by_kind() -> None:
    (layer,) = snapshot(history(layers(1, [0.4], qkv=0.1)))["lora"]["layers"]
    assert layer["parts"].keys() == {"qkv"}
    assert layer["parts"]["qkv"]["norm"] == 0.1


def test_the_picture_of_nothing_has_the_same_fields() -> None:
    assert snapshot(history()).keys() == snapshot(full()).keys()
    nothing = snapshot(history())["lora"]
    assert nothing.keys() == snapshot(full())["lora"].keys()
    assert nothing["note"] == "not read yet"


def test_open_alerts_come_first_and_the_closed_and_silent_do_not_come() -> None:
    def verdict(rule: str, state: str, at: int) -> Verdict:
        fields = {"level": "warning", "message": "m", "action": "a"}
        return Verdict(step=at, time=float(at), rule=rule, state=state, **fields)  # type: ignore[arg-type]

    folded = history(
        verdict("solved", "resolved", 9),
        verdict("old", "open", 1),
        verdict("worse", "escalated", 3),
        verdict("blind", "no-data", 4),
        verdict("broken", "error", 5),
        verdict("gone", "closed", 6),
    )
    assert [alert["rule"] for alert in alerts(folded)] == ["worse", "old", "solved"]
    assert [row["rule"] for row in contract(folded)["smart_alerts"]] == ["worse", "old"]
    assert [row["rule"] for row in not_checked(folded)] == ["blind", "broken"]
    assert alerts(folded)[0].keys() >= {"level", "message", "action"}


def test_a_rule_that_cannot_look_is_listed_with_its_reason() -> None:
    rows = {row["rule"]: row["reason"] for row in not_checked(judged(run(), *losses([1.0])))}
    assert rows["regression"] == "needs 2 evaluations, has 0"
    assert "loss-not-finite" not in rows


def told(step: int, rule: str, state: State, scope: str = "") -> Verdict:
    return Verdict(
        step=step,
        time=float(step),
        rule=rule,
        scope=scope,
        state=state,
        level="warning",
        message=f"{rule} at {step}",
        action="",
    )


def test_the_history_of_the_alerts_tells_every_change_of_each() -> None:
    folded = history(
        run(),
        told(1, "spike", "pending"),
        told(2, "spike", "open"),
        told(3, "drift", "open", "math"),
        told(4, "plateau", "no-data"),
        told(5, "spike", "resolved"),
        told(9, "spike", "closed"),
    )
    threads = snapshot(folded)["alert_history"]
    assert [(thread["rule"], thread["scope"]) for thread in threads] == [
        ("spike", ""),
        ("drift", "math"),
    ]
    assert [(change["state"], change["step"]) for change in threads[0]["changes"]] == [
        ("pending", 1),
        ("open", 2),
        ("resolved", 5),
        ("closed", 9),
    ]
    assert threads[0]["changes"][1]["time"] == 2.0
    assert [alert["rule"] for alert in snapshot(folded)["alerts"]] == ["drift"]


def test_a_long_history_of_alerts_is_cut_at_its_start() -> None:
    many = [told(step, "spike", "open" if step % 2 else "resolved") for step in range(1, 1001)]
    changes = snapshot(history(run(), *many))["alert_history"][0]["changes"]
    assert len(changes) == MOST_CHANGES
    assert changes[-1]["step"] == 1000


def test_a_new_run_in_the_same_journal_forgets_the_alerts_of_the_old() -> None:
    assert snapshot(history(run(), told(1, "spike", "open"), run()))["alert_history"] == []


def test_the_training_data_are_told_with_shares_and_their_first_rows() -> None:
    data = Data(
        time=0.0,
        rows=1000,
        looked_at=500,
        tokens=8000,
        label_tokens=2000,
        found={"cut": Rows(n=100, rows=list(range(100))), "empty": Rows(n=0, rows=[])},
    )
    facts = snapshot(history(run(), data))["data"]
    assert facts["label_share"] == 0.25
    assert list(facts["found"]) == ["cut"]
    assert facts["found"]["cut"] == {"n": 100, "rows": list(range(MOST_ROWS)), "share": 0.2}


def test_a_training_set_without_tokens_has_no_share_of_labels() -> None:
    data = Data(time=0.0, rows=0, looked_at=0, tokens=0, label_tokens=0)
    assert snapshot(history(run(), data))["data"]["label_share"] is None
    assert snapshot(history(run()))["data"] is None
