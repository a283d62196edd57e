"""What an expected calibration error means, in a word."""

from __future__ import annotations

import math

from heldout.records import EvalResult

TOLERATED = 0.02
"""Calibration error above what chance shows that nobody notices: two points of confidence, as in the rule
`calibration-drift`."""


def calibration(result: EvalResult) -> str:
    """Return "good", "overconfident", "underconfident" or "unclear"; "" where it is not known.

    Good is within `TOLERATED` of the error that perfect calibration would show by chance. Where the
    whole interval lies above that, the sign of confidence less accuracy says which way.
    """
    if not math.isfinite(result.ece):
        return ""
    most = result.ece_null + TOLERATED
    if result.ece <= most:
        return "good"
    if not result.ece_low > most:
        return "unclear"
    return "overconfident" if result.confidence_gap > 0 else "underconfident"
