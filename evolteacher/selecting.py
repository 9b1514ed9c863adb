"""What a dataset filter drops, held to its contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator

from evolteacher.errors import EvolteacherError, PluginError, plugin_fault
from evolteacher.filter import DatasetFilter
from evolteacher.record import Record, Seed, clean_text
from evolteacher.use import Use


def selected(
    use: Use[DatasetFilter], records: Callable[[], Iterator[Record]], seeds: Iterable[Seed]
) -> Iterator[tuple[Record, str]]:
    """Yield each row that a dataset filter drops with the reason, in the order of the rows.

    Args:
        use: the filter.
        records: gives the rows, the same each time; called once, and again where anything is dropped.
        seeds: see :meth:`DatasetFilter.compare`.

    Raises:
        PluginError: the filter failed, or gave something else than ids of rows with reasons.
    """
    try:
        reasons = dict(use.component.compare(records(), seeds))
    except (EvolteacherError, sqlite3.DatabaseError):
        raise
    except Exception as error:
        raise plugin_fault(f"dataset filter '{use.label}'", error) from error
    for record in records() if reasons else ():
        if record.id not in reasons:
            continue
        reason = reasons.pop(record.id)
        if not isinstance(reason, str):
            raise PluginError(f"dataset filter '{use.label}' gives {reason!r} for a reason; a text is needed")
        yield record, clean_text(reason)[0]
    for record_id in reasons:
        raise PluginError(f"dataset filter '{use.label}' drops {record_id!r}, which is the id of no record")
