"""A comparison carried out: each training once, in a folder of its own, measured, and its weights given up."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evolteacher.awaiting import check_no_loop
from evolteacher.catalog import Catalog
from evolteacher.comparing.inputs import changed, inputs_of, merged
from evolteacher.comparing.losses import reset_peak
from evolteacher.comparing.measuring import Measuring
from evolteacher.comparing.outcome import SIDES, Measurement, Outcome
from evolteacher.comparing.request import CompareOptions, Note, Plan, default_folder, make_plan
from evolteacher.comparing.summary import as_markdown
from evolteacher.comparing.trainings import OVERFIT_LOSS, Arm, as_data, section_of, training_tokens
from evolteacher.database import DATABASE
from evolteacher.differences import differences
from evolteacher.errors import RunError, UsageError
from evolteacher.lock import locked
from evolteacher.training.folder import CHECKPOINTS, STATE, Folder
from evolteacher.training.trainer import train
from evolteacher.training.watch import TrainProgress
from evolteacher.writing import atomic, make_folder, write_lines

FIGURES = "compare.json"
SUMMARY = "compare.md"
MEASURED = "measured.json"
TRAININGS = "trainings"
BASE = "base"

Watch = Callable[[str], AbstractContextManager[TrainProgress]]


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        folder: where it is.
        finished: whether every training is measured; false where a signal stopped it, and of a plan.
        plan: what it comes to, a fact a line.
        figures: everything that was found, as ``compare.json`` holds it; empty unless it is finished.
    """

    folder: Path
    finished: bool
    plan: tuple[str, ...]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """Whether all controls came out as they must; false where they were left out."""
        return bool(self.figures.get("trusted"))

    @property
    def verdict(self) -> tuple[str, ...]:
        """What may be said, a sentence or two a line."""
        return tuple(self.figures.get("verdict", ()))


def compare(
    a: str | Path,
    b: str | Path | None = None,
    *,
    train: str | Path,
    out: str | Path | None = None,
    set: Iterable[str] = (),
    options: CompareOptions | None = None,
    dry_run: bool = False,
    catalog: Catalog | None = None,
    note: Note = lambda line: None,
    watch: Watch = lambda title: nullcontext(TrainProgress()),
    stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Train on two datasets alike, and say which teaches more; what the folder holds is not done again.

    Args:
        a: a run's folder, a dataset's file or ``hf:owner/name``; with ``:seeds``, ``:evolved`` or ``:round2`` behind
            it, only those rows.
        b: the other; None where ``a`` is a run, whose seeds are then compared with what evolved from them.
        train: a recipe with ``train:``, by path or name; its ``data`` is not used.
        out: the folder; ``comparisons/NAMES`` by default.
        set: ``dotted.key=value`` changes to the recipe.
        options: how they are compared.
        dry_run: only say what it comes to.
        catalog: what is installed; loaded when None.
        note: told what a user should know, a line at a time.
        watch: given the title of a training, returns what its counters are kept in while the block lasts.
        stop: asked after each step of a training; when true, it ends, and the same call goes on from there.

    Raises:
        UsageError: the datasets cannot be compared, the folder holds another comparison, or benchmarks are asked for
            inside a running event loop.
        RecipeError: the recipe does not validate.
        MissingExtra: what trains is not installed.
        RunError: the folder is locked or cannot be written.
        BackendError: the model cannot be loaded.
    """
    catalog, options = catalog or Catalog.load(), options or CompareOptions()
    if options.on:
        check_no_loop("et.compare() with benchmarks", "await asyncio.to_thread(et.compare, …)")
    a, b = str(a), str(b) if b is not None else None
    plan = make_plan(a, b, train, set, options, catalog)
    folder = Path(out) if out is not None else default_folder(a, b)
    for line in (*plan.notes, *plan.lines()):
        note(line)
    measuring = Measuring(plan.held, options, catalog)
    if dry_run:
        return Comparison(folder, False, tuple(plan.lines()))
    session = _Session(plan, options, folder, catalog, measuring, note, watch, stop)
    return session.run()


class _Session:
    """One process's part of a comparison."""

    def __init__(
        self,
        plan: Plan,
        options: CompareOptions,
        folder: Path,
        catalog: Catalog,
        measuring: Measuring,
        note: Note,
        watch: Watch,
        stop: Callable[[], bool],
    ) -> None:
        self._plan, self._options, self._folder, self._catalog = plan, options, folder, catalog
        self._note, self._watch, self._stop = note, watch, stop
        self._measuring = measuring
        self._inputs = inputs_of(plan.training.train.model, measuring.problems)
        self._held = [len(plan.held[side]) for side in SIDES]

    def run(self) -> Comparison:
        plan, arms = self._plan, list(self._plan.design.arms.values())
        make_folder(self._folder)
        if (self._folder / DATABASE).exists() or (self._folder / STATE).exists():
            raise UsageError(f"{self._folder}: this folder holds something else; choose another with --out")
        with locked(self._folder):
            self._check_folder()
            base = self._base()
            measured: dict[str, Measurement] = {}
            left = sum(training_tokens(plan.training.train, arm) for arm in arms)
            done, seconds = 0, 0.0
            for number, arm in enumerate(arms, 1):
                tokens = training_tokens(plan.training.train, arm)
                found = self._known(arm.name)
                if found is None:
                    started = time.monotonic()
                    found = None if self._stop() else self._carry_out(arm, f"{number} of {len(arms)}: {arm.name}")
                    if found is None:
                        return Comparison(self._folder, False, tuple(plan.lines()))
                    if arm.part != "overfit":
                        done, seconds = done + tokens, seconds + time.monotonic() - started
                left -= tokens
                measured[arm.name] = found
                self._tell(number, len(arms), arm, found, left * seconds / done if done else None)
            figures = self._figures(base, measured)
            self._write(figures)
        return Comparison(self._folder, True, tuple(plan.lines()), figures)

    def _tell(self, number: int, all: int, arm: Arm, found: Measurement, left: float | None) -> None:
        told = [f"{number} of {all} trainings: {arm.name}"]
        if found.overfit is not None:
            told.append(f"loss {found.overfit:.3f}")
        for side, losses in found.losses.items():
            told.append(f"held out of {side.upper()} {sum(losses) / len(losses):.3f}")
        told.append(f"{found.results['seconds']:.0f} s, {found.results['peak_bytes'] / 1e9:.1f} GB")
        if left and number < all:
            told.append(f"about {max(left / 60, 1):.0f} min left")
        self._note(", ".join(told))

    def _check_folder(self) -> None:
        """Take the folder for this comparison.

        Raises:
            UsageError: it holds another one, with a line for each difference.
        """
        wanted = self._plan.experiment(self._options)
        path = self._folder / FIGURES
        stored = _read(path)
        if stored is None:
            self._save(path, {"finished": False, "experiment": wanted, "inputs": self._inputs})
            return
        held = stored.get("inputs") or {}
        different = [*differences(stored.get("experiment") or {}, wanted), *changed(held, self._inputs)]
        if different:
            head = f"{self._folder}: this folder holds another comparison. What differs:"
            raise UsageError("\n".join([head, *different, "Put these back, or choose another folder with --out."]))
        self._inputs = merged(held, self._inputs)
        if held != self._inputs:
            self._save(path, {**stored, "inputs": self._inputs})

    def _save(self, path: Path, data: dict[str, Any]) -> None:
        with atomic(path) as out:
            out.write((json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "backslashreplace"))

    def _known(self, name: str) -> Measurement | None:
        """Return what was measured of a training, if all of it was that is asked for."""
        path = self._folder / TRAININGS / name / MEASURED
        stored = _read(path)
        if stored is None:
            return None
        try:
            found = Measurement(**stored)
            whole = found.overfit is not None or [len(found.losses[side]) for side in SIDES] == self._held
        except (TypeError, KeyError):
            whole = False
        if not whole:
            raise _broken(path)
        return found if self._missing(name, found) == [] else None

    def _missing(self, name: str, found: Measurement) -> list[str]:
        """Return the benchmarks that were asked for and not measured, or not on all problems."""
        if name != BASE and self._plan.design.arms[name].part not in SIDES:
            return []
        return self._measuring.missing(found)

    def _base(self) -> Measurement:
        """Return what was measured of the model as it is, measuring it if need be."""
        section, folder = self._plan.training.train, self._folder / TRAININGS / BASE
        found = self._known(BASE)
        if found is None:
            make_folder(folder)
            with self._watch("the untrained model") as progress:
                found = self._measuring.of(section, None, folder, progress)
            self._save(folder / MEASURED, asdict(found))
        told = (f"held out of {side.upper()} {sum(all) / len(all):.3f}" for side, all in found.losses.items())
        self._note(f"untrained: {', '.join(told)}")
        return found

    def _carry_out(self, arm: Arm, title: str) -> Measurement | None:
        """Train, measure, and give up the weights; None where a signal stopped it."""
        folder = self._folder / TRAININGS / arm.name
        section = section_of(self._plan.training.train, arm.part)
        make_folder(folder)
        rows = folder / "rows.jsonl"
        with atomic(rows) as out:
            write_lines(as_data(arm.rows), out)
        changes = {"name": arm.name, "seed": arm.seed, "train": section, "data": str(rows), "folder": folder}
        training = self._plan.training.model_copy(update=changes)
        reset_peak()
        with self._watch(title) as progress:

            def learnt() -> bool:
                # A loss that is not finite comes as a text.
                return arm.part == "overfit" and isinstance(progress.loss, float) and progress.loss <= OVERFIT_LOSS

            result = train(
                training, folder, catalog=self._catalog, progress=progress, stop=lambda: self._stop() or learnt()
            )
            if arm.part == "overfit":
                found = _by_heart(folder, result.finished or learnt())
            elif result.finished:
                found = self._measuring.of(section, result.model, folder, progress, ask=arm.part in SIDES)
                found.results |= result.results
            else:
                found = None
        if found is None:
            return None
        self._save(folder / MEASURED, asdict(found))
        if not self._options.keep_models:
            for part in (CHECKPOINTS, result.model.name):
                shutil.rmtree(folder / part, ignore_errors=True)
        return found

    def _figures(self, base: Measurement, measured: dict[str, Measurement]) -> dict[str, Any]:
        plan, options = self._plan, self._options
        outcome = Outcome(plan.design, plan.held, measured, base, self._measuring.benchmarks)
        sides = {}
        for side in SIDES:
            held, learnt = plan.held[side], plan.learnt[side]
            sides[side] = {
                "source": plan.sides[side].source,
                "learnt": {"rows": len(learnt), "lineages": len({item.group for item in learnt})},
                "held_out": {"rows": len(held), "lineages": len({item.group for item in held})},
            }
        trainings = [
            {
                "name": name,
                "part": arm.part,
                "seed": arm.seed,
                **{key: measured[name].results[key] for key in ("rows", "tokens", "learnt", "steps", "loss")},
                **{key: measured[name].results.get(key) for key in ("seconds", "peak_bytes", "measuring_seconds")},
            }
            for name, arm in plan.design.arms.items()
        ]
        return {
            "finished": True,
            "experiment": plan.experiment(options),
            "inputs": self._inputs,
            **sides,
            "common_lineages": plan.common,
            "model": plan.training.train.model,
            "seeds": options.seeds,
            "notes": list(plan.notes),
            **outcome.as_dict(),
            "trainings": trainings,
        }

    def _write(self, figures: dict[str, Any]) -> None:
        self._save(self._folder / FIGURES, figures)
        with atomic(self._folder / SUMMARY) as out:
            out.write(as_markdown(figures).encode("utf-8", "backslashreplace"))


def _by_heart(folder: Path, over: bool) -> Measurement | None:
    """Return how far the control on eight rows came, by its metrics: it may have stopped before its last step."""
    lines = [line for line in Folder(folder).metrics() if "loss" in line]
    state = Folder(folder).state()
    if not over or not lines or state is None:
        return None
    from evolteacher.training.trainer import peak_bytes

    results = {"rows": state.experiment["rows"], "tokens": None, "learnt": None, "seconds": round(state.seconds, 3)}
    loss = float(lines[-1]["loss"])
    results |= {"steps": lines[-1]["step"], "loss": loss, "peak_bytes": peak_bytes()}
    if not math.isfinite(loss):
        raise RunError(f"{folder.name}: the loss is not finite, so the training ran away: lower sft.learning_rate")
    return Measurement(results=results, overfit=loss)


def _read(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where there is no file.

    Raises:
        RunError: there is, and it is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise _broken(path) from None
    if not isinstance(found, dict):
        raise _broken(path)
    return found


def _broken(path: Path) -> RunError:
    return RunError(f"{path}: cannot be understood; delete it, and the same command measures anew")
