"""CSV: one row a step, one column a number, and what was judged at that step.

Evaluations are columns named `eval/...`; the trend and the best checkpoint, as they stand now, are in the
row of the latest one. `pattern/NAME/...` and `pattern/NAME/BIN/...` are the cells of the pattern x length
matrix, `lora/LAYER/...` what each adapted layer moved, and `alerts` what alerts changed at the step.
Non-finite numbers are NaN, Infinity and -Infinity; an empty field was not recorded at that step.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from heldout.derive.history import History
from heldout.derive.patterns import matrix
from heldout.derive.progress import fixed_eval
from heldout.records import spelled
from heldout.views.exporter import Exporter
from heldout.views.snapshot import SILENT

EVAL_FIELDS = (
    *("n", "em", "em_low", "em_high", "ce", "ce_low", "ce_high"),
    *("ece", "ece_low", "ece_high", "entropy", "token_accuracy"),
)
JUDGED = ("em_trend", "best_ckpt", "ece_rise")
RATE_FIELDS = ("seen", "correct", "em", "em_low", "em_high")
LAYER_FIELDS = ("delta_norm", "relative", "impact_share")

Value = float | str | None
Entry = tuple[int, str, Value]
"""A step, the name of a column, and what stands there."""


def write(history: History) -> bytes:
    """Return the run as UTF-8 CSV with a header line."""
    rows: dict[int, dict[str, Value]] = {}
    names: dict[str, None] = {}
    for part in (_series, _evaluations, _patterns, _layers, _alerts):
        for step, name, value in part(history):
            names[name] = None
            rows.setdefault(step, {})[name] = value
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", *names])
    for step in sorted(rows):
        writer.writerow([step, *(_text(rows[step].get(name)) for name in names)])
    return out.getvalue().encode()


def _series(history: History) -> Iterator[Entry]:
    for name, series in history.columns.series.items():
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
            yield step, name, value


def _evaluations(history: History) -> Iterator[Entry]:
    for result in history.evals:
        for field in EVAL_FIELDS:
            yield result.step, f"eval/{field}", getattr(result, field)
    judged = fixed_eval(history)
    for field in JUDGED if judged else ():
        yield history.evals[-1].step, f"eval/{field}", _word(judged[field])


def _patterns(history: History) -> Iterator[Entry]:
    for result in history.evals:
        found = matrix(history.items.get(result.step, []))
        for cell in [*found["rows"], *found["cells"]]:
            place = "/".join(filter(None, [cell["pattern"], cell.get("bin")]))
            for field in RATE_FIELDS:
                yield result.step, f"pattern/{place}/{field}", cell[field]


def _layers(history: History) -> Iterator[Entry]:
    for reading in history.layers:
        for layer in reading.layers:
            place = "/".join(filter(None, [layer.stack, str(layer.layer)]))
            for field in LAYER_FIELDS:
                yield reading.step, f"lora/{place}/{field}", getattr(layer, field)


def _alerts(history: History) -> Iterator[Entry]:
    told: dict[int, list[str]] = {}
    for verdict in history.verdicts:
        if verdict.state not in SILENT:
            name = f"{verdict.rule} ({verdict.scope})" if verdict.scope else verdict.rule
            said = f"{verdict.state} {verdict.level} {name}: {verdict.message}"
            told.setdefault(verdict.step, []).append(said)
    for step, said_then in told.items():
        yield step, "alerts", " | ".join(said_then)


def _word(value: Value) -> Value:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _text(value: Value) -> str:
    if value is None:
        return ""
    number = spelled(value) if isinstance(value, float) else value
    return number if isinstance(number, str) else repr(number)


EXPORTER = Exporter(name="csv", suffix=".csv", media_type="text/csv; charset=utf-8", write=write)
