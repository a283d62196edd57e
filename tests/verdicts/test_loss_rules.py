"""Spikes, divergence, explosions and runs that learn nothing, as tables of series."""

from __future__ import annotations

import math
import random

import pytest
from facts import at, checkpoint, evaluation, losses, run, sample, score
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import Facts, life, logged, noisy, opened, said, series, waiting

from heldout.records import Sample, Verdict
from heldout.verdicts.judge import Judge
from heldout.verdicts.rules import (
    divergence,
    grad_explosion,
    loss_not_finite,
    loss_scale,
    loss_spike,
    no_reward_signal,
    not_learning,
)

NAN, INF = math.nan, math.inf
CALM = [1.0 + 0.02 * (i % 3) for i in range(40)]
SEED = st.integers(0, 10**6)
WIDTH = st.floats(0.0, 0.8)


@pytest.mark.parametrize(
    ("values", "states"),
    [
        ([], []),
        (CALM, []),
        ([*CALM, 1.4, 1.0], []),  # below 1.5 times
        ([*CALM, 3.0, 1.0], ["open at 41", "resolved at 42"]),
        ([*CALM, 3.0, 1.3, 1.3, 1.0], ["open at 41", "resolved at 44"]),  # holds above 1.25 times
        ([*CALM, *[3.0] * 12], ["open at 41", "resolved at 46"]),  # the new level is the baseline
        ([*CALM, NAN, 1.0], ["open at 41", "resolved at 42"]),
        ([*CALM, INF, 1.0], ["open at 41", "resolved at 42"]),
        ([*CALM[:14], 3.0], []),  # too early to know the noise
        ([*CALM[:15], 3.0], ["open at 16"]),
        ([0.004] * 40 + [0.2], []),  # next to nothing
        ([0.05] * 40 + [0.12], []),  # less than 0.1 nats
        ([-0.01, 0.0, 0.02] * 15 + [0.4], []),  # a policy gradient's
        ([0.0] * 40 + [1.0], []),
        ([1e30] * 40 + [1e31], ["open at 41"]),
    ],
)
def test_a_spike_is_out_of_its_own_noise(values: list[float], states: list[str]) -> None:
    assert life(loss_spike.RULE, losses(values)) == states
    assert life(loss_spike.RULE, logged(values, every=1)) == states


def test_a_spike_says_where_and_how_much() -> None:
    alert = opened(loss_spike.RULE, losses([*CALM, 3.0]))
    assert alert.message == "Loss spike at step 41: 3 after 1.02"
    assert alert.evidence["jump_in_noise"] > 8
    assert "step 41" in alert.action


def test_jumps_that_are_usual_are_no_spike() -> None:
    hard = [2.2 if i % 9 == 8 else loss for i, loss in enumerate(noisy(60, 0.02))]
    assert life(loss_spike.RULE, losses(hard)) == []
    assert life(loss_spike.RULE, losses([*hard, 1.0, 9.0]))[-1] == "open at 62"


@pytest.mark.parametrize(("before", "level"), [(1.99, "info"), (1.9, "info"), (2.01, "warning")])
def test_a_spike_as_an_epoch_begins_is_info(before: float, level: str) -> None:
    facts = losses(CALM)
    facts += [sample(41, 1.0, epoch=before), sample(42, 3.0, epoch=before + 0.2)]
    assert opened(loss_spike.RULE, facts).level == level


@settings(max_examples=40)
@given(SEED, WIDTH)
def test_pure_noise_never_spikes_nor_diverges(seed: int, width: float) -> None:
    """300 steps with noise up to a factor of 2.2, as with batches of one example."""
    facts = losses(noisy(300, width, seed, fall=0.5))
    assert life(loss_spike.RULE, facts) == []
    assert life(divergence.RULE, facts) == []
    assert life(grad_explosion.RULE, series("grad/norm", noisy(300, width, seed))) == []


def test_a_saw_tooth_and_an_epoch_staircase_are_silent() -> None:
    tooth = [2.0 * math.exp(-i / 400) * (1 - 0.3 * (i % 50) / 50) for i in range(400)]
    stairs = [2.0 * 0.6 ** (i // 100) for i in range(400)]
    for values in (tooth, stairs):
        assert life(loss_spike.RULE, losses(values)) == []
        assert life(divergence.RULE, losses(values)) == []


UP = [1.0 + 0.2 * i for i in range(40)]


@pytest.mark.parametrize(
    ("values", "states"),
    [
        ([], []),
        (CALM, []),
        ([*CALM, *[1.45] * 40], []),
        ([*CALM, *[1.6] * 40], ["open at 50"]),  # five of nine, six rows
        ([*CALM, *[9.0] * 5, *CALM], []),  # a spike of five rows
        ([*CALM, *[9.0] * 20, *CALM], ["open at 50", "resolved at 65"]),
        ([*CALM, *[9.0] * 20, *[1.3] * 40], ["open at 50"]),  # not back yet
        ([*CALM, *[NAN] * 20], []),  # another rule's
        ([0.3] * 40 + [0.5] * 40, []),  # less than 0.25 nats
        ([0.03] * 40 + [0.11] * 40, ["open at 50"]),  # three times
        ([0.001] * 40 + [0.05] * 40, []),  # both near zero
        ([-0.01, 0.0, 0.02] * 15 + [0.05] * 20, []),
        (UP, ["open at 15"]),
        ([1.0, 4.3, 8.8, 13.5, 15.7, 15.0, 18.8, 20.8, 25.6, 29.6], ["open at 9"]),
    ],
)
def test_divergence_is_a_level_that_left_its_best(values: list[float], states: list[str]) -> None:
    assert life(divergence.RULE, losses(values)) == states
    assert life(divergence.RULE, logged(values, every=1)) == states


def test_divergence_says_what_to_go_back_to() -> None:
    facts = [*losses(CALM[:30]), checkpoint(30), *[sample(i, 3.0) for i in range(31, 60)]]
    alert = opened(divergence.RULE, facts)
    assert alert.level == "error"
    assert alert.message == "Training diverges: the loss rose from 1.01 (step 4) to 3"
    assert alert.action == "Stop. Start again with the learning rate divided by 3."
    falling = [*losses([2.0 - i / 30 for i in range(30)]), *facts[30:]]
    assert "Resume from checkpoint-30" in opened(divergence.RULE, falling).action


@pytest.mark.parametrize(
    ("vocabulary", "before", "states"),
    [
        (1000, 6.0, ["open at 50"]),
        (1000, 6.85, []),  # it always guessed
        (None, 6.0, []),
        (0, 6.0, []),
    ],
)
def test_a_loss_that_rises_to_that_of_guessing_is_divergence(
    vocabulary: int | None, before: float, states: list[str]
) -> None:
    begun = run(training={"vocabulary": vocabulary})
    values = [before] * 40 + [math.log(1000) + 0.01] * 20
    assert life(divergence.RULE, [begun, *losses(values)]) == states


def evaluated_beside(losses_: list[float], ces: list[float], every: int) -> Facts:
    """Steps with an evaluation of the fixed set behind each `every`-th of them."""
    facts: Facts = []
    for step, loss in enumerate(losses_, start=1):
        facts.append(sample(step, loss))
        if step % every == 0:
            facts += evaluation(step, score(50), ce=ces[min(step // every, len(ces)) - 1])
    return facts


SHIFT = CALM + [3.0] * 80


@pytest.mark.parametrize(
    ("ces", "every", "states"),
    [
        ([1.0, 1.0], 20, ["pending at 50", "closed at 60"]),  # the held-out set is well
        ([1.0, 1.0, 1.3], 20, ["pending at 50", "open at 60"]),
        ([1.0, 1.0, 1.3, 1.04], 20, ["pending at 50", "open at 60", "resolved at 80"]),
        ([1.0, 1.0, NAN], 20, ["pending at 50", "open at 61"]),
        ([1.0], 60, ["open at 50"]),  # only one so far: nobody knows when the next is due
        ([1.0] * 4, 10, ["pending at 50", "closed at 50"]),
    ],
)
def test_held_out_losses_have_the_last_word_on_divergence(
    ces: list[float], every: int, states: list[str]
) -> None:
    assert life(divergence.RULE, evaluated_beside(SHIFT[:85], ces, every)) == states


def rises_again(again: float, every: int = 500) -> Facts:
    """A loss that leaves its best at step 980 and rises again at 1010; held-out it is well at 1000."""
    facts = losses([1.0] * 979 + [1.32] * 30 + [again] * 391)
    for step in (1000, 1000 - every):
        facts[step:step] = evaluation(step, score(50), ce=1.0)
    return facts


@pytest.mark.parametrize(
    ("again", "every", "states"),
    [
        (9.0, 500, ["open at 1019"]),
        (1.7, 500, []),  # not 1.5 times what was well
        (1.5, 40, []),
        (9.0, 40, ["pending at 1019", "open at 1041"]),  # one was due at 1040, and did not come
    ],
)
def test_a_good_held_out_loss_excuses_the_level_it_was_made_at_and_no_other(
    again: float, every: int, states: list[str]
) -> None:
    assert life(divergence.RULE, rises_again(again, every=every)) == states


def test_a_divergence_from_a_level_that_was_well_goes_back_to_it() -> None:
    facts = rises_again(9.0)
    facts.insert(facts.index(sample(1001, 1.32)), checkpoint(1000))
    alert = opened(divergence.RULE, facts)
    assert alert.message == "Training diverges: the loss rose from 1.32 (step 1000) to 9"
    assert "Resume from the recommended checkpoint" in alert.action
    assert (alert.evidence["best_level"], alert.evidence["from_level"]) == (1.0, 1.32)


def gradients(norms: list[float], values: list[float]) -> Facts:
    return [
        sample(i, x, grad_norm=g)
        for i, (g, x) in enumerate(zip(norms, values, strict=False), start=1)
    ]


ONE = [1.0 + 0.1 * (i % 3) for i in range(40)]


@pytest.mark.parametrize(
    ("norms", "values", "states"),
    [
        ([*ONE, 9.0], [*CALM, 1.0], []),
        ([*ONE, 50.0, *ONE[:10]], CALM + CALM, ["pending at 41", "closed at 49"]),
        ([*ONE, 50.0], [*CALM, 2.0], ["open at 41"]),
        ([*ONE, 50.0, 1.0], [*CALM, 1.0, 2.0], ["pending at 41", "open at 42"]),
        (
            [*ONE, 50.0, *ONE[:9], 50.0, *ONE[:9], 50.0],
            CALM + CALM,
            ["pending at 41", "closed at 49", "pending at 51", "closed at 59", "open at 61"],
        ),
        ([*ONE, NAN, INF], [*CALM, 1.0, 1.0], []),  # loss-not-finite's
        ([0.0] * 41, CALM + CALM, []),
    ],
)
def test_a_gradient_explodes_when_the_loss_moves_too(
    norms: list[float], values: list[float], states: list[str]
) -> None:
    assert life(grad_explosion.RULE, gradients(norms, values)) == states


def test_an_explosion_says_how_large() -> None:
    alert = opened(grad_explosion.RULE, gradients([*ONE, 50.0], [*CALM, 2.0]))
    assert alert.message == (
        "The gradient norm exploded: 50, 45 times its median (1 in the last 40 rows)"
    )


def test_the_gradients_of_a_spike_that_was_told_are_part_of_it() -> None:
    facts = gradients([*ONE, 50.0, *ONE[:9]], [*CALM, 4.0, *CALM[:9]])
    assert life(grad_explosion.RULE, facts)[0] == "open at 41"
    judge = Judge(rules=[loss_spike.RULE, grad_explosion.RULE])
    verdicts = [v for fact in facts for v in judge.feed(fact) if isinstance(v, Verdict)]
    told = [(v.rule, v.state) for v in verdicts if v.state in ("open", "resolved", "pending")]
    assert told == [("loss-spike", "open"), ("loss-spike", "resolved")]


@pytest.mark.parametrize(("start", "told"), [(30, True), (40, True), (45, False)])
def test_a_spike_of_a_superseded_attempt_hides_no_gradients(start: int, told: bool) -> None:
    """A spike at step 41 is told; the run resumes from `start`, and the gradients explode at step 46."""
    first = gradients([*ONE, 50.0, *ONE[:19]], [*CALM, 4.0, *CALM[:19]])
    second = [
        sample(step, 1.3 if step == 46 else 1.0, grad_norm=50.0 if step == 46 else 1.1)
        for step in range(start + 1, 50)
    ]
    facts = [run(), *first, run(step=start, time=at(100)), *second]
    judge = Judge(rules=[loss_spike.RULE, grad_explosion.RULE])
    verdicts = [v for fact in facts for v in judge.feed(fact) if isinstance(v, Verdict)]
    opened_ = [v.step for v in verdicts if v.rule == "grad-explosion" and v.state == "open"]
    assert (46 in opened_) is told


def test_a_norm_that_is_usual_for_a_run_is_no_explosion() -> None:
    """A few examples make the loss of a reward model that has nearly learned its task."""
    usual = [*ONE[:20], 9.9, *ONE[:6], 9.9, *ONE[:12], 13.0]
    moved = [*CALM, 2.0]
    assert life(grad_explosion.RULE, gradients(usual[-len(moved) :], moved)) == ["pending at 41"]
    assert life(grad_explosion.RULE, gradients([*ONE, 13.0], moved)) == ["open at 41"]


def test_gradients_near_a_loss_of_zero_do_not_alert() -> None:
    quiet = [0.0005] * 40 + [0.01]
    assert life(grad_explosion.RULE, gradients([*ONE, 50.0], quiet)) == ["pending at 41"]


def training(values: list[float], total: int, rate: float = 1e-4, warmup: int = 0) -> Facts:
    begun = run(total_steps=total, training={"warmup_steps": warmup})
    return [begun, *losses(values, learning_rate=rate)]


FLAT = noisy(200, 0.02)


@pytest.mark.parametrize(
    ("facts", "states"),
    [
        (training(FLAT, 400), ["open at 80"]),
        (training(FLAT, 2000), ["open at 200"]),  # a tenth of the budget
        (training(FLAT, 400, warmup=100), ["open at 140"]),
        (training(FLAT, 400, rate=0.0), []),  # lr-schedule's
        ([*training(FLAT[:199], 200), sample(200, 1.0, learning_rate=0.0)], ["open at 80"]),
        (training(FLAT, 0), []),
        (training(noisy(200, 0.02, fall=0.3), 400), []),
        (training(noisy(200, 0.5), 400), []),  # too noisy to say
        (training(FLAT + noisy(200, 0.02, fall=1.5), 800), ["open at 80", "resolved at 246"]),
        (training([NAN] * 100, 400), []),
    ],
)
def test_not_learning_is_a_loss_that_surely_does_not_fall(facts: Facts, states: list[str]) -> None:
    assert life(not_learning.RULE, facts) == states


def evaluated(ces: list[float], every: int = 10) -> Facts:
    facts: Facts = [run(total_steps=200)]
    for i, ce in enumerate(ces):
        facts += evaluation(i * every, score(50), ce=ce)
        facts += [sample(s, 1.0, learning_rate=0.1) for s in range(i * every + 1, (i + 1) * every)]
    return facts


@pytest.mark.parametrize(
    ("ces", "states"),
    [
        ([2.0] * 3, []),
        ([2.0, 2.001, 2.0, 1.999], ["open at 30"]),
        ([2.0, 1.99, 1.98, 1.97], []),
        ([2.0, 2.0, 2.0, 2.0, 1.9], ["open at 30", "resolved at 40"]),
        ([2.0, 2.0, NAN, 2.0, 2.0], ["open at 40"]),
        ([NAN] * 4, []),  # loss-not-finite's
    ],
)
def test_not_learning_reads_the_fixed_set(ces: list[float], states: list[str]) -> None:
    assert life(not_learning.RULE, evaluated(ces)) == states


def test_not_learning_reads_the_trainers_own_evaluations() -> None:
    rows = logged([0.74, 0.7, 0.72, 0.75, 0.68], every=1, **{"learning_rate/logged": 1e-5})
    facts: Facts = [run(total_steps=5)]
    for fact in rows:
        assert isinstance(fact, Sample)
        facts += [
            Sample(step=fact.step, time=0.0, values=fact.values | {"loss/trainer_eval": 0.75})
        ]
    assert life(not_learning.RULE, facts) == ["open at 4"]


def pairs(margin: float, right: float, prefix: str = "rewards/", suffix: str = "") -> Facts:
    """A loss at ln 2 for 300 steps while margins rise to `margin` and accuracies from .5 to `right`."""
    rng = random.Random(1)
    rows: Facts = [run(total_steps=300)]
    for step in range(1, 301):
        part = step / 300
        values = {
            "loss/logged": 0.6931 + rng.gauss(0, 0.001),
            f"{prefix}margin{suffix}": margin * part + rng.gauss(0, 0.001),
            f"{prefix}accurac{'ies' if suffix else 'y'}": 0.5
            + (right - 0.5) * part
            + rng.gauss(0, 0.05),
        }
        rows.append(Sample(step=step, time=at(step), values=values))
    return rows


def test_margins_and_accuracies_are_signs_of_learning() -> None:
    def told(margin: float, right: float) -> list[str]:
        dpo = life(not_learning.RULE, pairs(margin, right, suffix="s"))
        reward = life(not_learning.RULE, pairs(margin, right, prefix=""))
        assert dpo == reward
        return dpo

    assert told(0.0, 0.5) == ["open at 110"]  # at ln 2, with margins around 0
    assert told(0.02, 0.5) == []
    assert told(0.0, 0.9) == []


def rewards(reward: float, spread: float, gradient: float, rows: int = 300) -> Facts:
    """A policy whose loss is 0 and whose reward rises to `reward`."""
    rng = random.Random(2)
    found: Facts = [run(total_steps=rows)]
    for step in range(1, rows + 1):
        values = {
            "loss/logged": 0.0,
            "grad/norm": gradient,
            "reward": reward * step / rows + (rng.gauss(0, 0.02) if spread else 0.0),
            "reward_std": spread,
        }
        found.append(Sample(step=step, time=at(step), values=values))
    return found


def test_a_policy_is_judged_by_its_reward() -> None:
    assert life(not_learning.RULE, rewards(1.0, 0.5, 0.1)) == []
    (stuck,) = said(not_learning.RULE, rewards(0.0, 0.5, 0.1))
    assert (stuck.state, stuck.message[:36]) == ("open", "Nothing is learned: the reward has c")
    for rule in (divergence.RULE, loss_spike.RULE, loss_not_finite.RULE, no_reward_signal.RULE):
        assert life(rule, rewards(1.0, 0.5, 0.1)) == []


def test_rewards_that_never_differ_are_no_signal() -> None:
    alert = opened(no_reward_signal.RULE, rewards(0.0, 0.0, 0.0))
    assert (alert.step, alert.level, alert.ends) == (20, "critical", "stop")
    assert life(no_reward_signal.RULE, rewards(0.0, 0.0, 0.1)) == []  # it learns by something else
    later = [*rewards(0.0, 0.0, 0.0, 30), *rewards(1.0, 0.5, 0.1, 60)[31:]]
    assert life(no_reward_signal.RULE, later) == ["open at 20", "resolved at 31"]
    assert "no reward_std" in waiting(no_reward_signal.RULE, losses(FLAT))


def test_the_loss_judged_is_the_one_trained_on() -> None:
    """Where a rejected answer's likelihood falls, as in DPO, the model's own cross-entropy rises."""
    facts: Facts = [
        sample(step, **{"ce/step": 2.0 + step / 20, "loss/logged": 0.7 / (1 + step / 50)})
        for step in range(1, 101)
    ]
    assert life(divergence.RULE, facts) == life(loss_not_finite.RULE, facts) == []


def test_not_learning_waits_for_what_it_needs() -> None:
    assert "budget" in waiting(not_learning.RULE, losses(FLAT)) or "planned" in waiting(
        not_learning.RULE, losses(FLAT)
    )
    assert "60 training losses" in waiting(not_learning.RULE, training(FLAT[:20], 400))


def accumulated(ratio: float, micro: int | None, rows: int = 4, window: int = 10) -> Facts:
    facts: Facts = [run(training={"gradient_accumulation_steps": micro} if micro else {})]
    true = noisy(rows * window, 0.1)
    for i, loss in enumerate(true, start=1):
        mean = sum(true[i - window : i]) / window
        extra = {"loss/logged": ratio * mean} if i % window == 0 else {}
        facts.append(sample(i, loss, **extra))
    return facts


@pytest.mark.parametrize(
    ("facts", "states"),
    [
        (accumulated(4.0, 4), ["open at 30"]),
        (accumulated(4.3, 4), ["open at 30"]),
        (accumulated(4.6, 4), []),
        (accumulated(1.0, 4), []),
        (accumulated(2.0, 2), ["open at 30"]),
        (accumulated(1.0, 2), []),
        (accumulated(4.0, 1), []),
        (accumulated(4.0, None), []),
        (accumulated(NAN, 4), []),
    ],
)
def test_loss_scale_compares_with_the_steps_own_loss(facts: Facts, states: list[str]) -> None:
    assert life(loss_scale.RULE, facts) == states


@pytest.mark.parametrize(
    ("ratio", "states"), [(8.0, ["open at 30"]), (8.9, []), (1.0, []), (NAN, [])]
)
def test_loss_scale_compares_with_evaluations_where_that_is_all(
    ratio: float, states: list[str]
) -> None:
    facts: Facts = [run(training={"gradient_accumulation_steps": 8})]
    for step in range(10, 50, 10):
        values = {"loss/logged": 2.0 * ratio, "loss/trainer_eval": 2.0}
        facts.append(Sample(step=step, time=0.0, values=values))
    assert life(loss_scale.RULE, facts) == states


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("zero", ["loss/step", "loss/trainer_eval"])
def test_loss_scale_divides_by_no_loss_of_zero(zero: str) -> None:
    facts: Facts = [run(training={"gradient_accumulation_steps": 8})]
    for step in range(10, 50, 10):
        values = {"loss/logged": 0.0, zero: 0.0}
        facts.append(Sample(step=step, time=0.0, values=values))
    assert life(loss_scale.RULE, facts) == []


def test_every_one_of_them_tells_what_it_waits_for() -> None:
    rules = (loss_spike, divergence, grad_explosion, not_learning, loss_scale)
    for module in rules:
        assert waiting(module.RULE, [run()]), module.RULE.name


@settings(max_examples=25)
@given(SEED, st.floats(0.01, 0.3), st.integers(60, 200))
def test_a_poisoned_batch_is_one_spike_that_resolves_and_no_divergence(
    seed: int, width: float, at_step: int
) -> None:
    values = noisy(260, width, seed, fall=0.5)
    values[at_step] *= math.exp(16 * max(width, 0.2))  # at 12 one in 200 is in the noise
    states = life(loss_spike.RULE, losses(values))
    assert states[0] == f"open at {at_step + 1}"
    assert states[1].startswith("resolved")
    assert int(states[1].rsplit(" ", 1)[1]) <= at_step + 20
    assert len(states) == 2
    assert life(divergence.RULE, losses(values)) == []


@settings(max_examples=25)
@given(SEED, st.floats(0.01, 0.1))
def test_a_loss_that_doubles_and_stays_diverges_within_fifteen_steps(
    seed: int, width: float
) -> None:
    rng = random.Random(seed)
    shift = [2.5 * math.exp(rng.gauss(0, width)) for _ in range(30)]
    states = life(divergence.RULE, losses([*noisy(150, width, seed), *shift]))
    assert len(states) == 1
    assert int(states[0].removeprefix("open at ")) <= 165


def test_two_alerts_of_a_fault_do_not_repeat() -> None:
    facts = losses([*CALM, *[5.0] * 40])
    assert len(said(loss_spike.RULE, facts)) == 2
    assert len(said(divergence.RULE, facts)) == 1
