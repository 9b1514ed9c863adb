"""A report's file: written as a stream, whatever the run's size. All that a model wrote stays text in it.

The page's policy lets nothing be fetched, sent or framed, and no script run but the one that the report brings, which
its hash names; lineages lie in base64, and what jinja2 fills in is escaped. Characters that hide or turn text round
are shown by their code.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from evolteacher import __version__
from evolteacher.database import DATABASE
from evolteacher.history import summarise
from evolteacher.published import public, public_recipe_of
from evolteacher.report import charts
from evolteacher.report.certified import certified
from evolteacher.report.chunks import CHUNK, SAMPLE_CHUNK, Sample, sample_chunks, tree_chunks
from evolteacher.report.compared import comparisons
from evolteacher.report.figures import figures, flow
from evolteacher.report.files import NOTHING, Besides
from evolteacher.report.harnessed import harnessed
from evolteacher.report.licences import rights
from evolteacher.report.measured import evaluations
from evolteacher.report.shown import gigabytes, number, share, took, visible
from evolteacher.report.trained import stages, trainings
from evolteacher.store import Store
from evolteacher.writing import atomic
from evolteacher.yamlfile import dump

FILE = "report.html"

SAMPLE = 200
"""Lineages that come with every prompt and reply, unless all are asked for."""


def write_report(run: Path, out: Path, sample: int | None = SAMPLE, besides: Besides = NOTHING) -> int:
    """Write a run's report; the run may be going on.

    Args:
        run: the run's folder.
        out: the file.
        sample: how many lineages come with their prompts and replies; None for all.
        besides: folders that are shown besides what is in the run's.

    Returns:
        How many do.

    Raises:
        UsageError: there is no run, or one of these folders is not what it is given as.
        RunError: the file cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    style, script = _part("report.css"), _part("report.js")
    with Store(run / DATABASE, read_only=True) as store:
        chosen = Sample(store.seed_count(), sample)
        environment = Environment(
            loader=PackageLoader("evolteacher.report", ""),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {each.__name__: each for each in (visible, number, share, took, gigabytes, public)}
        page = environment.get_template("report.html.j2")
        facts = {**_facts(run, store), **_followed(run, besides), **_lineages(store, chosen)}
        text = page.generate(style=style, script=script, script_hash=_hash(script), version=__version__, **facts)
        with atomic(out) as file:
            for piece in text:
                file.write(piece.encode("utf-8", "replace"))
    return len(range(0, chosen.lineages, chosen.every)) if sample != 0 else 0


def _part(name: str) -> str:
    return (resources.files("evolteacher.report") / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _facts(run: Path, store: Store) -> dict[str, Any]:
    summary = summarise(store)
    recipe = store.meta("recipe") or {}
    first, last, prompt, completion, calls = store.query(
        "SELECT min(at), max(at), total(prompt_tokens), total(completion_tokens), count(*) "
        "FROM replies WHERE NOT forked"
    ).fetchone()
    drawn = charts.installed()
    found = list(figures(store))
    return {
        "name": recipe.get("name", run.name),
        "description": recipe.get("description") or "",
        "recipe": dump(public_recipe_of(recipe)) if recipe else "",
        "summary": summary,
        "flow": flow(store),
        "span": _span(first, last),
        "minutes": None if first is None else (last - first) / 60,
        "tokens": {"prompt": prompt, "completion": completion, "calls": calls},
        "charts": [(figure, charts.draw(figure) if drawn else "") for figure in found],
        "drawn": drawn,
        "rights": rights(store),
    }


def _followed(run: Path, besides: Besides) -> dict[str, Any]:
    """Return what came after the run, here and elsewhere; a file that cannot be read costs a line of its section."""
    certificate, no_certificate = certified(run)
    trained, no_training = trainings(run, besides.trainings)
    measured, no_evaluation = evaluations(run, besides.trainings, besides.evaluations)
    tasks, no_tasks = harnessed(besides.evaluations)
    compared, no_comparison = comparisons(besides.comparisons)
    spent, no_stages = stages(run)
    drawn = charts.installed()
    return {
        "certificate": certificate,
        "no_certificate": no_certificate,
        "trainings": trained,
        "no_training": no_training,
        "evaluations": [(each, charts.draw(each.figure) if drawn else "") for each in measured],
        "tasks": tasks,
        "no_evaluation": [*no_evaluation, *no_tasks],
        "comparisons": compared,
        "no_comparison": no_comparison,
        "stages": spent,
        "no_stages": no_stages,
    }


def _lineages(store: Store, chosen: Sample) -> dict[str, Any]:
    known = {
        "lineages": chosen.lineages,
        "chunk": CHUNK,
        "every": chosen.every,
        "sampled": chosen.size != 0,
        "sampleChunk": SAMPLE_CHUNK,
    }
    one = store.query
    return {
        "known": json.dumps(known),
        "operators": [row[0] for row in one("SELECT DISTINCT operator FROM steps WHERE round > 0 ORDER BY 1")],
        "rounds": [row[0] for row in one("SELECT DISTINCT round FROM steps ORDER BY 1")],
        "filters": [
            row[0]
            for row in one("SELECT filter FROM steps WHERE filter != '' UNION SELECT filter FROM drops ORDER BY 1")
        ],
        "scores": [row[0] for row in one("SELECT DISTINCT key FROM steps, json_each(scores) ORDER BY 1")],
        "tree": tree_chunks(store, chosen.lineages),
        "samples": sample_chunks(store, chosen),
    }


def _span(first: float | None, last: float | None) -> str:
    """Write from when to when, a day that is both named once."""
    if first is None or last is None:
        return ""
    began, ended = (datetime.fromtimestamp(at, UTC) for at in (first, last))
    until = "%H:%M" if began.date() == ended.date() else "%Y-%m-%d %H:%M"
    return f"{began:%Y-%m-%d %H:%M} to {ended:{until}} UTC"
