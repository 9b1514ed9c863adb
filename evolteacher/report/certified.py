"""A run's decontamination certificate, as a report shows it. Only what the file says, whoever wrote that."""

from __future__ import annotations

from typing import Any

from evolteacher.decontamination.certificate import settings_words

SHOWN = 50
"""Pairs of a report; the certificate's file holds all."""

_PAIR = ("row", "place", "benchmark", "problem", "part", "reason", "row_text", "problem_text")


def certified(found: Any) -> dict[str, Any] | None:
    """Return what the report shows of a certificate; None where the file is none of ours.

    Args:
        found: what the JSON file holds.
    """
    try:
        return {
            "benchmarks": [[str(each[key]) for key in ("name", "problems", "hash")] for each in found["benchmarks"]],
            "checks": [[str(name), settings_words(how)] for name, how in found["checks"].items()],
            **{key: int(found[key]) for key in ("rows_checked", "rows_found", "rows_removed")},
            "pairs": [{key: str(pair[key]) for key in _PAIR} for pair in found["pairs"][:SHOWN]],
            "more": max(0, len(found["pairs"]) - SHOWN),
        }
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return None
