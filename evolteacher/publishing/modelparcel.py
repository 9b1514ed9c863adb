"""A tuned model for a hub: the files that a model consists of, its card, and its scores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evolteacher import __version__
from evolteacher.errors import RunError, UsageError
from evolteacher.evaluation.score import RESULTS
from evolteacher.evaluation.score import STAGE as EVALUATE
from evolteacher.markdown import table
from evolteacher.published import public
from evolteacher.publishing.leaks import check_for_secrets, secrets_of
from evolteacher.publishing.parcel import Parcel, ParcelFile, as_json, front_matter, licence_in, write_list
from evolteacher.training.folder import MERGED, MODEL, STATE, Folder
from evolteacher.training.job import STAGE as TRAIN
from evolteacher.writing import atomic
from evolteacher.yamlfile import dump

CARD = "README.md"

_OF_A_MODEL = re.compile(
    r"config\.json|generation_config\.json|adapter_config\.json|tokenizer\.json|tokenizer_config\.json|vocab\.json|"
    r"vocab\.txt|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template\.(jinja|json)|"
    r"tokenizer\.model|spiece\.model|prompt_form\.json|preprocessor_config\.json|"
    r"(adapter_)?model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
)
_CONFIGURATIONS = ("config.json", "adapter_config.json")
_NAMES_ITS_BASE = (*_CONFIGURATIONS, "tokenizer_config.json")


def model_parcel(checkpoint: Path, draft: Path, *, scores: Iterable[Path] = (), partial: bool = False) -> Parcel:
    """Find what of a tuned model goes to a hub, and write its card with its scores.

    Args:
        checkpoint: a training's folder, its ``model``, its ``merged``, or another folder with a model.
        draft: an empty folder, which is written into.
        scores: files that ``evolteacher evaluate`` wrote; those beside the model are found.
        partial: whether the last checkpoint of a training that is not finished may go.

    Raises:
        UsageError: there is no model, or no such scores.
        RunError: the training is not finished, or a text holds a secret.
    """
    model, because = _model(checkpoint, partial)
    training = model.parent if (model.parent / STATE).exists() else model
    told = [(path, _read_scores(path)) for path in ([*scores] or _found_scores(model, training))]
    names = []
    for number, (path, found) in enumerate(told):
        path = path / RESULTS if path.is_dir() else path
        names.append(RESULTS if not number else f"evaluation-{re.sub(r'[^A-Za-z0-9.-]+', '-', path.parent.name)}.json")
        if names[-1] in names[:-1]:
            raise UsageError(f"--scores {path}: two of them lie in folders of one name; rename one")
        with atomic(draft / names[-1]) as out:
            out.write(as_json(public(found)))
    with atomic(draft / CARD) as out:
        out.write(_card(model, training, [found for _, found in told]).encode("utf-8"))
    inside = sorted(path for path in model.iterdir() if _belongs(path, model))
    if not any(path.suffix == ".safetensors" for path in inside):
        raise UsageError(f"{model}: no weights are in it (*.safetensors), so there is nothing to push")
    for path in inside:
        _take_places_out(path, draft)
    files = [ParcelFile(path.name, path) for path in inside if not (draft / path.name).exists()]
    files += [ParcelFile(p.name, p) for p in draft.iterdir()]
    check_for_secrets(files, secrets_of(None))
    files.append(write_list(sorted(files, key=lambda file: file.name), draft))
    going = {file.name for file in files}
    stays = tuple(sorted(path.name for path in model.iterdir() if path.name not in going))
    ordered = tuple(sorted(files, key=lambda file: file.name))
    return Parcel("model", checkpoint.resolve().name, ordered, licence_in(draft / CARD), stays, because)


def _model(folder: Path, partial: bool) -> tuple[Path, str]:
    """Return the folder of the model, and why it is not a finished one."""
    if not folder.is_dir():
        raise UsageError(f"--model {folder}: there is no such folder; name a training's, or the one with config.json")
    state = Folder(folder).state() if (folder / STATE).exists() else None
    if state is None:
        if not any((folder / name).is_file() for name in _CONFIGURATIONS):
            raise UsageError(f"--model {folder}: no model is in it ({' or '.join(_CONFIGURATIONS)} is missing)")
        unfinished = folder.parent.parent if folder.name.startswith("checkpoint-") else None
        if unfinished is None or not (unfinished / STATE).exists():
            return folder, ""
        return folder, _allowed("a checkpoint in the middle of a training", folder, partial)
    if state.finished and (folder / MODEL).is_dir():
        return folder / MODEL, ""
    because = _allowed("the training is not finished", folder, partial)
    last = Folder(folder).checkpoint()
    if last is None:
        raise UsageError(f"--model {folder}: the training has no checkpoint yet")
    return last, because


def _allowed(because: str, folder: Path, partial: bool) -> str:
    if not partial:
        raise RunError(f"--model {folder}: {because}: go on with it, or push it as it is with --partial")
    return because


def _belongs(path: Path, model: Path) -> bool:
    """Whether a file is one that models consist of, and lies in the model's folder itself, under its own name."""
    return _OF_A_MODEL.fullmatch(path.name) is not None and _lies_in(path, model)


def _lies_in(path: Path, folder: Path) -> bool:
    return path.is_file() and path.resolve() == folder.resolve() / path.name


def _take_places_out(path: Path, draft: Path) -> None:
    """Write a configuration anew where it names a folder of this machine, as of the base model."""
    if path.name not in _NAMES_ITS_BASE:
        return
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON, as a model's configuration is: {error}") from None
    shown = {key: public(value) if key.endswith("name_or_path") else value for key, value in held.items()}
    if shown != held:
        with atomic(draft / path.name) as out:
            out.write(as_json(shown))


def _found_scores(model: Path, training: Path) -> list[Path]:
    found = [folder / RESULTS for folder in dict.fromkeys((model, training)) if (folder / RESULTS).is_file()]
    run = training.parent if training.name == TRAIN else training
    stage = run.glob(f"{EVALUATE}/*-tuned/{RESULTS}")  # the base model's, beside it, are not this model's
    return found or sorted([*training.glob(f"evaluations/*/{RESULTS}"), *stage])


def _read_scores(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / RESULTS if path.is_dir() else path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as what evolteacher evaluate writes: {error}") from None
    parts = [found.get("pass"), found.get("benchmark")] if isinstance(found, dict) else [None]
    try:
        if all(isinstance(part, dict) for part in parts) and _lines(found):
            return dict(found)
    except (KeyError, TypeError, ValueError):
        pass
    raise UsageError(f"{path}: this is no {RESULTS} of evolteacher evaluate")


def _card(model: Path, training: Path, scores: list[dict[str, Any]]) -> str:
    """Return the model's own card, or a short one, with the scores in it."""
    places = [model / CARD, training / MODEL / CARD] if model.name in (MERGED, MODEL) else [model / CARD]
    own = next((_text(place) for place in places if _lies_in(place, place.parent)), "")
    front, rest = front_matter(own) if own else ({"tags": ["evol-instruct"]}, f"\n# {training.resolve().name}\n")
    if not own:
        rest += f"\nPushed by evolteacher {__version__}; nothing is on record of how it was made.\n"
    if model.name == MERGED and front.get("library_name") == "peft":
        front = {**front, "library_name": "transformers"}
    if not scores:
        return f"---\n{dump(front)}---\n{rest}"
    lines = [line for found in scores for line in _lines(found)]
    return f"---\n{dump(front)}---\n{rest.rstrip()}\n\n## Scores\n\n{table(_HEADS, lines)}"


def _text(card: Path) -> str:
    try:
        return card.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{card}: the card cannot be read as text in UTF-8: {error}") from None


_HEADS = ("benchmark", "score", "", "95 % interval", "problems")


def _lines(found: dict[str, Any]) -> list[tuple[str, ...]]:
    name = next(iter(found["benchmark"]), "?")
    problems = f"{found.get('attempted', '?')} of {found.get('problems', '?')}"
    lines: list[tuple[str, ...]] = []
    for k, told in found["pass"].items():
        score, low, high = (told[key] for key in ("score", "low", "high"))
        lines.append((name, f"pass@{k}", f"{score:.1%}", f"{low:.1%} to {high:.1%}", problems))
    return lines
