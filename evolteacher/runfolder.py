"""The folder that a run takes: whether it may, which experiment holds it, and when it is begun anew."""

from __future__ import annotations

import json
from pathlib import Path

from evolteacher.database import LOCKED_RECIPE
from evolteacher.decontamination import certificate as certificates
from evolteacher.differences import differences
from evolteacher.errors import UsageError
from evolteacher.outputs import CARD, FILES, PREPARED_OPERATORS, round_files
from evolteacher.recipe import Recipe
from evolteacher.store import Store


def check_free(folder: Path) -> None:
    """Refuse a folder without a run that holds files which a run would replace, such as a project's own README.md.

    Raises:
        UsageError: with the names of those files.
    """
    names = [CARD, LOCKED_RECIPE, PREPARED_OPERATORS, certificates.FILE, *(file for _, file in FILES.values())]
    there = [name for name in names if (folder / name).exists()]
    there += [path.name for path in round_files(folder)]
    if there:
        raise UsageError(
            f"{folder}: {', '.join(there)}: a run would replace {'it' if len(there) == 1 else 'them'}, and there is no "
            "run in this folder; choose another with --out"
        )


def check_experiment(store: Store, recipe: Recipe) -> None:
    """Stop where the folder holds another experiment, and list what differs.

    A folder for which nothing was ever asked takes any: see :func:`begin_anew`.

    Raises:
        UsageError: with a line for each difference.
    """
    stored = store.meta("experiment")
    if stored is None or not store.was_asked():
        return
    different = list(differences(stored, json.loads(json.dumps(recipe.experiment()))))
    if different:
        folder = store.path.parent
        raise UsageError(
            "\n".join(
                [
                    f"{folder}: this folder holds a run of another experiment. What differs:",
                    *different,
                    "Put these back; or, where only filters differ, judge the run anew: evolteacher rejudge "
                    f"{folder} --recipe RECIPE; or start another run: --out NEW, and --fork {folder} to reuse the "
                    "replies that still fit.",
                ]
            )
        )


def begin_anew(store: Store) -> None:
    """Empty a run for which nothing was ever asked, such as a first try with a misspelt model or a missing key.

    Nothing that cost anything is in it, so the mended recipe, or a mended file of seeds, may take its folder.
    """
    store.begin_anew()
    for path in round_files(store.path.parent):  # the mended recipe may have fewer rounds
        path.unlink()
