"""Taking seeds in: once into the store, then compared with it whenever the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from evolteacher.catalog import Catalog
from evolteacher.errors import SeedError, UsageError
from evolteacher.recipe import Recipe
from evolteacher.record import Seed
from evolteacher.seeds import SeedReader
from evolteacher.sources import SeedReport, read_seeds, reader_for
from evolteacher.store import Store, response_digest

CHUNK = 1000
"""Seeds that are compared, or written in one transaction, at a time."""


def seed_stream(recipe: Recipe, catalog: Catalog, report: SeedReport) -> Iterator[Seed]:
    """Stream the unique seeds that a recipe names, up to its limit.

    Raises:
        SeedError: the source cannot be read; where it is the source that is wrong, and not a row, the message begins
            with the recipe's line.
    """
    source = recipe.seeds_source()
    try:
        yield from _seeds(recipe, source, catalog, report)
    except SeedError as error:
        if report.rows:
            raise
        raise SeedError(f"{recipe.seeds_place}: seeds.path: {error}") from None


def _seeds(recipe: Recipe, source: str, catalog: Catalog, report: SeedReport) -> Iterator[Seed]:
    section = recipe.seeds
    reader: SeedReader = section.reader.component if section.reader is not None else reader_for(catalog, source)
    seeds = read_seeds(
        reader,
        source,
        format=section.format,
        instruction=section.instruction,
        response=section.response,
        on_bad_row=section.on_bad_row,
        report=report,
    )
    licensed = (
        replace(seed, licence=seed.licence or section.licence, terms=seed.terms or section.terms) for seed in seeds
    )
    if recipe.material == "snippet":  # whatever stands beside a snippet answers no task
        licensed = (replace(seed, response=None) for seed in licensed)
    return islice(licensed, section.limit)


def take_in(store: Store, recipe: Recipe, catalog: Catalog) -> SeedReport:
    """Bring the store's seeds up to the recipe's; what is stored must be the beginning of what the source holds.

    More may come only where the old limit was reached and has grown, or where an earlier intake was cut short.

    Returns:
        What the source held.

    Raises:
        SeedError: the source cannot be read.
        UsageError: the source has changed since the folder was made, or the limit has shrunk; with the numbers.
    """
    limit, held = recipe.seeds.limit, store.seed_count()
    before = store.meta("seeds") or {"complete": False, "limit": None}
    if limit is not None and limit < held:
        raise UsageError(
            f"{store.path.parent}: the run has taken in {held:,} seeds, and the limit is now {limit:,}; give --limit "
            f"{held} or more, or another folder with --out"
        )
    report = SeedReport()
    stream = seed_stream(recipe, catalog, report)
    matched = 0
    while matched < held:
        chunk = list(islice(stream, min(CHUNK, held - matched)))
        stored = store.seed_digests(matched, len(chunk))
        if not chunk or stored != [_digest(seed) for seed in chunk]:
            raise _changed(store, recipe, catalog, limit=max(held, limit or held))
        matched += len(chunk)
    # Seeds beyond those held are new ones unless the limit kept them out: it was reached, and has grown.
    grown = held == before["limit"] and limit != held
    place = held
    while chunk := list(islice(stream, CHUNK)):
        if before["complete"] and not grown:
            raise _changed(store, recipe, catalog, limit=limit)
        store.set_meta("seeds", {"complete": False, "limit": limit})
        store.add_seeds(place, chunk)
        place += len(chunk)
    if place > held or not before["complete"] or before["limit"] != limit:
        store.set_meta("seeds", {"complete": True, "limit": limit})
    return report


def _digest(seed: Seed) -> tuple[bytes, bytes]:
    return bytes.fromhex(seed.instruction.id), response_digest(seed.response)


def _changed(store: Store, recipe: Recipe, catalog: Catalog, limit: int | None) -> UsageError:
    """Count what differs between the source and the store, reading the source once more."""
    held = store.seed_ids()
    stream = islice(seed_stream(recipe, catalog, SeedReport()), limit)
    found = {bytes.fromhex(seed.instruction.id) for seed in stream}
    added, missing = len(found - held), len(held - found)
    more = "" if added or missing else " (the same seeds in another order, or with other responses)"
    return UsageError(
        f"{recipe.seeds_source()}: the seeds have changed since {store.path.parent} was made: {added:,} added, "
        f"{missing:,} missing{more}. Put the old file back, or start another run with --out (and --fork "
        f"{store.path.parent}, which reuses its replies)"
    )
