"""Whether a model had ended its rewrite where a length limit cut its answer off."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evolteacher.errors import Unreadable
from evolteacher.reading import read_rewritten


def was_ended(answer: str, text: str, parent: str, markers: Sequence[str]) -> bool:
    """Whether a text was read from what stands before an end marker that the model itself set.

    Then all behind the marker is no part of the rewrite, and it does not matter where that was cut off: the same would
    have been read if the marker had been a text that ends the reply. Without an end marker nothing tells a whole
    task from half of one.

    Args:
        answer: the model's answer, cut off or not.
        text: what the operator made of it.
        parent: the task that it was asked to rewrite.
        markers: the markers of the operator's prompt, as for :func:`~evolteacher.reading.read_rewritten`.
    """
    end = markers[-1] if markers else ""
    if not end.startswith(("</", "[/")):
        return False
    for found in re.finditer(re.escape(end), answer, re.IGNORECASE):
        try:
            return read_rewritten(answer[: found.end()], parent, markers) == text
        except Unreadable:
            continue
    return False
