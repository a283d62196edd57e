"""The judge: feed it the facts of a journal in order and it says what they mean.

It sees only the past and holds nothing but history, so judging a run while it trains, judging its
journal later, and judging a prefix all agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

import heldout.verdicts.rules
from heldout.derive.history import History
from heldout.folder import load
from heldout.records import AnyRecord, Checkpoint, Decision, EvalResult, Note, Run, Verdict
from heldout.verdicts.life import judge_rule
from heldout.verdicts.policy import decide
from heldout.verdicts.rule import Rule

Judged = Verdict | Decision


def all_rules() -> list[Rule]:
    """Every rule in `heldout.verdicts.rules`, by file name, silencing rules first."""
    rules: list[Rule] = load(heldout.verdicts.rules, "RULE")
    return sorted(rules, key=lambda rule: len(rule.silenced_by))


class Judge:
    """Folds facts into `history` and answers each with the verdicts and decisions it causes."""

    def __init__(self, rules: Sequence[Rule] | None = None) -> None:
        self.rules = all_rules() if rules is None else list(rules)
        self.history = History()
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
        if isinstance(fact, Verdict | Decision):
            return []
        self.history.add(fact)
        judged: list[Judged] = []
        for rule in self._asked[type(fact)]:
            for verdict in judge_rule(rule, self.history):
                self.history.add(verdict)
                judged.append(verdict)
        if judged or isinstance(fact, EvalResult | Checkpoint | Note):
            decision = decide(self.history)
            if _differs(decision, self.history.decision):
                self.history.add(decision)
                judged.append(decision)
        return judged


def judge(facts: Iterable[AnyRecord]) -> list[Judged]:
    """Judge a whole journal again, from its facts alone."""
    judge_ = Judge()
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
