"""The seed reader of source code: files and folders, split into snippets that problems are made of.

Registered by :mod:`evolteacher_plugins.oss_instruct`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from evolteacher import Material, Row, SeedReader
from evolteacher.errors import SeedError

EXTENSIONS = (
    "bash", "c", "cc", "clj", "cpp", "cs", "css", "cu", "dart", "erl", "ex", "f90", "go", "h", "hpp", "hs", "html",
    "java", "jl", "js", "jsx", "kt", "lua", "m", "ml", "php", "pl", "ps1", "py", "r", "rb", "rs", "scala", "sh", "sql",
    "swift", "ts", "tsx", "vb", "zig",
)  # fmt: skip

LEFT_OUT = (
    "__pycache__", "bower_components", "build", "dist", "env", "external", "node_modules", "site-packages", "target",
    "third-party", "third_party", "vendor", "vendored", "venv",
)  # fmt: skip
"""Folders of code that was copied in or made by a program."""

LONGEST_LINE = 1000
LONGEST_MEAN = 100
"""Characters. StarCoder (arXiv 2305.06161) leaves out files beyond either as minified or generated."""

TRIES = 20
"""Draws for each snippet; a file in which so many in a row say nothing, or overlap an earlier one, gives no more."""

_MINIFIED = re.compile(r"[.-](?:min|bundle)\.\w+$", re.I)
_SAYS_SOMETHING = re.compile(r"[^\W\d_]{2}")
_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+() -]{1,100}\w\)?\+?)")
_HEAD = 2000
"""Characters at the beginning of a file in which a licence tag is looked for."""


class Code(SeedReader, name="code"):
    """Source code: a file, or a folder with all that lies below it, in snippets of 1 to 15 consecutive lines.

    Source: Magicoder (arXiv 2312.02120), which draws one snippet of 1 to 15 lines from each file of a large collection.
    Here, too, length and place are random, but the same each time: they are drawn from ``seed`` and the file's path
    below the source, so that a new file changes no other file's snippets.

    Passed over are hidden files and folders, folders of vendored or built code, symbolic links, binary, empty and
    minified files, those of more than ``largest`` bytes, and snippets without a word. A file that cannot be read, or
    is no UTF-8, is a bad row.

    A snippet is no row of the dataset. Its licence is what ``licences`` says of its folder, else an
    SPDX-License-Identifier at the file's beginning, else the recipe's ``seeds.licence``.
    """

    gives: ClassVar[Material] = "snippet"

    extensions: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Endings of the files that are read, such as [py, js]; all usual ones by default.",
    )
    snippets: int = Field(1, ge=1, le=1000, description="Snippets of each file; fewer of a short one.")
    min_lines: int = Field(1, ge=1, description="Least lines of a snippet.")
    max_lines: int = Field(15, ge=1, description="Most lines of a snippet.")
    seed: int = Field(0, description="Of the random choice.")
    left_out: tuple[str, ...] | None = Field(
        None,
        description="Names of folders that are passed over; vendor, node_modules, build and their like by default.",
    )
    largest: int = Field(1_000_000, ge=1, description="A file of more bytes is passed over.")
    licences: dict[str, str] = Field(
        default_factory=dict,
        description="Licence of a file or folder by its path below the source, such as {lib/json: mit}; the longest "
        "path wins.",
    )

    @field_validator("extensions")
    @classmethod
    def _check_extensions(cls, extensions: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if extensions is None:
            return None
        bare = tuple(extension.lower().removeprefix(".") for extension in extensions)
        if not all(re.fullmatch(r"\w[\w.+-]*", extension) for extension in bare):
            raise ValueError("an ending is letters and digits, such as py or d.ts")
        return bare

    @model_validator(mode="after")
    def _check_lines(self) -> Self:
        if self.min_lines > self.max_lines:
            raise ValueError(f"min_lines is {self.min_lines}, more than max_lines, {self.max_lines}")
        return self

    @classmethod
    def claims(cls, source: str) -> bool:
        """Return False: whether a file is read as code is said in the recipe, ``reader: code``."""
        return False

    def rows(self, source: str) -> Iterator[Row]:
        """Read the files in the order of their paths, and of each the snippets in the order of their lines."""
        root = Path(source)
        if root.is_file():
            yield from self._snippets(root, root.name)
            return
        if not root.is_dir():
            raise SeedError(f"{source}: there is no such file or folder")
        found = False
        for path in self._files(root):
            found = True
            yield from self._snippets(path, _shown(path.relative_to(root)))
        if not found:
            endings = ", ".join(self.extensions) if self.extensions else "that of a usual programming language"
            raise SeedError(f"{source}: no file in it has an ending that is looked for ({endings}): see `extensions`")

    def _files(self, root: Path) -> Iterator[Path]:
        """Walk a folder in the order of the names, which is the same on every machine."""
        endings = tuple(f".{extension}" for extension in self.extensions or EXTENSIONS)
        left_out = frozenset(LEFT_OUT if self.left_out is None else self.left_out)
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in left_out and not name.startswith("."))
            for name in sorted(names):
                if name.startswith(".") or not name.lower().endswith(endings) or _MINIFIED.search(name):
                    continue
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path

    def _snippets(self, path: Path, name: str) -> Iterator[Row]:
        try:
            if path.stat().st_size > self.largest:
                return
            data = path.read_bytes()
        except OSError as error:
            yield Row(name, error=f"cannot be read: {error.strerror or error}")
            return
        if b"\0" in data:
            return
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            yield Row(name, error="not UTF-8")
            return
        lines = text.splitlines()
        if not lines or max(map(len, lines)) > LONGEST_LINE or len(text) > LONGEST_MEAN * len(lines):
            return
        licence = self._licence(name, text)
        for first, last in sorted(self._places(name, lines)):
            snippet = "\n".join(lines[first:last])
            row = {"text": snippet, "licence": licence} if licence else {"text": snippet}
            yield Row(f"{name}:{first + 1}", row)

    def _places(self, name: str, lines: list[str]) -> list[tuple[int, int]]:
        """Draw the snippets of a file: first line and the one behind the last, from 0; none overlaps another."""
        places: list[tuple[int, int]] = []
        most = min(self.max_lines, len(lines))
        if most < self.min_lines:
            return places
        draw = misses = 0
        while len(places) < self.snippets and misses < TRIES:
            digest = hashlib.blake2b(f"{self.seed}:{draw}:{name}".encode(), digest_size=16).digest()
            size = self.min_lines + int.from_bytes(digest[:8], "big") % (most - self.min_lines + 1)
            first = int.from_bytes(digest[8:], "big") % (len(lines) - size + 1)
            first, last = _trimmed(lines, first, first + size)
            free = all(last <= begin or first >= end for begin, end in places)
            if last - first >= self.min_lines and free and _SAYS_SOMETHING.search("\n".join(lines[first:last])):
                places.append((first, last))
                misses = 0
            else:
                misses += 1
            draw += 1
        return places

    def _licence(self, name: str, text: str) -> str:
        paths = {path.strip("/").removeprefix("./"): licence for path, licence in self.licences.items()}
        holding = [path for path in paths if path in ("", ".") or name == path or name.startswith(f"{path}/")]
        if holding:
            return paths[max(holding, key=len)]
        found = _SPDX.search(text[:_HEAD])
        return found[1] if found else ""


def _trimmed(lines: list[str], first: int, last: int) -> tuple[int, int]:
    """Leave out blank lines at both ends."""
    while first < last and not lines[first].strip():
        first += 1
    while first < last and not lines[last - 1].strip():
        last -= 1
    return first, last


def _shown(path: Path) -> str:
    """Return a path as messages and the store can hold it, with the same separators everywhere."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
