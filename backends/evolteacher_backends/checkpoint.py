"""What tells the files of one training from another's."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

_READ = (".json", ".jinja", ".model", ".txt", ".py", ".safetensors", ".bin", ".gguf")
_SAMPLED = 65536
"""Bytes that are read at the beginning, the middle and the end of each file."""


def contents(folder: Path) -> str:
    """Digest a checkpoint's files by name, size and a sample of each; empty where there is no such folder."""
    if not folder.is_dir():
        return ""
    digest = blake2b(digest_size=16)
    for path in sorted(path for path in folder.iterdir() if path.suffix in _READ):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for start in (0, size // 2, max(0, size - _SAMPLED)):
                file.seek(start)
                digest.update(file.read(_SAMPLED))
    return digest.hexdigest()
