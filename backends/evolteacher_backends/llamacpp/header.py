"""Read from a GGUF file's header what sizing needs: trained context and the memory that a token of context takes.

The format is described in ``docs/gguf.md`` of the ggml repository: magic, version, counts, then key-value pairs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_F16_BYTES = 2

_LONGEST = 1 << 20
"""Bytes of a text, or elements of an array, beyond which a header is taken to be broken (the tokenizer's own tables,
which are longer, are not read)."""


class NotGguf(Exception):
    """The file is no GGUF file, or its header is broken."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a model says of itself.

    Attributes:
        context_length: tokens that it was trained to attend to; None where it does not say.
        cache_bytes_per_token: bytes of key-value cache (in half precision) that one token of context takes; an upper
            bound for models with sliding windows; None where the header does not tell.
    """

    context_length: int | None = None
    cache_bytes_per_token: int | None = None


def read_header(path: Path) -> GgufHeader:
    """Read a GGUF file's header, as far as the tokenizer's tables.

    Raises:
        NotGguf: the file does not begin as one does, or ends within its header.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise NotGguf("it does not begin with the letters GGUF")
        try:
            _number(file, "<I")
            _number(file, "<Q")
            values = _values(file, _number(file, "<Q"))
        except (struct.error, UnicodeDecodeError, KeyError, RecursionError) as error:
            raise NotGguf("its header is broken or cut off") from error
    architecture = values.get("general.architecture")
    own = {key.removeprefix(f"{architecture}."): value for key, value in values.items()}
    return GgufHeader(_integer(own, "context_length"), _cache_bytes(own))


def _values(file: IO[bytes], count: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _ in range(count):
        key = _text(file)
        if key.startswith("tokenizer."):  # tables of a hundred thousand strings; what is wanted comes before them
            break
        values[key] = _value(file, _number(file, "<I"))
    return values


def _value(file: IO[bytes], kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        element = _number(file, "<I")
        return [_value(file, element) for _ in range(_short(_number(file, "<Q")))]
    return _number(file, _FORMATS[kind])


def _number(file: IO[bytes], form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: IO[bytes]) -> str:
    size = _short(_number(file, "<Q"))
    found = file.read(size)
    if len(found) != size:
        raise struct.error("cut off")
    return found.decode("utf-8")


def _short(count: int) -> int:
    if count > _LONGEST:
        raise struct.error("too long")
    return count


def _integer(own: dict[str, Any], key: str) -> int | None:
    value = own.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _cache_bytes(own: dict[str, Any]) -> int | None:
    """Layers times key and value heads times their widths, in half precision; llama.cpp's own arithmetic."""
    layers, width = _integer(own, "block_count"), _integer(own, "embedding_length")
    heads = _heads(own, "attention.head_count", layers or 0)
    kept = _heads(own, "attention.head_count_kv", layers or 0) or heads
    if not (layers and width and heads):
        return None
    head = width // max(heads)
    widths = sum(_integer(own, f"attention.{side}_length") or head for side in ("key", "value"))
    return sum(kept) * widths * _F16_BYTES


def _heads(own: dict[str, Any], key: str, layers: int) -> list[int]:
    """Return the heads of each layer; a header may state one number for all."""
    value = own.get(key)
    each: list[Any] = value if isinstance(value, list) else [value] * min(layers, _LONGEST)
    return each if each and all(isinstance(count, int) and count >= 0 for count in each) and any(each) else []
