"""What hostile answers try, and what comes of it: the table of docs/sandbox.md, and what test_sandbox_hostile runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """One hostile code.

    Attributes:
        name: what it does, in the words of the table.
        guard: what stops it; the attack is open where that guard is not active.
        code: the answer. ``{canary}`` and other words in braces are replaced by what the test has set up.
        suite: its tests, which a right answer of this kind would fail; or the attack itself.
        stopped: what comes of it where the guard holds: a status, and the exception where one is raised.
        open: what comes of it where it does not. None where the guard always holds.
        harmful: too dangerous to be let loose where the guard does not hold.
        without: what the table says of it without namespaces; by default the same, or that it is not stopped.
    """

    name: str
    guard: str
    code: str
    stopped: str
    open: str | None = None
    suite: str = "assert False"
    harmful: bool = False
    without: str = ""

    @property
    def row(self) -> str:
        """Its row in the table: guard, attack, with namespaces, without."""
        held = _IN_WORDS.get(self.stopped, f"`{self.stopped.removeprefix('raised ')}`")
        loose = self.without or (held if self.open is None else "**not stopped**")
        return f"| {self.guard} | {self.name} | {held} | {loose} |"


_IN_WORDS = {
    "raised AssertionError": "the tests fail, as they should; nothing is left",
    "raised LookupError": "it finds nothing",
    "passed": "**not stopped**: it passes",
}


FORK = """
import os, time
made = []
for _ in range(200):
    pid = os.fork()
    if not pid:
        time.sleep(20)
        os._exit(0)
"""

DAEMON = """
import ctypes, os, signal, time
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(20)
    os._exit(0)
time.sleep(0.2)
"""

ZOMBIES = """
import ctypes, os, time
for _ in range(5):
    if not os.fork():
        ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
        os._exit(0)
time.sleep(0.2)
"""

FAKE = b"passed\0suite\0\0\0\0"

SCAN = f"""
import os
for descriptor in range(3, 200):
    try:
        os.set_blocking(descriptor, False)
        secret = os.read(descriptor, 16)
    except OSError:
        secret = b""
    for told in (b"", secret):
        try:
            os.write(descriptor, told + {len(FAKE).to_bytes(4, "big")!r} + {FAKE!r})
        except OSError:
            pass
os._exit(0)
"""

FRAMES = f"""
import os, sys
def answer():
    frame = sys._getframe()
    while "nonce" not in frame.f_locals:
        frame = frame.f_back
    os.write(3, frame.f_locals["nonce"] + {len(FAKE).to_bytes(4, "big")!r} + {FAKE!r})
    os._exit(0)
"""

PATCH = """
import builtins, os, posix
def nothing(*args, **kwargs):
    return b""
for name in ("exec", "compile", "eval", "zip", "len", "type", "BaseException", "AssertionError"):
    setattr(builtins, name, nothing)
    __builtins__[name] = nothing
"""

EQUAL = """
import builtins
builtins.abs = builtins.sum = __builtins__["round"] = lambda *a, **k: 3
assert abs(-1) == 3 and round(1.5) == 3
def answer():
    return 7
"""

ENVIRON = """
import glob
found = []
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        found.append(open(path, "rb").read())
    except OSError:
        pass
assert not any(b"{secret}" in text for text in found), "seen"
raise LookupError("not seen")
"""

DESCRIPTORS = """
import os
for descriptor in range(5, 1000):
    try:
        os.fstat(descriptor)
    except OSError:
        continue
    raise AssertionError(f"descriptor {descriptor} is open")
raise LookupError("nothing is open")
"""

LISTEN = """
import socket
link = socket.create_connection(("127.0.0.1", {port}), timeout=2)
link.sendall(b"hello")
"""

MEMORY = """
import os
try:
    open(f"/proc/{os.getppid()}/mem", "rb")
except OSError as error:
    raise LookupError(error)
"""

NESTED = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000) == 0:
    raise AssertionError("a user namespace of its own")
raise LookupError(os.strerror(ctypes.get_errno()))
"""

LIBRARY = """
import os
try:
    open(os.__file__, "r+").close()
except OSError as error:
    raise LookupError(error)
"""

REMOUNT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", b"/", None, 32, None) == 0 or libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0:
    raise AssertionError("mounted")
raise LookupError(os.strerror(ctypes.get_errno()))
"""

BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

RECURSION = """
import sys
sys.setrecursionlimit(10**9)
class A:
    def __getattr__(self, name):
        return getattr(self, name)
def answer():
    return A().x
"""

ATTACKS = (
    Attack("an endless loop", "cpu", "while True: pass", "timeout"),
    Attack("an endless loop in a test, deaf to signals", "cpu",
           "import signal\nsignal.pthread_sigmask(0, range(1, 65))", "timeout", suite="while True: pass"),
    Attack("sleeping for ever", "cpu", "import time\ntime.sleep(1000)", "timeout"),
    Attack("endless output", "cpu", "while True: print('x' * 10_000)", "timeout"),
    Attack("10 GB at once", "memory", "x = bytearray(10**10)", "memory"),
    Attack("memory bit by bit", "memory", "x = []\nwhile True: x.append(bytearray(10**7))", "memory"),
    Attack("200 processes where 8 are allowed", "processes", FORK, "raised BlockingIOError", "raised AssertionError",
           without="**not stopped** for root; else `BlockingIOError`"),
    Attack("a fork bomb", "processes", BOMB, "timeout", "not tried", harmful=True,
           without="**not stopped** for root, and not tried; else `timeout`"),
    Attack("a file of 100 MB", "file-size", "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
           "open('big', 'wb').write(bytes(10**8))", "raised OSError"),
    Attack("1,000 open files", "open-files", "files = [open('/dev/null') for _ in range(1000)]", "raised OSError"),
    Attack("leaving a file for the next test", "folder", "open('left', 'w').write('x')", "raised AssertionError"),
    Attack("folders in folders, beyond the longest path", "folder",
           "import os\nfor _ in range(100):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)",
           "raised AssertionError"),
    Attack("writing a file of the user's", "mount", "open('{canary}', 'w').write('gone')",
           "raised FileNotFoundError", "raised AssertionError"),
    Attack("reading a file of the user's", "mount", "print(open('{canary}').read())",
           "raised FileNotFoundError", "raised AssertionError"),
    Attack("opening the standard library for writing", "mount", LIBRARY, "raised LookupError", "raised",
           without="**not stopped** where the user may"),
    Attack("reading its environment", "environment", "import os\nraise LookupError(sorted(os.environ.items()))",
           "raised LookupError"),
    Attack("reading other processes' environment in /proc", "pid", ENVIRON, "raised LookupError",
           "raised", without="**not stopped**, but for root, whose sandbox gives up its rights"),
    Attack("using inherited descriptors", "descriptors", DESCRIPTORS, "raised LookupError"),
    Attack("connecting to a port of this machine", "net", LISTEN, "raised OSError", "raised AssertionError"),
    Attack("killing a process of the user's", "pid", "import os\nos.kill({victim}, 9)", "raised ProcessLookupError",
           "raised AssertionError"),
    Attack("killing its parent", "pid", "import os\nos.kill(os.getppid(), 9)\nimport time\ntime.sleep(0.2)",
           "raised AssertionError", "died", without="`died`: it ends its own check, with all that it started"),
    Attack("interrupting its parent", "pid", "import os\nos.kill(os.getppid(), 2)\nimport time\ntime.sleep(0.2)",
           "raised AssertionError", "died", without="`died`: it ends its own check, with all that it started"),
    Attack("reading its parent's memory", "supervisor", MEMORY, "raised LookupError"),
    Attack("a grandchild in the same session", "session",
           DAEMON.replace("    os.setsid()\n", ""), "raised AssertionError"),
    Attack("a grandchild with its own session", "orphans", DAEMON, "raised AssertionError"),
    Attack("zombies", "orphans", ZOMBIES, "raised AssertionError"),
    Attack("a user namespace of its own", "user", NESTED, "raised LookupError", "raised",
           without="**not stopped**"),
    Attack("mounting, and remounting the root", "user", REMOUNT, "raised LookupError"),
    Attack("printing that it passed", "supervisor", f"import os\nprint({FAKE!r}, 'passed', flush=True)\nos._exit(0)",
           "died"),
    Attack("os._exit(0) while it is loaded", "supervisor", "import os\nos._exit(0)", "died"),
    Attack("os._exit(0) in a test", "supervisor", "import os\ndef answer(): os._exit(0)", "died",
           suite="assert answer() == 1"),
    Attack("SystemExit", "supervisor", "def answer(): raise SystemExit(0)", "raised SystemExit",
           suite="assert answer() == 1"),
    Attack("SystemExit while it is loaded", "supervisor", "raise SystemExit", "raised SystemExit"),
    Attack("killing itself", "supervisor", "import os\nos.kill(os.getpid(), 9)", "died"),
    Attack("becoming another program", "supervisor", "import os, sys\nos.execv(sys.executable, ['python', '-c', ''])",
           "died"),
    Attack("writing a verdict into every descriptor", "supervisor", SCAN, "died"),
    Attack("the same in a test", "supervisor",
           "def answer():\n" + SCAN.replace("\n", "\n    "), "died", suite="assert answer() == 1"),
    Attack("replacing exec, compile and exceptions", "supervisor", PATCH, "raised AssertionError"),
    Attack("replacing the builtins that a test calls", "supervisor", EQUAL, "raised AssertionError",
           suite="assert abs(answer()) == 3 or round(7) == 3"),
    Attack("deep recursion", "supervisor", "def answer(): return answer()", "raised RecursionError",
           suite="assert answer() == 1"),
    Attack("deep recursion without Python's limit", "supervisor",
           RECURSION, "died", suite="assert answer() == 1"),
    Attack("a 1 GB text in an exception", "memory", "raise ValueError('x' * 10**9)", "memory"),
    Attack("a message that never ends", "cpu",
           "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E", "timeout"),
    Attack("an exception that cannot be shown", "supervisor",
           "class E(Exception):\n    def __str__(self): raise E\nraise E", "raised Exception"),
    Attack("input()", "descriptors", "input()", "raised EOFError"),
    Attack("walking the frames of its own interpreter", "none", FRAMES, "passed", suite="assert answer() == 1"),
)  # fmt: skip

if __name__ == "__main__":
    print("\n".join(attack.row for attack in ATTACKS))
