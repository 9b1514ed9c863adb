"""The command line: a table of commands, each imported only when it is used, and one place where errors end.

Nothing here imports more than the standard library before a command is known, so that ``evolteacher --help`` answers
at once. Exit codes: 0 done, 1 a failure, 2 usage or recipe, 3 stopped by the budget, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

INTERRUPTED = 130
"""The exit code after Ctrl-C or SIGTERM, as shells count it."""

DEBUG = "EVOLTEACHER_DEBUG"
"""Set in the environment, it shows the traceback of an error besides its message."""

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Make a dataset": {
        "run": ("evolteacher.cli.run:run", "Run a recipe into a folder, or go on with a run."),
        "plan": ("evolteacher.cli.plan:plan", "Say what a run would ask: calls and tokens."),
        "show": ("evolteacher.cli.show:show", "Look at a run, or at one lineage with all its versions."),
        "watch": ("evolteacher.cli.watch:watch", "Show how a run goes that another process carries out."),
        "stats": ("evolteacher.cli.stats:stats", "Print a run's figures, as tables or as JSON."),
        "diff": ("evolteacher.cli.diff:diff", "Say what differs between two runs, and what may be chance."),
        "report": ("evolteacher.cli.report:report", "Write a run as one HTML file: sums, charts, every lineage."),
        "rejudge": ("evolteacher.cli.rejudge:rejudge", "Apply changed filters to a run; nothing is asked."),
        "judge-check": (
            "evolteacher.cli.judge_check:judge_check",
            "Sample a judge's verdicts, to be read.",
        ),
        "export": ("evolteacher.cli.export:export", "Write a run's dataset in another format."),
        "licences": ("evolteacher.cli.licences:licences", "Say what a run's rows are under, and what may be done."),
        "push": ("evolteacher.cli.push:push", "Upload a run's dataset, or a tuned model, to a hub."),
    },
    "Train a model on it, and measure it": {
        "train": ("evolteacher.cli.train:train", "Tune a model as a recipe says, or go on with a training."),
        "evaluate": ("evolteacher.cli.evaluate:evaluate", "Measure a model, or a file of samples, on a benchmark."),
        "compare": ("evolteacher.cli.compare:compare", "Say which of two datasets teaches more, and what is noise."),
    },
    "Recipes": {
        "recipes": ("evolteacher.cli.recipes:app", "List the recipes that ship, and copy one to change it."),
        "validate": ("evolteacher.cli.validate:validate", "Check a recipe without running it."),
        "schema": ("evolteacher.cli.schema:schema", "Write the JSON Schema of recipes, for editors."),
    },
    "Datasets without a run": {
        "convert": ("evolteacher.cli.convert:convert", "Convert a dataset to another format."),
        "merge": ("evolteacher.cli.merge:merge", "Merge datasets into one."),
        "prune": ("evolteacher.cli.prune:prune", "Apply filters to a dataset, such as near-duplicates."),
        "decontaminate": (
            "evolteacher.cli.decontaminate:decontaminate",
            "Find a benchmark's problems in a dataset.",
        ),
    },
    "What is installed": {
        "plugins": ("evolteacher.cli.plugins:app", "List operators, filters, backends and readers; show one."),
        "doctor": ("evolteacher.cli.doctor:doctor", "Say what this installation can do, and how safe its sandbox is."),
    },
}
"""Heading -> command -> (import path of a function, typer application or click command, one line of help)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the console script ``evolteacher``.

    Args:
        argv: the words after the program's name; the process's own when None.

    Returns:
        The exit code.
    """
    import warnings

    args = list(sys.argv[1:] if argv is None else argv)
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # no text may fail for a terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes the rest as *_
        try:
            code = _dispatch(args)
            sys.stdout.flush()
        except KeyboardInterrupt:
            return INTERRUPTED
        except SystemExit as error:
            if isinstance(error.__context__, BrokenPipeError):  # how rich and typer end when nobody reads on
                return _nobody_reads()
            return error.code if isinstance(error.code, int) else 0
        except Exception as error:
            return _report(error)
    return code


def _open_standard_streams() -> None:
    """Put nothing in the place of the standard streams that are closed, as under some schedulers and after ``>&-``.

    Python has None for them, which nothing can write to; and their numbers would go to the next files that are opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def commands() -> dict[str, tuple[str, str]]:
    """Return evolteacher's own commands: name -> (import path, one line of help)."""
    return {name: entry for group in COMMANDS.values() for name, entry in group.items()}


def _dispatch(args: list[str]) -> int:
    first = args[0] if args else "--help"
    if "_EVOLTEACHER_COMPLETE" in os.environ or first in ("--install-completion", "--show-completion"):
        from evolteacher.cli.completion import complete

        return complete(args)
    if first in ("--help", "-h", "help"):
        print(_help())
        return 0
    if first in ("--version", "-V"):
        from evolteacher import __version__

        print(f"evolteacher {__version__}")
        return 0
    target, _ = commands().get(first) or _plugin_command(first)
    _check_out(args)
    command = as_command(first, resolve(target))
    try:
        code = command.main(args=args[1:], prog_name=f"evolteacher {first}", standalone_mode=False)
    except SystemExit as error:
        if first in commands() and not isinstance(error.__context__, BrokenPipeError):  # a plugin's command may exit
            raise _ended_by_a_plugin(error) from error
        raise
    return code if isinstance(code, int) else 0


def _check_out(args: list[str]) -> None:
    """Refuse an empty ``--out``, which would be the working directory: it comes of a shell's variable that is not set.

    Raises:
        UsageError: it is there.
    """
    from itertools import pairwise

    if "--out=" in args or ("--out", "") in pairwise(args):
        from evolteacher.errors import UsageError

        raise UsageError("--out: the name is empty; write a name, or . for this folder")


def _ended_by_a_plugin(error: SystemExit) -> Exception:
    """Return what to say of a ``sys.exit()`` within a command of our own, none of which calls it."""
    import traceback

    from evolteacher.errors import PluginError

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return PluginError(
        f"sys.exit({error.code!r}) was called in {frame.filename}:{frame.lineno}, and no plugin may end the process: "
        "mend it, or tell its author; a run keeps what was answered, and goes on afterwards"
    )


def _plugin_command(name: str) -> tuple[str, str]:
    """Look for a command among those that plugins bring."""
    from evolteacher.cli.terminal import load_catalog
    from evolteacher.errors import UsageError, did_you_mean

    brought = load_catalog().commands()
    if name in brought:
        return brought[name]
    if name.startswith("-"):
        raise UsageError(f"evolteacher has no option '{name}'; `evolteacher --help` shows what it takes")
    hint = did_you_mean(name, [*commands(), *brought])
    raise UsageError(f"evolteacher has no command '{name}'.{hint} `evolteacher --help` says what each does")


def resolve(target: str) -> Any:
    """Import what ``module:attribute`` names.

    Raises:
        PluginError: a plugin's command cannot be imported.
    """
    from importlib import import_module

    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:
        if module.startswith("evolteacher.cli."):
            raise
        from evolteacher.errors import EvolteacherError, PluginError

        if isinstance(error, EvolteacherError):
            raise
        raise PluginError(
            f"the command's code, {target}, cannot be imported: {type(error).__name__}: {error}"
        ) from error


def as_command(name: str, command: Any) -> Any:
    """Return the click command of a function, of a typer application, or of a click command."""
    import typer
    from typer.main import get_command

    if isinstance(command, typer.Typer):
        return get_command(command)
    if hasattr(command, "main"):
        return command
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, context_settings={"help_option_names": ["-h", "--help"]})(command)
    return get_command(app)


def _help() -> str:
    lines = ["Evolve instruction datasets with LLMs (Evol-Instruct).", "", "Usage: evolteacher COMMAND [OPTIONS]"]
    width = max(len(name) for name in commands())
    for heading, group in COMMANDS.items():
        lines += ["", f"{heading}:", *(f"  {name:{width}}  {help}" for name, (_, help) in group.items())]
    lines += [
        "",
        "`evolteacher COMMAND --help` shows a command's options; `evolteacher --version` the version.",
        "Plugins bring further commands: `evolteacher plugins` lists them.",
        "To begin: evolteacher run quickstart",
    ]
    return "\n".join(lines)


def _report(error: Exception) -> int:
    """Say what went wrong, in a line or a few; return the exit code."""
    from evolteacher.cli.terminal import complain, note
    from evolteacher.errors import EvolteacherError, RecipeError

    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        return _nobody_reads()
    if os.environ.get(DEBUG):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, EvolteacherError):
        for problem in error.problems if isinstance(error, RecipeError) and error.problems else (error,):
            complain("error", problem)
        for line in getattr(error, "__notes__", ()):
            note(line)
        return error.exit_code
    show: Callable[[], str] | None = getattr(error, "format_message", None)
    if show is not None:  # click's, or the copy of click that typer brings: what was typed is wrong
        path = getattr(getattr(error, "ctx", None), "command_path", "evolteacher")
        complain("error", f"{_sentence(show())} (`{path} --help` shows what it takes)")
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        complain("error", f"{place}{error.strerror}")
        return 1
    if type(error).__name__ == "Abort":  # click's; Ctrl-C or the end of the input at a question
        return INTERRUPTED
    complain(
        "error",
        f"{type(error).__name__}: {' '.join(str(error).split())}. This is a bug in evolteacher or a plugin, not in "
        f"what you typed; {DEBUG}=1 before the same command shows where",
    )
    return 1


def _sentence(message: str) -> str:
    folded = " ".join(message.split())
    return folded.rstrip(".")


def _nobody_reads() -> int:
    """End quietly when the reader of a pipe has had enough, as after ``| head``."""
    # Python flushes stdout once more at its end, which would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    from evolteacher.cli.terminal import complain

    complain("warning", message)
