"""The certificate of a run: what its filters of contamination looked for, and what they rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evolteacher.decontamination.against import NamedBenchmark
from evolteacher.decontamination.certificate import Certificate, Certifies, ContaminationPair
from evolteacher.history import rejected, summarise
from evolteacher.recipe import Recipe
from evolteacher.store import Store


def certificate_of(store: Store, recipe: Recipe) -> Certificate | None:
    """Return the certificate of what has settled; None where no filter of the recipe looks for benchmarks."""
    uses = [use for use in recipe.filters if isinstance(use.component, Certifies)]
    if not uses:
        return None
    benchmarks: dict[tuple[str, str], NamedBenchmark] = {}
    checks: dict[str, Mapping[str, Any]] = {}
    found: list[tuple[int, int, list[ContaminationPair]]] = []
    for use in uses:
        component = use.component
        assert isinstance(component, Certifies)
        benchmarks.update({(each.name, each.hash): each for each in component.benchmarks})
        checks[use.label] = {**component.certified(), "on": list(use.on)}
        for order, step in rejected(store, use.label, limit=-1):
            row = f"lineage {order}, round {step.round}"
            text = step.evolution.child.text if step.evolution is not None else ""
            found.append((step.round, order, component.pairs(row, text, step.response or "", step.verdict.reason)))
    pairs = [pair for _, _, pairs in sorted(found, key=lambda each: each[:2]) for pair in pairs]
    checked = summarise(store).records + len(found)
    return Certificate(tuple(benchmarks.values()), checks, checked, len(found), pairs)
