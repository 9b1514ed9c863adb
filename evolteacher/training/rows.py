"""The rows that are trained on, and the split into those that are learnt and those that are held out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from evolteacher.catalog import Catalog
from evolteacher.database import DATABASE
from evolteacher.dataset import row_of
from evolteacher.errors import UsageError
from evolteacher.history import records, summarise
from evolteacher.licensing import spelt, split_terms
from evolteacher.record import text_id
from evolteacher.sources import SeedReport, counted, no_rows, read_examples, reader_for
from evolteacher.store import Store
from evolteacher.trainsection import Data

CERTIFICATE = "decontamination.json"
"""The file in a run folder that says what its rows were compared with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One training example.

    Attributes:
        instruction: the task.
        response: its answer.
        lineage: the seed that it goes back to; of a dataset that does not tell, the instruction's own id.
        round: in which it was made; 0 for a seed.
        licence: of its seed's row; empty where unknown.
        terms: of the models that wrote it, joined by commas; empty where none did, or none are known.
    """

    instruction: str
    response: str
    lineage: str
    round: int = 0
    licence: str = ""
    terms: str = ""


@dataclass(frozen=True)
class Rows:
    """What a source holds.

    Attributes:
        rows: those with a response, in the source's order.
        source: where they are from, as people write it.
        notes: what was left out, a fact a line.
        certificate: what the source says of its decontamination; None where nothing.
    """

    rows: tuple[Row, ...]
    source: str
    notes: tuple[str, ...] = ()
    certificate: Any = None

    @property
    def digest(self) -> str:
        """Tells these rows from any others: texts, lineages and order."""
        sums = blake2b(digest_size=16)
        for row in self.rows:
            for text in (row.instruction, row.response, row.lineage):
                data = text.encode("utf-8")
                sums.update(len(data).to_bytes(8, "big") + data)
        return sums.hexdigest()

    @property
    def licences(self) -> dict[str, int]:
        """Return rows by licence, most first; the empty text stands for those without."""
        return dict(Counter(spelt(row.licence) for row in self.rows).most_common())

    @property
    def terms(self) -> dict[str, int]:
        """Return rows by the terms of models that wrote them, most first; a row may be under several."""
        return dict(Counter(name for row in self.rows for name in split_terms(row.terms)).most_common())


def read_rows(source: str, section: Data | None, catalog: Catalog) -> Rows:
    """Read what is trained on: the records of a run folder, or the rows of a dataset.

    Args:
        source: a run folder, a file, or a form that a seed reader claims.
        section: how a dataset is read; None for a run folder.
        catalog: where readers are looked for.

    Raises:
        SeedError: the source is missing, unreadable or empty.
        UsageError: a folder that holds no run, or no row that has a response.
    """
    section = section or Data(path=source)
    folder = Path(source)
    if folder.is_dir():
        return _of_run(folder, section.licence)
    if not folder.exists() and len(folder.parts) > 1 and ":" not in source.split("/")[0] and not folder.suffix:
        raise UsageError(f"{source}: there is no such folder. A run makes it: evolteacher run RECIPE --out {source}")
    report = SeedReport()
    examples = read_examples(
        reader_for(catalog, source, section.reader),
        source,
        format=section.format,
        instruction=section.instruction,
        response=section.response,
        on_bad_row=section.on_bad_row,
        report=report,
    )
    rows, unanswered = [], 0
    for row, example in examples:
        if example.response is None:
            unanswered += 1
            continue
        fields = row_of(row, example)
        licence = example.licence or section.licence
        lineage = fields["lineage"] or text_id(example.instruction)
        rows.append(Row(example.instruction, example.response, lineage, fields["round"], licence, example.terms))
    if not rows and not unanswered:
        no_rows(source, report)
    return _answered(rows, source, [*_unanswered(unanswered), *report.notes()], _certificate(folder.parent))


def _of_run(folder: Path, licence: str) -> Rows:
    if not (folder / DATABASE).exists():
        raise UsageError(
            f"{folder}: this folder holds no run ({DATABASE} is missing): name a run's, or a dataset's file"
        )
    with Store(folder / DATABASE, read_only=True) as store:
        rows = [
            Row(r.instruction.text, r.response, r.lineage, r.round, r.licence or licence, r.terms)
            for r in records(store)
        ]
        pending = summarise(store).pending
    notes = [f"the run has {counted(pending, 'lineage')} to finish; what has settled is used"] if pending else []
    return _answered(rows, str(folder), notes, _certificate(folder))


def _answered(rows: list[Row], source: str, notes: Iterable[str], certificate: Any) -> Rows:
    if not rows:
        raise UsageError(f"{source}: not one of its rows has a response, so there is nothing to learn")
    return Rows(tuple(rows), source, tuple(notes), certificate)


def _unanswered(number: int) -> Iterator[str]:
    if number:
        yield f"{counted(number, 'row')} without a response left out"


def _certificate(folder: Path) -> Any:
    try:
        return json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def place(lineage: str, seed: int) -> float:
    """Return where a lineage stands between 0 and 1; of a split, those below the share are held out.

    It depends on the lineage and on the seed alone, so that a lineage is on the same side in every dataset: the seeds
    and what evolved from them can be compared on what neither has seen.
    """
    digest = blake2b(f"{seed}:{lineage}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split(rows: Iterable[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows by lineage: no version of a seed is on both sides.

    Args:
        rows: in any order, which is kept on both sides.
        share: of the lineages that are held out, in expectation; 0 holds out none. Where that comes to none or to all
            of them, one is held out, or one is left.
        seed: of the recipe.

    Returns:
        The rows to learn and the rows held out.

    Raises:
        UsageError: rows are to be held out, and all are of one lineage.
    """
    rows = list(rows)
    if not share:
        return rows, []
    places = {lineage: place(lineage, seed) for lineage in {row.lineage for row in rows}}
    if len(places) < 2:
        raise UsageError("validation: all rows are of one lineage, which cannot be on both sides: write validation: 0")
    first, last = min(places.values()), max(places.values())
    held = {lineage for lineage, where in places.items() if where == first or (where < share and where != last)}
    return [row for row in rows if row.lineage not in held], [row for row in rows if row.lineage in held]
