# SPDX-License-Identifier: Apache-2.0
"""Temperatures of weather stations: read, clean, and sum up by day."""

import csv
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime

Reading = tuple[str, datetime, float]


def read(path: str) -> Iterator[Reading]:
    """Yield (station, time, degrees) of a CSV file; rows without a number are left out."""
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                yield row["station"], datetime.fromisoformat(row["time"]), float(row["degrees"])
            except (KeyError, ValueError):
                continue


def by_day(readings: Iterable[Reading]) -> dict[tuple[str, date], float]:
    """Return the median of each station and day."""
    days: defaultdict[tuple[str, date], list[float]] = defaultdict(list)
    for station, time, degrees in readings:
        days[station, time.date()].append(degrees)
    return {key: statistics.median(values) for key, values in days.items()}


def outliers(values: Sequence[float], factor: float = 3.0) -> list[float]:
    """Return the values further from the median than ``factor`` median deviations."""
    middle = statistics.median(values)
    spread = statistics.median(abs(value - middle) for value in values)
    return [value for value in values if spread and abs(value - middle) > factor * spread]
