"""Shapes: what a row of a dataset means, and how a training example is written as one.

Recognised without being told, keys without regard to case, null fields as if they were absent:

=============  =========================================================================================
format         row
=============  =========================================================================================
alpaca         ``instruction``, ``input``, ``output`` (Stanford Alpaca)
evol           ``instruction``, ``output`` (Evol-Teacher)
self-instruct  ``instruction``, ``instances[0].input``, ``instances[0].output`` (Self-Instruct seed tasks)
chat           ``messages`` of ``role`` and ``content`` (OpenAI, TRL)
sharegpt       ``conversations`` of ``from`` and ``value`` (ShareGPT, FastChat)
prompts        a text by itself, or ``prompt``, ``question``, ``task`` or ``text``
columns        whatever columns the caller names
=============  =========================================================================================

The response may be called ``output``, ``response``, ``completion`` or ``answer``; an empty one counts as none.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from evolteacher.errors import SeedError, UsageError, did_you_mean

Format = Literal["auto", "alpaca", "evol", "self-instruct", "chat", "sharegpt", "prompts", "columns"]
"""What a recipe's ``format:`` may say; ``auto`` recognises each row by itself."""

FORMATS: tuple[Format, ...] = get_args(Format)

Shape = Literal["evol", "alpaca", "chat", "sharegpt"]
"""What :func:`to_shape` writes."""

PROMPT_FIELDS = ("prompt", "question", "task", "text")
RESPONSE_FIELDS = ("output", "response", "completion", "answer")
LICENCE_FIELDS = ("licence", "license")
CONVERSATION_FIELDS = ("conversations", "conversation")

_TERMS = re.compile(r"[\w.+-]{1,64}(, ?[\w.+-]{1,64}){0,15}")
"""Names, and not the legal text that some datasets have in a column called so."""

_USERS = frozenset({"user", "human", "prompter"})
_ASSISTANTS = frozenset({"assistant", "gpt", "chatgpt", "bot", "model", "bing", "bard"})

Fields = Mapping[str, Any]
Reader = Callable[[Any], "Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """What a row means.

    Attributes:
        instruction: the task; never blank.
        response: its answer; None where the row has none or a blank one.
        licence: of the row, where it names one.
        terms: under which a model wrote the row, where it names them, as evolteacher's own rows do.
        left_out: messages of a conversation that are neither: system messages, and all turns after the first pair.
    """

    instruction: str
    response: str | None = None
    licence: str = ""
    left_out: int = 0
    terms: str = ""


def reader(format: Format = "auto", *, instruction: str | None = None, response: str | None = None) -> Reader:
    """Return the function that reads a row of this format.

    The function returned takes what a seed reader read (a mapping, a list of messages, or a text), and raises
    SeedError, without file and line, for a row that does not fit: it names the field and what was found there.

    Args:
        format: one of :data:`FORMATS`.
        instruction: the column that holds the instruction; makes ``auto`` mean ``columns``.
        response: the column that holds the response, whatever the format.

    Raises:
        UsageError: there is no such format, or the columns do not go with it.
    """
    if format not in FORMATS:
        raise UsageError(f"no seed format is called '{format}'.{did_you_mean(format, FORMATS)}")
    if instruction is not None:
        if format not in ("auto", "columns"):
            raise UsageError(f"format '{format}' finds the instruction itself: leave `instruction` out, or use columns")
        return _columns(instruction, response)
    if format == "columns":
        raise UsageError("format 'columns' needs the name of the instruction's column: instruction: NAME")
    read = _auto if format == "auto" else _READERS[format]
    return read if response is None else _with_response(read, response)


def to_shape(instruction: str, response: str | None, shape: Shape) -> dict[str, Any]:
    """Return an example as a row of a training format; reading it back gives the same texts.

    Args:
        instruction: the task.
        response: its answer. None leaves the answer's turn out of a conversation, and is an empty output elsewhere.
        shape: which format.
    """
    if shape == "chat":
        turns = [("user", instruction)] if response is None else [("user", instruction), ("assistant", response)]
        return {"messages": [{"role": role, "content": text} for role, text in turns]}
    if shape == "sharegpt":
        turns = [("human", instruction)] if response is None else [("human", instruction), ("gpt", response)]
        return {"conversations": [{"from": role, "value": text} for role, text in turns]}
    if shape == "alpaca":
        return {"instruction": instruction, "input": "", "output": response or ""}
    return {"instruction": instruction, "output": response or ""}


def _auto(row: Any) -> Example:
    if isinstance(row, str):
        return _prompts(row)
    if isinstance(row, list):
        return _conversation(row, "messages", {})
    fields = _fields(row)
    if fields.get("instruction") is not None:
        return _self_instruct(fields) if fields.get("instances") is not None else _alpaca(fields)
    if fields.get("messages") is not None:
        return _chat(fields)
    if any(fields.get(name) is not None for name in CONVERSATION_FIELDS):
        return _sharegpt(fields)
    return _prompts(fields)


def _alpaca(row: Any) -> Example:
    fields = _fields(row)
    return _example(_joined(_required(fields, "instruction"), fields, "input"), _response(fields), fields)


def _evol(row: Any) -> Example:
    fields = _fields(row)
    return _example(_required(fields, "instruction"), _response(fields), fields)


def _self_instruct(row: Any) -> Example:
    fields = _fields(row)
    task, instances = _required(fields, "instruction"), fields.get("instances")
    if not isinstance(instances, list):
        raise SeedError(f"instances: a list is needed, found {_found(instances)}")
    if not instances:
        return _example(task, None, fields)
    if not isinstance(instances[0], Mapping):
        raise SeedError(f"instances[0]: an object is needed, found {_found(instances[0])}")
    first = _fields(instances[0])
    return _example(_joined(task, first, "input", "instances[0]."), _response(first, "instances[0]."), fields)


def _chat(row: Any) -> Example:
    fields = _fields(row)
    return _conversation(fields.get("messages"), "messages", fields)


def _sharegpt(row: Any) -> Example:
    fields = _fields(row)
    name = next((name for name in CONVERSATION_FIELDS if fields.get(name) is not None), CONVERSATION_FIELDS[0])
    return _conversation(fields.get(name), name, fields)


def _prompts(row: Any) -> Example:
    if isinstance(row, str):
        return _example(row, None, {})
    fields = _fields(row)
    name = next((name for name in PROMPT_FIELDS if fields.get(name) is not None), None)
    if name is None:
        empty = next((name for name in ("instruction", *PROMPT_FIELDS) if name in fields), None)
        if empty is not None:
            raise SeedError(f"{empty}: a text is needed, found null")
        raise SeedError(
            f"no field is known to hold the instruction (there is: {_names(fields)}). "
            "Name it with `instruction`, and the answer's with `response`"
        )
    return _example(_text(fields[name], name), _response(fields), fields)


_READERS: dict[str, Reader] = {
    "alpaca": _alpaca,
    "evol": _evol,
    "self-instruct": _self_instruct,
    "chat": _chat,
    "sharegpt": _sharegpt,
    "prompts": _prompts,
}


def _columns(instruction: str, response: str | None) -> Reader:
    def read(row: Any) -> Example:
        fields = _fields(row)
        answer = _response(fields) if response is None else _text(_column(row, fields, response), response)
        return _example(_text(_column(row, fields, instruction), instruction), answer, fields)

    return read


def _with_response(read: Reader, response: str) -> Reader:
    def read_both(row: Any) -> Example:
        example, fields = read(row), _fields(row)
        return _example(
            example.instruction, _text(_column(row, fields, response), response), fields, left_out=example.left_out
        )

    return read_both


def _column(row: Any, fields: Fields, name: str) -> Any:
    if name in row:
        return row[name]
    if name.lower() not in fields:
        raise SeedError(f"there is no column '{name}' in this row.{did_you_mean(name.lower(), fields)}")
    return fields[name.lower()]


def _conversation(turns: Any, name: str, fields: Fields) -> Example:
    """Take the first user's message and, where an assistant's follows at once, that answer."""
    if not isinstance(turns, list):
        raise SeedError(f"{name}: a list of messages is needed, found {_found(turns)}")
    speakers = [_speaker(turn, f"{name}[{index}]") for index, turn in enumerate(turns)]
    first = next((index for index, speaker in enumerate(speakers) if speaker in _USERS), None)
    if first is None:
        said = ", ".join(sorted(set(speakers))) or "none at all"
        raise SeedError(f"{name}: no message is from the user (they are from: {said})")
    answered = first + 1 < len(turns) and speakers[first + 1] in _ASSISTANTS
    task = _content(turns[first], f"{name}[{first}]")
    answer = _content(turns[first + 1], f"{name}[{first + 1}]") if answered else None
    return _example(task, answer, fields, left_out=len(turns) - 1 - answered)


def _speaker(turn: Any, place: str) -> str:
    if not isinstance(turn, Mapping):
        raise SeedError(f"{place}: a message is needed, found {_found(turn)}")
    fields = _fields(turn)
    speaker = fields.get("role", fields.get("from"))
    if not isinstance(speaker, str):
        raise SeedError(f"{place}: a message has a `role` (or `from`); found {_found(speaker)}")
    return speaker.strip().lower()


def _content(turn: Any, place: str) -> str:
    fields = _fields(turn)
    name = "content" if "content" in fields else "value"
    content = fields.get(name)
    if isinstance(content, list):
        return "".join(_part(part, f"{place}.{name}[{index}]") for index, part in enumerate(content))
    return _text(content, f"{place}.{name}")


def _part(part: Any, place: str) -> str:
    if isinstance(part, Mapping) and part.get("type", "text") == "text":
        return _text(part.get("text"), f"{place}.text")
    raise SeedError(f"{place}: only parts of type text can be read, found {_found(part)}")


def _fields(row: Any) -> Fields:
    """Return the row with lower-case keys; of keys that differ in case alone, the lower-case one wins."""
    if not isinstance(row, Mapping):
        raise SeedError(f"an object with named fields is needed, found {_found(row)}")
    fields = {str(key).lower(): value for key, value in row.items()}
    if len(fields) < len(row):
        fields.update((key, value) for key, value in row.items() if key in fields)
    return fields


def _example(task: str, answer: str | None, fields: Fields, *, left_out: int = 0) -> Example:
    if not task or task.isspace():
        raise SeedError("the instruction is empty")
    licences = (fields.get(name) for name in LICENCE_FIELDS)
    licence = next((text.strip() for text in licences if isinstance(text, str)), "")
    terms = fields.get("terms")
    named = terms if isinstance(terms, str) and _TERMS.fullmatch(terms) else ""
    return Example(task, answer if answer and not answer.isspace() else None, licence, left_out, named)


def _required(fields: Fields, name: str) -> str:
    if fields.get(name) is None:
        raise SeedError(f"there is no `{name}` (there is: {_names(fields)})")
    return _text(fields[name], name)


def _joined(task: str, fields: Fields, name: str, place: str = "") -> str:
    """Append the row's input on a new line, as convert_alpaca_to_evol of Evol-Teacher does."""
    given = _text(fields.get(name), place + name)
    return f"{task}\n{given}" if given and not given.isspace() else task


def _response(fields: Fields, place: str = "") -> str | None:
    texts = (_text(fields[name], place + name) for name in RESPONSE_FIELDS if fields.get(name) is not None)
    return next((text for text in texts if text and not text.isspace()), None)


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise SeedError(f"{name}: a text is needed, found {_found(value)}")


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return f"an object with {_names(value)}"
    kinds = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list"}
    return f"{kinds.get(type(value), type(value).__name__)}: {reprlib.repr(value)}"


def _names(fields: Mapping[Any, Any]) -> str:
    names = [reprlib.repr(str(name))[1:-1] for name in list(fields)[:12]]
    return ", ".join(names) + (", …" if len(fields) > 12 else "") or "no field at all"
