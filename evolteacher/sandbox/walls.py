"""The walls around untrusted code, built from the inside: namespaces, a root of its own, another user, limits.

This module is sent to the sandboxed interpreter as code, so it imports little: each module costs every check time.
"""

from __future__ import annotations

import os
import resource
import sys

TYPE_CHECKING = False  # that of `typing`, whose import would cost a check milliseconds
if TYPE_CHECKING:
    from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
FLAGS = {"user": NEWUSER, "pid": NEWPID, "net": NEWNET, "ipc": NEWIPC | NEWUTS, "mount": NEWNS}
"""Name of a wall that is a namespace -> what clone(2) calls it."""

KILL = 9
"""SIGKILL; the module `signal` would cost a check milliseconds."""

NOBODY = 65534
"""The user and group that root turns into; no file of anybody's belongs to it."""

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 2, 4, 4096, 16384, 1 << 18, 2
_PDEATHSIG, _DUMPABLE, _NO_NEW_PRIVS, _CHILD_SUBREAPER = 1, 4, 38, 36
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


class Wall(OSError):
    """A wall that could not be built: its name, and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why


_loaded: list[Any] = []


def _libc() -> Any:
    if not _loaded:
        import ctypes

        _loaded.append(ctypes.CDLL(None, use_errno=True))
    return _loaded[0]


def _must(wall: str, what: str, result: int) -> None:
    import ctypes

    if result < 0:
        raise Wall(wall, f"{what}: {os.strerror(ctypes.get_errno())}")


def prctl(option: int, value: int) -> None:
    """Set one of this process's traits; none of those used here can fail."""
    _libc().prctl(option, value, 0, 0, 0)


def die_with_parent(signal: int) -> None:
    """Let the kernel send this process a signal when its parent ends (Linux)."""
    if sys.platform == "linux":
        prctl(_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux)."""
    if sys.platform == "linux":
        prctl(_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """Let no process of the same user trace this one, or open its descriptors or its memory (Linux)."""
    if sys.platform == "linux":
        prctl(_DUMPABLE, 0)


def enter(walls: frozenset[str], readable: list[str], work: str, megabytes: int) -> None:
    """Move this process behind the walls; with ``pid`` among them, its next child is process 1 of a new world.

    Root first builds the new root directory and becomes nobody; from there on it and any other user go the same way.

    Args:
        walls: names of :data:`FLAGS`, and ``nobody``.
        readable: the files and folders that exist in the new root, read-only.
        work: the folder there that can be written to.
        megabytes: the most that it holds.

    Raises:
        Wall: one of them cannot be built here. The process is good for nothing then.
    """
    if sys.platform != "linux":
        if walls:
            raise Wall(min(walls), "only Linux has it")
        return
    proc = os.open("/proc", os.O_PATH) if walls - {"nobody"} else -1
    names = [name for name in FLAGS if name in walls]
    if "nobody" in walls:
        if "mount" in walls:
            names.remove("mount")
            _must("mount", "unshare", _libc().unshare(NEWNS))
            _new_root(readable, work, megabytes)
        _become_nobody()
    uid, gid = os.getuid(), os.getgid()
    if names:
        _must(names[0], "unshare", _libc().unshare(sum(FLAGS[name] for name in names)))
    if "user" in walls:
        prctl(_DUMPABLE, 1)  # else root owns /proc/self
        _write(proc, "self/setgroups", "deny")
        _write(proc, "self/uid_map", f"{uid} {uid} 1")
        _write(proc, "self/gid_map", f"{gid} {gid} 1")
    if "mount" in names:
        _new_root(readable, work, megabytes)
    if "user" in walls:
        _write(proc, "sys/user/max_user_namespaces", "0")
    if proc >= 0:
        os.close(proc)


def _write(proc: int, path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY, dir_fd=proc)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Wall("user", f"/proc/{path}: {error.strerror}") from None


def _become_nobody() -> None:
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        raise Wall("nobody", f"setresuid: {error.strerror}") from None


def _new_root(readable: list[str], work: str, megabytes: int) -> None:
    """Make a root directory in memory that holds what is readable and an empty folder to work in, and nothing else."""
    libc, here = _libc(), "/proc"  # a folder that every Linux has, and that is needed no more

    def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
        words = [None if word is None else word.encode() for word in (source, target, kind)]
        _must("mount", f"mount {target}", libc.mount(*words, flags, None if options is None else options.encode()))

    mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    mount("tmpfs", here, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in [*readable, *_DEVICES]:
        target = here + path
        if os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
        elif os.path.exists(path):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o444))
        else:
            continue
        mount(path, target, None, _MS_BIND | _MS_REC)
    for link in ("/lib", "/lib64"):
        if os.path.islink(link):
            os.symlink(os.readlink(link), here + link)
    os.mkdir(here + work)
    os.chdir(here)
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise Wall("mount", f"pivot_root is not known for {os.uname().machine}")
    _must("mount", "pivot_root", libc.syscall(number, b".", b"."))
    _must("mount", "umount", libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")
    # struct mount_attr: what to set (read-only, no set-user-id), what to clear, propagation, a user namespace.
    attributes = b"".join(value.to_bytes(8, sys.byteorder) for value in (1 | 2, 0, 0, 0))
    _must("mount", "mount_setattr", libc.syscall(_MOUNT_SETATTR, -100, b"/", 0x8000, attributes, len(attributes)))
    mount("tmpfs", work, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={megabytes}m,nr_inodes=4096,mode=1777")


def give_up_power() -> None:
    """Drop every capability for good: after a fork, in the process that runs untrusted code (Linux)."""
    if sys.platform == "linux":
        libc = _libc()
        libc.capset((0x20080522).to_bytes(4, sys.byteorder) + bytes(4), bytes(24))
        libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit(limits: dict[str, int]) -> None:
    """Set hard limits of this process and all that it starts: ``{"AS": bytes, "CPU": seconds, …}``."""
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            try:
                resource.setrlimit(kind, (most, most))
            except (ValueError, OSError):  # macOS refuses some values of RLIMIT_AS
                continue
