"""What the headers of a provider's answer tell about its limits.

Three dialects are read. ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3) and ``retry-after-ms``;
``x-ratelimit-limit-requests`` and its like, with times such as ``1m2.5s`` or ``120ms`` (OpenAI, Azure, Groq, vLLM
gateways); ``anthropic-ratelimit-requests-limit`` and its like, with times as RFC 3339 dates (Anthropic).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from evolteacher.messages import RateLimits

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII)
_DURATION_PARTS = (86400.0, 3600.0, 60.0, 1.0, 0.001)

MINUTE = 60.0
"""Seconds: a limit whose reset lies further ahead is one for an hour or a day, and no figure for a minute."""

_SLACK = 5.0
"""Seconds that a reset may lie beyond the minute, since clocks differ and times are rounded."""

_TOKENS = ("tokens", "input-tokens", "output-tokens")

_NAMES = {
    kind: (
        (f"x-ratelimit-limit-{kind}", f"x-ratelimit-reset-{kind}"),
        (f"anthropic-ratelimit-{kind}-limit", f"anthropic-ratelimit-{kind}-reset"),
    )
    for kind in ("requests", *_TOKENS)
}
"""Kind of limit -> the headers that name it and its reset. Every answer is asked for all of them, so that what is not
there must cost nothing."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a provider asks to wait; None where it names none that can be read.

    Args:
        headers: of the answer; names in lower case, or a mapping that ignores case.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return _ahead(date)


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Return the limits a minute that an answer tells; None where it tells none.

    A limit for a longer time (Groq counts requests by the day) is left out: no pace can be told from it. What
    remains of a limit, and when it is whole again, is not read either: the pace holds without, and a reset is the time
    until all of it is back, where waiting for one call's share is enough.

    Args:
        headers: of the answer; names in lower case, or a mapping that ignores case.
    """
    requests = _limit(headers, "requests")
    tokens = [limit for kind in _TOKENS if (limit := _limit(headers, kind))]
    return RateLimits(requests, min(tokens)) if tokens else RateLimits(requests) if requests else None


def _limit(headers: Mapping[str, str], kind: str) -> float | None:
    for limit_name, reset_name in _NAMES[kind]:
        limit = _number(headers.get(limit_name))
        if limit:
            reset = _time_ahead(headers.get(reset_name))
            if reset is None or reset <= MINUTE + _SLACK:
                return limit
    return None


def _number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?\s*", value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _time_ahead(value: str | None) -> float | None:
    """Read the time until a reset: seconds, ``1m2.5s``, or an RFC 3339 date."""
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    found = _DURATION.fullmatch(value.strip())
    if found is not None and any(found.groups()):
        return sum(float(part) * unit for part, unit in zip(found.groups(), _DURATION_PARTS, strict=True) if part)
    try:
        return _ahead(datetime.fromisoformat(value))
    except ValueError:
        return None


def _ahead(date: datetime) -> float:
    """Return the seconds until a date; 0 for one that is past. A date without a zone is UTC."""
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
