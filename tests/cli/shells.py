"""Real shells with evolteacher's completion: bash by its completion function, and any shell at a terminal."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

from commands import SCRIPT

FUNCTION = """\
source "$HOME/completion"
IFS=$'\\t' read -ra COMP_WORDS <<< "$1"
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
[[ ${COMP_WORDS[COMP_CWORD]} == NOTHING ]] && COMP_WORDS[COMP_CWORD]=
_evolteacher_completion evolteacher
for one in "${COMPREPLY[@]}"; do printf '%s\\0' "$one"; done
"""

PROMPT = "at-your-service>"
BEGIN = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        f"PS1='{PROMPT}'; for set in 'bell-style none' 'completion-query-items 0' 'page-completions off'; "
        'do bind "set $set"; done',
    ),
    "zsh": (["zsh", "-f", "-i"], f"PS1='{PROMPT}'; unsetopt beep; autoload -U compinit; compinit -u -d $HOME/dump"),
    "fish": (["fish", "--no-config", "-i"], f"function fish_prompt; echo -n '{PROMPT}'; end"),
}


def environment(home, **more):
    """An environment in which `evolteacher` is the one under test, and no setting of the user's counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVOLTEACHER_", "COMP_"))}
    path = f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "HOME": str(home), "PATH": path, "TERM": "dumb", "COLUMNS": "200", "LINES": "60", **more}


def script_of(shell, home):
    """Return the completion script that evolteacher writes for a shell; it is written once into the home folder."""
    file = home / ("completion" if shell == "bash" else f"completion.{shell}")
    if file.exists():
        return file
    asked = environment(home, _EVOLTEACHER_COMPLETE=f"source_{shell}")
    done = subprocess.run([SCRIPT], env=asked, capture_output=True, text=True, timeout=60, check=True)
    file.write_text(done.stdout)
    return file


def reply(words, folder, home, **more):
    """Return what bash would offer: COMPREPLY after its function was called with these words; stderr must be empty."""
    script_of("bash", home)
    line = "\t".join([*words[:-1], words[-1] or "NOTHING"])
    command = ["bash", "--norc", "--noprofile", "-c", FUNCTION, "bash", line]
    done = subprocess.run(command, cwd=folder, env=environment(home, **more), capture_output=True, timeout=60)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


class Terminal:
    """A shell at a terminal, with completion; whoever uses it types, and reads what the screen got."""

    def __init__(self, shell, folder, home):
        if shutil.which(shell) is None:
            import pytest

            pytest.skip(f"{shell} is not installed")
        words, begin = BEGIN[shell]
        script = script_of(shell, home)
        self.seen = self._unread = ""
        pid, self._fd = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, environment(home))
        self._pid = pid
        self.type(f"{begin}; source {script}; echo re''ady\n", until="ready\r?\n")
        self.wait(re.escape(PROMPT))

    def type(self, text, until):
        """Type, and wait for a pattern in what comes from then on."""
        os.write(self._fd, text.encode())
        return self.wait(until)

    def complete(self, line):
        """Type a line up to a tab or two, and return what the screen then got; the line is given up."""
        shown = self.type(f"{line}ZZZ", until="ZZZ")  # what is typed ahead is shown when the completion is over
        self.type("\x15echo sti''ll\n", until="still\r?\n")
        self.wait(re.escape(PROMPT))
        return shown

    def wait(self, until, seconds=40):
        """Read until a pattern came, and return what came up to its end; what came later waits for the next call."""
        end = time.monotonic() + seconds
        while not (found := re.search(until, self._unread)):
            assert time.monotonic() < end, f"{until!r} did not come; the screen got: {self._unread!r}"
            if select.select([self._fd], [], [], 0.2)[0]:
                new = os.read(self._fd, 65536).decode(errors="replace")
                self._unread, self.seen = self._unread + new, self.seen + new
        read, self._unread = self._unread[: found.end()], self._unread[found.end() :]
        return read

    def close(self):
        os.close(self._fd)
        os.waitpid(self._pid, 0)
