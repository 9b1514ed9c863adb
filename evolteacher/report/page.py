"""A report's file: written as a stream, whatever the run's size. All that a model wrote stays text in it.

The page's policy lets nothing be fetched, sent or framed, and no script run but the one that the report brings, which
its hash names; lineages lie in base64, and what jinja2 fills in is escaped. Characters that hide or turn text round
are shown by their code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from evolteacher import __version__
from evolteacher.database import DATABASE
from evolteacher.decontamination.certificate import FILE as CERTIFICATE
from evolteacher.history import summarise
from evolteacher.published import public_recipe_of
from evolteacher.record import clean_text
from evolteacher.report import charts
from evolteacher.report.chunks import CHUNK, SAMPLE_CHUNK, Sample, sample_chunks, tree_chunks
from evolteacher.report.figures import figures, flow
from evolteacher.store import Store
from evolteacher.training.curve import loss_curve
from evolteacher.writing import atomic
from evolteacher.yamlfile import dump

FILE = "report.html"

SAMPLE = 200
"""Lineages that come with every prompt and reply, unless all are asked for."""

METRICS = Path("train") / "metrics.jsonl"

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


def write_report(run: Path, out: Path, sample: int | None = SAMPLE) -> int:
    """Write a run's report; the run may be going on.

    Args:
        run: the run's folder.
        out: the file.
        sample: how many lineages come with their prompts and replies; None for all.

    Returns:
        How many do.

    Raises:
        UsageError: there is no run.
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
        environment.filters |= {"visible": visible, "number": _number}
        page = environment.get_template("report.html.j2")
        facts = {**_facts(run, store), **_lineages(store, chosen)}
        text = page.generate(style=style, script=script, script_hash=_hash(script), version=__version__, **facts)
        with atomic(out) as file:
            for piece in text:
                file.write(piece.encode("utf-8", "replace"))
    return len(range(0, chosen.lineages, chosen.every)) if sample != 0 else 0


def visible(value: object) -> str:
    """Return a text in which nothing is hidden: control characters and those that turn text round become their code."""
    return _HIDDEN.sub(lambda found: f"\u27e8U+{ord(found[0]):04X}\u27e9", clean_text(str(value))[0])


def _number(value: float | str | None) -> str:
    """Write a value of a table: whole numbers whole, others with three figures."""
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return visible(value)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


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
        "started": _moment(first),
        "ended": _moment(last),
        "minutes": None if first is None else (last - first) / 60,
        "tokens": {"prompt": prompt, "completion": completion, "calls": calls},
        "charts": [(figure, charts.draw(figure) if drawn else "") for figure in found],
        "drawn": drawn,
        "certificate": _json(run / CERTIFICATE),
        "curve": _curve(run / METRICS),
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


def _moment(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _json(path: Path) -> Any:
    """Return what a JSON file holds; None where there is none that can be read."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def _curve(path: Path) -> str:
    """Return the loss curve of the training in the run's folder; empty where there was none."""
    lines = list(_metrics(path))
    return loss_curve(lines, "Loss over steps") if lines else ""


def _metrics(path: Path) -> Iterator[Mapping[str, Any]]:
    with suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            if isinstance(found, dict):
                yield found
