"""The verdict in words: a dozen lines, every rate with its n and interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heldout.derive.checked import unchecked
from heldout.derive.deciding import deciding
from heldout.derive.history import History
from heldout.derive.patterns import UNMATCHED
from heldout.derive.progress import flat_since
from heldout.views.report.curves import curve_lines
from heldout.views.report.lora import lora_lines
from heldout.views.report.past import Past, past_lines
from heldout.views.snapshot import ACTIVE, scope, snapshot

MOST_LINES = 8
ARROWS = {
    "continue": "Go on training.",
    "stop": "Stop training.",
    "roll-back": "Stop and roll back.",
    "resume": "Resume the training.",
    "look": "Look at the trainer.",
    "none": "Done.",
}
GOING_ON = ("continue", "resume", "look")
"""Decisions under which the checkpoint named is the best so far and not the one to end with."""


def verdict_lines(history: History, past: Sequence[Past] = ()) -> list[str]:
    """Return the verdict on a run as plain lines, without colour or markup.

    `past` are the alerts to tell of that are over.
    """
    now = snapshot(history)
    lines = [_head(now), *_remarks(now)]
    if now["fixed_eval"]:
        lines += [*_score(history, now), *_patterns(now)]
    else:
        if not _source(now):
            why = scope(now) or "not evaluated (this run has no fixed set, or has not reached it)"
            lines.append(f"EM: {why}")
        lines += curve_lines(history)
    lines += [*_training(now), *_alerts(now), *past_lines(past), *_not_checked(now)]
    lines += ["", *_action(history, now)]
    return [" ".join(line.splitlines()) for line in lines]  # names and notes may hold line breaks


def headline(action: str, checkpoint: str | None, evidence: Mapping[str, Any]) -> str:
    """What to do, and with which checkpoint: the decision without its reason."""
    if action == "none" and evidence.get("fault"):
        return "Do not use this run."
    use = "Best so far:" if action in GOING_ON else "Use"
    return ARROWS[action] + (f" {use} {checkpoint}." if checkpoint else "")


def capital(text: str) -> str:
    """`text` as a sentence begins."""
    return text[:1].upper() + text[1:]


def reached(now: Mapping[str, Any]) -> str:
    """The step a run has come to, and of how many where that is known."""
    total = (now["run"] or {}).get("total_steps")
    ends = [note["step"] for note in now["notes"] if note["topic"] == now["state"]]
    last = max([now["step"], *ends])  # a log may be sparser than steps
    return f"{last:,}" + (f" of {total:,}" if total else "")


def _head(now: Mapping[str, Any]) -> str:
    name, source = (now["run"] or {}).get("id", "?"), _source(now)
    kind = f" ({source} log)" if source else ""
    state = "the log ends" if source and now["state"] == "running" else now["state"]
    return f"{name}{kind}: {state} at step {reached(now)}"


def _source(now: Mapping[str, Any]) -> str:
    """The kind of foreign log that the run was read from; "" for one that heldout recorded."""
    return str((now["run"] or {}).get("source", ""))


def _remarks(now: Mapping[str, Any]) -> Iterator[str]:
    """What could not be read of a foreign log, and what was assumed."""
    said = [note["text"] for note in now["notes"] if note["topic"] == "data" and _source(now)]
    yield from (f"  {text}" for text in said[:MOST_LINES])
    if len(said) > MOST_LINES:
        yield f"  and {len(said) - MOST_LINES} remarks more (--json has them)"


def _score(history: History, now: Mapping[str, Any]) -> Iterator[str]:
    last, first = now["fixed_eval"], now["evals"][0]
    flat = flat_since(history)
    since = f"plateau since step {flat.step:,}; " if flat else ""
    yield f"EM: {_rate(last)}, {since}{last['em_says']}"
    yield f"  {_exactness(last, now['evals'])}"
    if len(now["evals"]) > 1:
        yield f"  was {_rate(first)} at step {first['step']:,}"
    if len(now["evals"]) > 1:
        yield f"  {last['n']} examples can show a change from {100 * last['detectable']:.1f} points on"
    if last["best_ckpt"]:
        names = [name for name in last["tied"] if name != last["best_ckpt"]]
        others = ", ".join(name.replace("checkpoint", "") for name in names)
        yield f"  best {last['best_ckpt']}" + (f", tied with {others}" if others else "")
    if last["cheaper_ckpt"]:
        within = 100 * last["cheaper_within"]
        yield f"  {last['cheaper_ckpt']} is cheaper, within {within:.1f} points"
    if len(now["evals"]) > 2:
        yield (
            f"  highest EM {last['best_em']:.1%} at step {last['best_em_step']:,}, "
            f"{last['best_em_corrected']:.1%} less the luck of being the highest"
        )
    yield from _flips(now)
    yield from _probabilities(last)


def _probabilities(last: Mapping[str, Any]) -> Iterator[str]:
    """Cross-entropy and calibration, or why there is neither."""
    if last["non_finite"]:
        yield (
            f"CE, ECE: not known, as the logits are NaN/Inf on {last['non_finite']:,} of {last['n']:,} "
            "examples"
        )
        return
    yield (
        f"CE: {last['ce']:.3f} [{last['ce_low']:.3f}, {last['ce_high']:.3f}] nats over "
        f"{last['tokens']:,} tokens"
    )
    word = f"{last['calibration']}; " if last["calibration"] else ""
    yield (
        f"ECE: {last['ece']:.3f} [{last['ece_low']:.3f}, {last['ece_high']:.3f}] "
        f"({word}chance alone {last['ece_null']:.3f})"
        + (", rose > 20 %" if last["ece_rise"] else "")
    )


def _exactness(last: Mapping[str, Any], evals: Sequence[Mapping[str, Any]]) -> str:
    """How exact the number is: by token, near-ties, and the check against generate."""
    parts = [f"token by token {last['token_em']:.1%}", f"{last['near_ties']} near-ties"]
    checked = [each for each in evals if each["rechecked"]]
    if checked:
        num, wrong = checked[-1]["rechecked"], len(checked[-1]["mismatched"])
        parts.append(f"generate agreed on {num - wrong} of {num} at step {checked[-1]['step']:,}")
    return ", ".join(parts)


def _flips(now: Mapping[str, Any]) -> Iterator[str]:
    flips = now["flips"]
    if flips and (flips["learned"] or flips["forgotten"]):
        lines = ", ".join(str(item["line"]) for item in flips["forgotten_items"][:MOST_LINES])
        more = ", ..." if flips["forgotten"] > MOST_LINES else ""
        where = f" (lines {lines}{more})" if lines else ""
        yield (
            f"  since step {flips['since']:,}: {flips['learned']} learned, "
            f"{flips['forgotten']} forgotten{where}"
        )


def _patterns(now: Mapping[str, Any]) -> Iterator[str]:
    weak = {each["evidence"].get("pattern") for each in now["advice"] if each["topic"] == "data"}
    rows = sorted(now["bucket_matrix"]["rows"], key=lambda row: row["em"] or 0.0)
    for row in rows:
        name = "Unmatched prompts" if row["pattern"] == UNMATCHED else f"Pattern '{row['pattern']}'"
        share = row["train_share"]
        trained = "" if share is None else f"; {share:.1%} of the training rows"
        if not row["known"]:
            yield f"{name}: unknown (too few to say, n = {row['seen']}){trained}"
            continue
        strong = row["em_low"] > now["fixed_eval"]["em_high"]
        word = "needs work" if row["pattern"] in weak else "strong" if strong else ""
        interval = f"[{row['em_low']:.1%}, {row['em_high']:.1%}]"
        yield (
            f"{name}: {row['em']:.1%} EM {interval} of {row['seen']}"
            + (f" ({word})" if word else "")
            + trained
        )


def _training(now: Mapping[str, Any]) -> Iterator[str]:
    if not _source(now):
        yield from lora_lines(now["lora"])
    parts = []
    if now["streaming_ce"] is not None:
        course = f" ({now['streaming_course']})" if now["streaming_course"] else ""
        yield f"Streaming CE: {_finite(now['streaming_ce'])}{course}"
    if now["current_entropy"] is not None:
        parts.append(f"token entropy {_finite(now['current_entropy'])}")
    speed = now["throughput"]
    if "tokens_per_sec" in speed:
        parts.append(
            f"{speed['tokens_per_sec']:,.0f} tokens/s, {speed['total_tokens']:,.0f} in all"
        )
    if "padding" in speed:
        parts.append(f"padding {speed['padding']:.0%}")
    if "mfu" in speed:
        parts.append(f"MFU {speed['mfu']:.0%}")
    if parts:
        yield "Training: " + ", ".join(parts)


def _finite(nats: float) -> str:
    return f"{nats:.3f} nats" if math.isfinite(nats) else "not finite"


def _alerts(now: Mapping[str, Any]) -> Iterator[str]:
    """The alerts with what helps; of the one that the decision is taken for, the decision says it."""
    cause = (now["decision"] or {"evidence": {}})["evidence"].get("cause")
    for alert in now["alerts"]:
        if alert["state"] in ACTIVE:
            yield f"{alert['level'].upper()} {alert['message']} (step {alert['step']:,})"
            if alert["rule"] != cause:
                yield f"  {alert['action']}"
        elif alert["state"] == "pending":
            yield f"not yet an alert: {alert['message']} (since step {alert['step']:,})"


def _not_checked(now: Mapping[str, Any]) -> Iterator[str]:
    """The rules that could not look, those with one reason in one line."""
    reasons: dict[str, list[str]] = {}
    for rule in now["not_checked"]:
        reasons.setdefault(rule["reason"], []).append(rule["rule"])
    for reason, rules in reasons.items():
        yield f"not checked: {', '.join(rules)}: {reason}"


def _action(history: History, now: Mapping[str, Any]) -> Iterator[str]:
    decision, empty = now["decision"], unchecked(history)
    if empty:
        yield f"ACTION: Nothing could be checked: {empty}"
        return
    if decision is None:
        yield "ACTION: Nothing to decide yet."
        return
    evaluated = now["fixed_eval"] or deciding(history)
    if _source(now) and not evaluated and decision["action"] in ("continue", "none"):
        yield "ACTION: No fixed set and no held-out number to tell checkpoints apart by."
        return
    lead = headline(decision["action"], decision["checkpoint"], decision["evidence"])
    yield f"ACTION: {lead} {capital(decision['reason'])}"
    for advice in now["advice"]:
        yield f"Next run: {capital(advice['message'])}"


def _rate(row: Mapping[str, Any]) -> str:
    low, high = row["em_low"], row["em_high"]
    return f"{row['em']:.1%} [{low:.1%}, {high:.1%}] of {row['n']}"
