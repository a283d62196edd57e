"""CSV: one row a step, one column a metric; evaluations are columns named `eval/...`.

Non-finite numbers are NaN, Infinity and -Infinity; an empty field was not recorded at that step.
"""

from __future__ import annotations

import csv
import io

from heldout.derive.history import History
from heldout.records import spelled
from heldout.views.exporter import Exporter

EVAL_FIELDS = (
    *("n", "em", "em_low", "em_high", "ce", "ce_low", "ce_high"),
    *("ece", "ece_low", "ece_high", "entropy", "token_accuracy"),
)


def write(history: History) -> bytes:
    """Return the run's scalars and evaluations as UTF-8 CSV with a header line."""
    names = list(history.columns.series)
    rows: dict[int, dict[str, float]] = {}
    for name, series in history.columns.series.items():
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
            rows.setdefault(step, {})[name] = value
    for result in history.evals:
        row = rows.setdefault(result.step, {})
        row.update({f"eval/{field}": getattr(result, field) for field in EVAL_FIELDS})
    if history.evals:
        names += [f"eval/{field}" for field in EVAL_FIELDS]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", *names])
    for step in sorted(rows):
        writer.writerow([step, *(_text(rows[step].get(name)) for name in names)])
    return out.getvalue().encode()


def _text(value: float | None) -> str:
    if value is None:
        return ""
    number = spelled(value)
    return number if isinstance(number, str) else repr(number)


EXPORTER = Exporter(name="csv", suffix=".csv", media_type="text/csv; charset=utf-8", write=write)
