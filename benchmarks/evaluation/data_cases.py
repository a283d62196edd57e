"""What heldout makes of every held-out set in a folder: what counts, what is refused, and the score.

    python benchmarks/evaluation/data_cases.py DIR [--template qwen3 --template gemma]

DIR holds data files, or folders of them. Each is loaded with each of TRL's chat templates that is named, and
scored twice by the one pass: with a model that has learned every row as it is trained by heart (exact match
must be 100 %), and with one that ends every answer at once (it must be 0 %). Both are real modules.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import memory

from heldout.errors import HeldoutError
from heldout.evals.evaluate import Evaluator
from heldout.evals.fixed_set import FixedSet, load
from heldout.evals.options import EvalOptions
from heldout.watch import cells

TEMPLATES = ("qwen2_5", "qwen3", "gemma")
SHOWN = 90
"""Characters of a sentence that a line shows."""


def score(fixed: FixedSet, tokenizer: Any, streams: Sequence[Sequence[int]]) -> str:
    """Exact match, its interval and CE of a model that knows these streams by heart."""
    end = next(e.response_ids[-1] for e in fixed.examples)
    model = memory.Memory(streams, len(tokenizer), end).eval()
    _, found = Evaluator(fixed, tokenizer, cells({}), EvalOptions()).evaluate(model, 0)
    return f"{found.em:.0%} [{found.em_low:.1%}, {found.em_high:.1%}] {found.ce:.3f}"


def line(path: Path, template: str) -> list[str]:
    """What counts, both scores, and the first thing said."""
    tokenizer = memory.tokenizer((memory.TEMPLATES / f"{template}.jinja").read_text("utf-8"))
    try:
        fixed = load(path, tokenizer)
    except HeldoutError as error:
        return ["0", "", "", "", str(error).replace(str(path), path.name)]
    learned = [[*e.prompt_ids, *e.response_ids] for e in fixed.examples]
    said = [*fixed.about.skipped, *fixed.about.remarks]
    return [
        str(fixed.about.n),
        str(len(fixed.about.skipped)),
        score(fixed, tokenizer, learned),
        score(fixed, tokenizer, []),
        said[0].replace(str(path), path.name) if said else "",
    ]


def main() -> None:
    """Print a line for each file and template."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--template", action="append", help="by TRL's file name, without .jinja")
    given = parser.parse_args()
    print(
        "| file | template | counted | refused | learned by heart: EM, CE | says nothing | first |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for path in sorted(p for p in given.folder.rglob("*") if p.is_file()):
        for template in given.template or TEMPLATES:
            cut = [part[:SHOWN].replace("\n", " ") for part in line(path, template)]
            print(f"| {' | '.join([str(path.relative_to(given.folder)), template, *cut])} |")


if __name__ == "__main__":
    main()
