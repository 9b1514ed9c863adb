"""What a dataset's card says of licences and terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from evolteacher.licensing import TERMS, UNKNOWN, kind_of, licence_id, split_terms
from evolteacher.markdown import cell, table
from evolteacher.rights import KINDS, Clearance

MOST_SHOWN = 80
"""Characters of a licence that a card repeats: a source may say anything."""

NO_ADVICE = (
    "What is said of terms is a summary as understood when this evolteacher was written, and no legal advice: read "
    "them, and the licences, before you publish or use this dataset."
)


def hub_licence(licence: str) -> str:
    """Return a licence as hubs spell it in the front matter of a card."""
    return licence.removesuffix("-only")


def licence_section(rights: Clearance) -> Iterator[str]:
    """Yield the section's paragraphs: under what it is published, rows by licence and by terms, what does not fit."""
    yield "## Licence\n"
    licences, terms = sums(rights)
    if rights.licence and not rights.refused:
        yield f"Published under `{rights.licence}`, which the licences and terms below allow.\n"
    elif rights.refused:
        yield from _refused(rights)
    if not any(name for name, _ in licences):
        yield (
            "No licence of the seeds is known (rows name it, or `seeds.licence` in the recipe). What holds for them "
            "holds for this dataset too.\n"
        )
    else:
        yield table(("licence of the seed", "rows"), [(name or UNKNOWN, f"{rows:,}") for name, rows in licences])
    if terms:
        yield "Rows by the terms of the models that wrote them; a row may be under several:\n"
        told = [(f"`{name}`", f"{rows:,}", said_of(name)) for name, rows in terms]
        yield table(("terms", "rows", "in short"), told)
    yield f"{NO_ADVICE}\n"


def sums(rights: Clearance) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return a dataset's rows by licence (empty: none known), and by terms; most first, rare ones together.

    A row may be under several terms, or none.
    """
    licences, terms = Counter[str](), Counter[str]()
    for (licence, names), rows in rights.mix.items():
        licences[licence] += rows
        for name in split_terms(names):
            terms[name] += rows
    return _most(licences), _most(terms)


def _most(rows: Counter[str]) -> list[tuple[str, int]]:
    """Return the names under which most rows are, none longer than people can read, and the rest as one line."""
    found = rows.most_common()
    rest = sum(number for _, number in found[KINDS:])
    named = [(name[:MOST_SHOWN], number) for name, number in found[:KINDS]]
    return [*named, *([(f"{len(found) - KINDS:,} others", rest)] if rest else [])]


def _refused(rights: Clearance) -> Iterator[str]:
    number = sum(group.rows for group in rights.refused)
    if rights.despite:
        yield (
            f"> Published under `{rights.licence}`, although evolteacher takes {number:,} of the rows not to allow it. "
            f"The reason given: {cell(rights.despite)}\n"
        )
    else:
        yield (
            f"> **Not to be published as it is.** The recipe's licence, `{rights.licence}`, is not allowed by "
            f"{number:,} of the rows.\n"
        )
    told = [
        (group.licence[:MOST_SHOWN] or UNKNOWN, group.terms or "none", f"{group.rows:,}", group.why)
        for group in rights.refused[:KINDS]
    ]
    yield table(("licence of the seed", "terms", "rows", "why not"), told)


def said_of(name: str) -> str:
    """Return terms in a sentence, with a link where there is one."""
    known = TERMS.get(licence_id(name))
    return f"{in_short(name)} [{known.title}]({known.link})" if known is not None and known.link else in_short(name)


def in_short(name: str) -> str:
    """Return terms in a sentence."""
    known = TERMS.get(licence_id(name))
    if known is not None:
        return known.summary
    kind = kind_of(name)
    return "Nothing is known of what they allow." if kind == "unknown" else f"The model's licence: {kind}."
