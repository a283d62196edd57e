"""Look at training rows as the model is given them, token ids and labels, and count what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.evals.marks import Marks
from heldout.records import Rows

FEW_CUT = 3
"""Rows that share the longest length by being cut there, and not by chance."""
ALL_BUT = 0.9
"""Share of the rows without an end that must have that length."""
IGNORED = -100
"""The label of a token that the loss is not computed on."""
LISTED = 1000
"""Rows named for each thing that is wrong."""
BEHIND = 3
"""Trained tokens that a chat template may put behind the one that ends a turn, such as a line break."""

Ids = NDArray[np.int64]


class Tally:
    """Counts rows by kind and names the first of each."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[int, int | None]]] = {}

    def looked_for(self, *kinds: str) -> None:
        """These kinds are looked for, so none found means that there is none."""
        for kind in kinds:
            self._rows.setdefault(kind, [])

    def add(self, kind: str, row: int, partner: int | None = None) -> None:
        """One more row of this kind."""
        self._rows.setdefault(kind, []).append((row, partner))

    def found(self) -> dict[str, Rows]:
        """Every kind that was looked for, its first rows in order."""
        return {kind: _rows(found) for kind, found in self._rows.items()}


class TokenFacts:
    """What is known of training rows after some were added; kinds as in `records.Data.found`.

    `max_length` is where rows were cut, if they were; a row of that length without an end is then cut.
    `packed` rows hold several examples, so that neither a cut nor the last token says anything.
    Without `marks` (no tokenizer) ends, begins and templates are not looked for. `openings` are what the
    held-out prompts end with, one of which answers must be trained behind. `embeddings` is how many
    tokens the model has one for, None where that is not known.
    """

    def __init__(
        self,
        marks: Marks | None,
        max_length: int | None = None,
        packed: bool = False,
        openings: Iterable[tuple[int, ...]] = (),
        embeddings: int | None = None,
    ) -> None:
        self.marks = marks
        self.openings = set(filter(None, openings))
        self.max_length = max_length
        self.packed = packed
        self.embeddings = embeddings
        self.beyond: int | None = None  # the first token without an embedding
        self.looked_at = self.tokens = self.label_tokens = self.longest = 0
        self.strange = ""
        self.tally = Tally()
        self.tally.looked_for("empty", "masked")
        if embeddings is not None:
            self.tally.looked_for("no_embedding")
        if max_length is not None and not packed:
            self.tally.looked_for("cut", "cut_away")
        self._doubtful: list[
            tuple[int, int]
        ] = []  # rows without an end that may be cut, their length
        if marks:
            self.tally.looked_for(*(["no_end"] if marks.ends else []))
            self.tally.looked_for(*(["double_bos"] if marks.bos is not None else []))
            self.tally.looked_for(*(["unmarked"] if marks.own else []))
            self.tally.looked_for("foreign_marks")
            self.tally.looked_for(*(["opened_otherwise", "plain_text"] if self.openings else []))

    def add(
        self, row: int, ids: Ids, labels: Ids, length: int | None = None, strange: str = ""
    ) -> None:
        """Look at one row as the model gets it; `length` is the whole row's before any cut.

        Where nobody knows it, a row as long as `max_length` that has no end counts as cut. `strange`
        says what it holds of another chat template. The first label is never trained: the model
        predicts each token from those before it.
        """
        trained = labels[1:] != IGNORED
        num_trained = int(np.count_nonzero(trained))
        self.looked_at += 1
        self.tokens += len(ids)
        self.label_tokens += num_trained
        self.longest = max(self.longest, length or len(ids))
        kind = self._kind(ids, labels[1:][trained], length)
        if kind == "no_end" and length is None and self.max_length is None and not self.packed:
            self._doubtful.append((row, len(ids)))
        elif kind:
            self.tally.add(kind, row)
        if self.embeddings is not None and len(ids) and int(ids.max()) >= self.embeddings:
            self.beyond = int(ids.max()) if self.beyond is None else self.beyond
            self.tally.add("no_embedding", row)
        if self.marks is None:
            return
        bos = self.marks.bos
        if len(ids) > 1 and bos is not None and ids[0] == bos == ids[1]:
            self.tally.add("double_bos", row)
        asks = num_trained and not trained[0]  # of plain text all is trained
        if self.marks.own and asks and self.marks.own.isdisjoint(ids.tolist()):
            self.tally.add("unmarked", row)
        whole = kind not in ("cut", "cut_away")
        if self.openings and num_trained and whole and not self._opened(ids, trained):
            turns = self.marks.own - self.marks.ends
            text = not asks and turns.isdisjoint(ids.tolist())
            self.tally.add("plain_text" if text else "opened_otherwise", row)
        if strange:
            self.tally.add("foreign_marks", row)
            self.strange = self.strange or strange

    def found(self) -> dict[str, Rows]:
        """Every kind that was looked for. Call it once, at the end.

        Where nothing said at which length rows were cut, and nearly all that lack an end are just as
        long as the longest row while others have their end, they were cut there.
        """
        longest = [row for row, length in self._doubtful if length == self.longest]
        others_end = len(self._doubtful) < self.looked_at / 2
        nearly_all = len(longest) >= ALL_BUT * len(self._doubtful)
        cut = set(longest) if others_end and nearly_all and len(longest) >= FEW_CUT else set()
        if cut:
            self.max_length = self.longest
        for row, _ in self._doubtful:
            self.tally.add("cut" if row in cut else "no_end", row)
        return self.tally.found()

    def _opened(self, ids: Ids, trained: NDArray[np.bool_]) -> bool:
        """Whether a trained token stands behind one of the openings."""
        for opening in self.openings:
            size = len(opening)
            for at in np.flatnonzero(trained & (ids[:-1] == opening[-1])).tolist():
                if tuple(ids[max(0, at + 1 - size) : at + 1].tolist()) == opening:
                    return True
        return False

    def _kind(self, ids: Ids, trained: Ids, length: int | None) -> str:
        ends: Iterable[Any] = self.marks.ends if self.marks else ()
        last = trained if self.packed else trained[-(BEHIND + 1) :]
        ended = any(token in ends for token in last.tolist())
        if not len(ids):
            return "empty"
        if length is None:
            full = self.max_length is not None and len(ids) >= self.max_length
            cut = full and not ended and not self.packed and self.marks is not None
        else:
            cut = length > len(ids)
        if cut:
            return "cut" if len(trained) else "cut_away"
        if not len(trained):
            return "masked"
        return "" if ended or not ends else "no_end"


def evenly_spaced(n: int, most: int) -> list[int]:
    """At most `most` of the indices below n, evenly spaced, ascending."""
    return list(range(n)) if n <= most else [i * n // most for i in range(most)]


def coarse_to_fine(indices: list[int]) -> list[int]:
    """The same indices in an order of which every beginning is spread evenly over the whole.

    The van der Corput sequence: positions by their bits in reverse.
    """
    bits = max(1, (len(indices) - 1).bit_length())
    order = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits))
    return [indices[i] for i in order if i < len(indices)]


def _rows(found: list[tuple[int, int | None]]) -> Rows:
    first = sorted(found, key=lambda pair: pair[0])[:LISTED]
    partners = [partner for _, partner in first if partner is not None]
    return Rows(n=len(found), rows=[row for row, _ in first], partners=partners)
