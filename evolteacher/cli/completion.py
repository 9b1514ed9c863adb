"""Shell completion: of commands, options and values, by typer's own machinery, in a process that a shell starts.

Whatever happens in it, the shell sees candidates or none: no message, no traceback, no long wait. A candidate becomes
part of a command line, and some of the shells' scripts evaluate it, so a name that a shell might read as anything but
a name is not offered. Where nothing is offered, the shell completes files in its own way, which quotes them.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any

import typer
from typer.main import get_command

from evolteacher import cli
from evolteacher.cli.terminal import load_catalog
from evolteacher.installed import declared_commands, of_others

INSTRUCTION = "_EVOLTEACHER_COMPLETE"
"""The variable by which a shell's script asks, such as ``complete_bash``."""

MOST_SECONDS = 10.0
"""After which a shell gets no candidates: a plugin that hangs, or a folder on a disk that does not answer."""

NEVER_IMPORTED = (
    "torch", "transformers", "trl", "peft", "vllm", "litellm", "datasets", "matplotlib", "pandas", "pyarrow",
    "huggingface_hub", "xllamacpp", "mkdocs",
)  # fmt: skip
"""Of which no completion may pay the import; a plugin that imports one at its top is left out."""

_HARMLESS = re.compile(r"(?!-)(?:~/)?[\w.,+:=/ -]+")
"""Letters and digits of any script, and what no shell takes for anything else. A space is quoted where it has to be."""

_OPTION = re.compile(r"--?[\w-]+")

_JOINTS = frozenset({":", "="})
"""Characters at which bash cuts a word in pieces, each of them a piece."""


def complete(args: list[str]) -> int:
    """Answer the shell's question for completions, or install them (``--install-completion``); return the exit code."""
    what, _, shell = os.environ.get(INSTRUCTION, "").partition("_")
    if what != "complete":
        code = get_command(_application("")).main(args=args, prog_name="evolteacher", standalone_mode=False)
        return code if isinstance(code, int) else 0
    answer = _unseen()
    text, code = "", 1
    try:
        text, code = _answer(shell)
    except BaseException as error:  # whatever a plugin raises: a shell that completes has no place for it
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    if code and shell == "zsh":
        text = "_files"
    os.write(answer, f"{text}\n".encode("utf-8", "replace") if text else b"")
    os._exit(code)  # what plugins have begun or registered must not hold up the shell


def _unseen() -> int:
    """Let nothing be seen of what this process writes, be it a plugin's or a library's in C, and end it in time.

    Returns:
        The descriptor that the shell reads.
    """
    answer, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for name in NEVER_IMPORTED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # how Python says that it is not to be had
    gc.disable()  # it would look through each import several times, for a process that lives for a moment
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _give_up)
        signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    return answer


def _give_up(number: int, frame: FrameType | None) -> None:
    os._exit(1)


def _answer(shell: str) -> tuple[str, int]:
    """Return what the shell's script reads, and the exit code."""
    typed = os.environ.get("COMP_WORDS" if shell == "bash" else "_TYPER_COMPLETE_ARGS", "").split()
    command = get_command(_application(typed[1] if len(typed) > 1 else ""))
    machinery = import_module(f"{_click_of(command)}.shell_completion")
    known = machinery.get_completion_class(shell)
    if known is None:
        return "", 1
    asked = _careful(known, shell)(command, {}, "evolteacher", INSTRUCTION)
    return asked.complete(), 0


def _click_of(command: Any) -> str:
    """Return the package of the click that typer uses: click itself, or a copy that typer brings."""
    module = next(cls.__module__ for cls in type(command).__mro__ if cls.__name__ == "Command")
    return module.rpartition(".")[0]


def _application(first: str) -> typer.Typer:
    """Return an application of all commands, of which one is there with its options: the first word typed."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    own = cli.commands()
    for name, (target, help) in (own if first in own else {**_brought(first), **own}).items():
        command = cli.resolve(target) if name == first else _nothing
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=help)
        elif not hasattr(command, "main"):  # a click command of another click than typer's cannot be added
            app.command(name, help=help)(command)
    return app


def _nothing() -> None:
    """Stand for a command of which only the name is wanted."""


def _brought(first: str) -> dict[str, tuple[str, str]]:
    """Return the commands that plugins bring; those that are declared, where nothing more is to be known of them."""
    declared = declared_commands()
    if first in declared or of_others():
        return load_catalog(quiet=True).commands()
    return dict.fromkeys(declared, ("", ""))


def _careful(machinery: Any, shell: str) -> Any:
    """Return typer's completion for a shell, made to offer harmless names only and to know how bash cuts words."""

    class Careful(machinery):  # type: ignore[misc]
        def get_completion_args(self) -> tuple[list[str], str]:
            args, incomplete = super().get_completion_args()
            self.quoted = shell == "bash" and _last_typed().startswith(("'", '"'))
            self.before = ""
            if shell != "bash":
                return args, incomplete
            whole = _joined([*args, incomplete])
            self.before = whole[-1].removesuffix(incomplete) if incomplete not in _JOINTS else whole[-1]
            return whole[:-1], whole[-1]

        def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
            items = super().get_completions(args, incomplete)
            option = incomplete.partition("=")[0] + "=" if incomplete.startswith("-") and "=" in incomplete else ""
            found = []
            for item in items:
                if _OPTION.fullmatch(item.value) and incomplete.startswith("-"):
                    found.append(item)
                elif _HARMLESS.fullmatch(item.value) and not (self.quoted and " " in item.value):
                    item.value = self._as_typed(item.value, option)
                    found.append(item)
            return found

        def _as_typed(self, value: str, option: str) -> str:
            """Return what takes the place of the word that the shell asks about."""
            if shell != "bash":
                return option + value
            return value.removeprefix(self.before.removeprefix(option)).replace(" ", "\\ ")

    return Careful


def _last_typed() -> str:
    """Return the word at the cursor as it was typed, with its quotes."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    number = int(os.environ.get("COMP_CWORD", "0"))
    return words[number] if number < len(words) else ""


def _joined(words: list[str]) -> list[str]:
    """Return words that bash has cut at its joints, whole again: ``embedded : qwen`` is one, and ``--model = x``."""
    whole: list[str] = []
    joins = False
    for word in words:
        if whole and (word in _JOINTS or joins):
            whole[-1] += word
        else:
            whole.append(word)
        joins = word in _JOINTS
    return whole
