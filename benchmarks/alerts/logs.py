"""What heldout says of every log in a folder, beside what a person said of it.

    python benchmarks/alerts/logs.py DIR [--save now.json] [--before then.json]

Whatever the folder holds is judged as `heldout judge` does: files, and folders of a run. Labels come from an
index.csv in it, where there is one. `--save` keeps the answers; `--before` prints only those that changed
since then.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import corpus

from heldout.errors import HeldoutError
from heldout.replay import rejudge
from heldout.views.report.overview import WORDS, row
from heldout.views.report.past import past_alerts

UNREADABLE = 3


def said(path: Path) -> list[str]:
    """The verdict, what is open, what was, and the decision; of what cannot be read, why."""
    try:
        found = rejudge(path)
    except HeldoutError as error:
        return [WORDS[UNREADABLE], "", "", str(error).replace(str(path), path.name)]
    line = row(path.name, found.history, past_alerts(found.records))
    reason = found.history.decision.reason if found.history.decision else ""
    return [line.word, line.alerts, line.past, f"{line.decision}: {reason}"]


def main() -> None:
    """Print a row a log."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--save", type=Path, help="file to keep the answers in")
    parser.add_argument("--before", type=Path, help="such a file, to compare with")
    given = parser.parse_args()
    index = given.folder / corpus.INDEX
    known = corpus.logs(given.folder) if index.is_file() else []
    labels = {log.path.name: log.label for log in known}
    paths = [path for path in sorted(given.folder.iterdir()) if path != index]
    now = {path.name: said(path) for path in paths if path.name in labels or not labels}
    if given.save:
        given.save.write_text(json.dumps(now, indent=1), encoding="utf-8")
    before = json.loads(given.before.read_text(encoding="utf-8")) if given.before else {}
    print("| log | label | verdict | open | was open | decision |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, answer in now.items():
        if answer != before.get(name):
            print(f"| {' | '.join([name, labels.get(name, ''), *answer])} |")
    counts = Counter(answer[0] for answer in now.values())
    print(f"\n{', '.join(f'{n} {word}' for word, n in counts.most_common())}, of {len(now)}")


if __name__ == "__main__":
    main()
