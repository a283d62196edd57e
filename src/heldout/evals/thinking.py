"""What a chat template puts in front of an answer, so that texts can be compared without it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from heldout.evals.marks import MARK
from heldout.evals.match import UNFINISHED

THOUGHT = "heldout-thought-0"
"""Stands in for the thoughts in front of an answer, to see what a chat template puts around them."""
OPEN, CLOSE = "<think>", "</think>"
"""How thoughts are written in an answer's own text, and by templates that only take them off again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """What a chat template puts in front of an answer: a block of thoughts, the name of a channel.

    By default nothing. A text that begins with one of the `openers` is in the block until `closer`.
    """

    openers: tuple[str, ...] = ()
    closer: str = ""

    def off(self, text: str) -> str:
        """The text behind the block; all of it where no block ends in it."""
        if not self.closer:
            return text
        _, found, rest = text.partition(self.closer)
        return rest if found else text

    def running(self, text: str) -> bool:
        """Whether an unfinished text is in the block, or may still turn out to be."""
        if not self.closer or self.closer in text:
            return False
        start = text.rstrip(UNFINISHED).lstrip()
        return any(start.startswith(each) or each.startswith(start) for each in self.openers)


def around(asked: str, plain: str, full: str, template: str) -> Thinking:
    """What a template puts in front of an answer, from three conversations that it writes.

    `asked` is a question with the generation prompt, `plain` the same question answered with `MARK`, and
    `full` answered with `MARK` and the reasons `THOUGHT`. Where the template shows no reasons but
    knows of them, they are written as usual.
    """
    bare, head = (_behind(asked, whole).rpartition(MARK)[0].strip() for whole in (plain, full))
    before, thought, after = (part.strip() for part in head.partition(THOUGHT))
    if not thought and CLOSE in template:
        opened = asked.rstrip().endswith(OPEN)
        return Thinking(openers=("" if opened else OPEN,), closer=CLOSE)
    if not thought:
        return Thinking(openers=(bare,), closer=bare)
    closer = bare if bare and after.endswith(bare) else after
    if asked.rstrip().endswith(closer):  # the generation prompt has closed the block itself
        return Thinking()
    return Thinking(openers=(before, bare) if bare else (before,), closer=closer)


def _behind(asked: str, whole: str) -> str:
    """The whole without the characters that it begins with as the question does."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(asked, whole, strict=False))
    return whole[sum(1 for _ in same) :]
