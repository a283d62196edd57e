"""The judge: feed it the facts of a journal in order and it says what they mean.

It sees only the past and holds nothing but history, so judging a run while it trains, judging its
journal later, and judging a prefix all agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import heldout.verdicts.rules
from heldout.derive.deciding import is_held_out
from heldout.derive.history import ENDS, History
from heldout.folder import load
from heldout.records import AnyRecord, Checkpoint, Decision, EvalResult, Note, Run, Sample, Verdict
from heldout.verdicts.custom import configured
from heldout.verdicts.life import Standing, closed, judge_rule, superseded
from heldout.verdicts.policy import ONLY_STOPPING, decide
from heldout.verdicts.rule import Rule

Judged = Verdict | Decision


def all_rules() -> list[Rule[Any]]:
    """Every rule in `heldout.verdicts.rules`, by file name, silencing rules first."""
    rules: list[Rule[Any]] = load(heldout.verdicts.rules, "RULE")
    return sorted(rules, key=lambda rule: len(rule.silenced_by))


class Judge:
    """Folds facts into `history` and answers each with the verdicts and decisions it causes.

    `rules` are heldout's own unless given, `more` those from a user's file. What a run's config says
    of its alerts (`alerts` settings: limits, rules left out, threshold rules) is applied as the `Run`
    record comes in, so that a replay judges by the same rules.
    """

    def __init__(
        self, rules: Sequence[Rule[Any]] | None = None, more: Sequence[Rule[Any]] = ()
    ) -> None:
        self._own = [*(all_rules() if rules is None else rules), *more]
        self.history = History()
        self._standing = Standing()
        self._ask(self._own)

    def _ask(self, rules: Sequence[Rule[Any]]) -> None:
        self.rules = list(rules)
        self._asked = {
            kind: [rule for rule in self.rules if kind is Run or kind in rule.on]
            for kind in get_args(AnyRecord)
        }

    def feed(self, fact: AnyRecord) -> list[Judged]:
        """Fold in one fact; returns new verdicts, then a new decision if it changed.

        The start of a run asks every rule once, so that each says what it waits for. A checkpoint
        or the end of the run changes no alert but can change the decision. Verdicts and decisions
        fed back in are ignored.
        """
        if isinstance(fact, (Verdict, Decision)):
            return []
        history, standing = self.history, self._standing
        history.add(fact)
        judged: list[Judged] = []
        if isinstance(fact, Run):
            self._ask(configured(self._own, fact.config.get("alerts") or {}))
            standing = self._standing = Standing.of(history)
            self._say(superseded(history, [rule.name for rule in self.rules]), judged)
        for rule in self._asked[type(fact)]:
            if said := judge_rule(rule, history, standing):
                self._say(said, judged)
        if isinstance(fact, Note) and fact.topic in ENDS:
            moot = ONLY_STOPPING if fact.topic == "finished" else ()
            self._say(closed(history, moot), judged)
        if judged or self._decides(fact):
            decision = decide(history)
            if _differs(decision, history.decision):
                history.add(decision)
                judged.append(decision)
        return judged

    def _say(self, verdicts: Sequence[Verdict], judged: list[Judged]) -> None:
        """Add verdicts to the history and to the answer."""
        for verdict in verdicts:
            self.history.add(verdict)
            self._standing.update(verdict.rule, self.history)
            judged.append(verdict)

    def _decides(self, fact: AnyRecord) -> bool:
        """Whether a fact can change the decision without changing an alert."""
        if isinstance(fact, Sample):  # the Trainer's own evaluation, where there is no other
            return not self.history.evals and any(map(is_held_out, fact.values))
        return isinstance(fact, EvalResult | Checkpoint | Note) or (
            isinstance(fact, Run) and fact.step > 0
        )


def judge(facts: Iterable[AnyRecord], more: Sequence[Rule[Any]] = ()) -> list[Judged]:
    """Judge a whole journal again, from its facts alone; `more` are rules from a user's file."""
    judge_ = Judge(more=more)
    return [judged for fact in facts for judged in judge_.feed(fact)]


def _differs(new: Decision, old: Decision | None) -> bool:
    if old is None:
        return True
    return (new.action, new.checkpoint, new.tied, new.reason, new.advice) != (
        old.action,
        old.checkpoint,
        old.tied,
        old.reason,
        old.advice,
    )
