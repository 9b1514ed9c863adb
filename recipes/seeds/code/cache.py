# SPDX-License-Identifier: Apache-2.0
"""A cache that forgets what was not used for longest, and what has become too old."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Cache:
    """Keeps up to ``size`` values, each for ``seconds``."""

    def __init__(self, size: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._seconds = seconds
        self._now = now
        self._values: OrderedDict[Hashable, tuple[object, float]] = OrderedDict()

    def get(self, key: Hashable, default: object = None) -> object:
        """Return a value and note that it was used."""
        if key not in self._values:
            return default
        value, expires = self._values[key]
        if expires <= self._now():
            del self._values[key]
            return default
        self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: object) -> None:
        """Store a value; the one that was not used for longest makes room."""
        self._values[key] = (value, self._now() + self._seconds)
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
