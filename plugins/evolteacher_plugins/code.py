"""Code that is none: what a response calls code must parse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import ClassVar, Literal, get_args

from pydantic import Field

import evolteacher as et
from evolteacher.errors import MissingExtra
from evolteacher_plugins.fenced import quoted
from evolteacher_plugins.parsing import LANGUAGES, fault_of, modules_of

Code = Literal[
    "python", "javascript", "typescript", "tsx", "java", "c", "cpp", "csharp", "go", "rust", "css", "json", "ruby",
    "php",
]  # fmt: skip

_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (language, re.compile(pattern, re.MULTILINE))
    for language, pattern in (
        ("", r"\A\s*<(?!\?)|^[ \t]*(?:SELECT|INSERT|UPDATE|DELETE|CREATE TABLE|ALTER)\b|^@@ |^--- "),
        ("", r"^[ \t]*(?:Module|Sub|Dim|End Sub|Imports) ?\b|^import (?:UIKit|Foundation|SwiftUI)\b|\binout\b"),
        ("php", r"<\?php"),
        ("cpp", r"^[ \t]*#include\s*<(?:iostream|vector|string|map|algorithm|bits/\S+)>|\bstd::|using namespace \w+;"),
        ("c", r"^[ \t]*#include\s*[<\"]\w+\.h[>\"]"),
        ("csharp", r"^[ \t]*using System\b|\bConsole\.Write|\bstatic void Main\b"),
        ("java", r"\bSystem\.out\.print|\bpublic static void main\b|^[ \t]*import javax?\."),
        ("go", r"^package \w+\s*$|\bfmt\.Print"),
        ("rust", r"\bfn \w+\(.*\{\s*$|\blet mut \w|\bprintln!\("),
        ("", r"-> [\w\[\]?]+ \{"
             r"|: ?\[?(?:Int|String|Double|Bool)\b|\bfor \w+ in .*\{|\$[A-Za-z_]\w* *[=;,)]|^[ \t]*foreach\b"),
        ("", r"^[ \t]*(?:public|private|protected|internal|static|final) |^[ \t]*(?:interface|type|enum) \w+"),
        ("", r":\s*(?:string|number|boolean)\b|^[ \t]*(?:import|export) .*['\"{]"
             r"|^(?:var|let) \w+ = (?:from|\[?\w+\(\w+:)"),
        ("javascript", r"^[ \t]*(?:async )?function\b.*\{\s*$|^[ \t]*const \w+ = |\bconsole\.log\("
                       r"|\bdocument\.\w+\("),
        ("", r"^[ \t]*end\s*$|;\s*$|^[ \t]*(?:def|class|if|for|while)\b.*(?:\{|\bdo(?: \|[^|]*\|)?|\bthen)\s*$"
             r"|^[ \t]*(?:let|val|var|func) "),
        ("python", r"^(?:async )?def \w+\s*\(|^class \w+.*:\s*$|^from [\w.]+ import "
                   r"|^import \w+(?:\.\w+)*(?: as \w+)?\s*$"
                   r"|^(?:for|while|if|with)\b.*:\s*(?:#.*)?$|^print\s*\("),
    )
)  # fmt: skip
"""What gives a language away, tried in order; an empty name is a language that is not checked."""

_PROSE = re.compile(
    r"^(?![ \t]*(?:#|//|/?\*|--|\"\"\"|'''))[ \t]*(?:[A-Z][\w']*[,:]?(?: [\w'\"`(.-]+\)?,?){3,}"
    r"|(?:[a-z']+)(?:,? [\w'\"-]+){3,}[.!?]\s*$)",
    re.MULTILINE,
)
"""A line that begins as a sentence does, or is one."""

_OUTPUT = re.compile(
    r"^\W*(?:(?:sample|example|expected|the) )?(?:output|result|input|usage)s?(?: \w+)?\s*(?::(?!=).*)?$", re.IGNORECASE
)
_CODE_SIGNS = re.compile(r"[=(){};]|:\s*$")


class CodeParses(et.TextFilter, name="code-parses"):
    """Reject a text whose code does not parse.

    A rule of our own: code that is cut off, mixed with prose or written for no language at all teaches a model to write
    such. Checked are fenced blocks, in the language that the fence names or that the code shows without doubt; and a
    text without fences that is code, up to where what it prints begins. Python is parsed by Python's own parser (never
    run), other languages by tree-sitter's grammars, which come inside wheels with the extra ``filters``. Fragments pass
    (a method without its class, the pairs of an object), so do sketches with ``...``, sessions of which the input
    parses, and whatever the language of is not known. Python 2 does not parse. HTML, SQL and shell are not checked: the
    first is never wrong for a parser, the second differs from one database to the next, and the grammar of the third
    has gaps.
    """

    default_on: ClassVar[tuple[et.Place, ...]] = ("response",)

    languages: tuple[Code, ...] = Field(get_args(Code), min_length=1, description="The languages that are checked.")
    bare: bool = Field(True, description="Whether a text without any fence is checked where it is code throughout.")
    characters: int = Field(
        10_000, ge=1, description="Code beyond this many characters of a text is not checked: it takes too long."
    )

    def require(self) -> None:
        """Look for the grammars of its languages; Python needs none."""
        for language in self.languages:
            what = f"filter 'code-parses', for {language} (only languages: [python] does without),"
            MissingExtra.unless(modules_of(language), what, "filters")

    def reject(self, text: str) -> str | None:
        """Parse each block, as far as ``characters`` go.

        Raises:
            MissingExtra: a grammar is needed and not installed.
        """
        _, blocks = et.split_fences(text)
        if not blocks:
            return self._reject_bare(text)
        left = self.characters
        for block in blocks:
            left -= len(block.code)
            if left < 0:
                return None
            if reason := self._reject_block(block):
                return reason
        return None

    def _reject_bare(self, text: str) -> str | None:
        if not self.bare or len(text) > self.characters or _PROSE.search(text):
            return None
        code = "\n".join(takewhile(lambda line: not _OUTPUT.match(line), text.split("\n")))
        reason = self._reject_block(et.Block("", code, 1))
        # A last paragraph without a sign of code is what the program prints.
        body, _, end = code.rstrip().rpartition("\n\n")
        if reason and body and not _CODE_SIGNS.search(end):
            return self._reject_block(et.Block("", body, 1))
        return reason

    def _reject_block(self, block: et.Block) -> str | None:
        language = language_of(block)
        if language not in self.languages:
            return None
        fault = fault_of(language, block.code)
        if fault is None:
            return None
        lines = block.code.split("\n")
        line = lines[min(fault.line, len(lines)) - 1]
        return f"its {language} does not parse: {fault.what}, line {block.line + fault.line - 1}: {quoted(line)}"


def language_of(block: et.Block) -> str:
    """Return the language that a block's fence names, or that its code shows; nothing where it is none that we know."""
    return LANGUAGES.get(block.language, "") if block.language else _guess(block.code)


def language_in(text: str) -> str:
    """Return the programming language of a text: of its first block of a known one, or that bare code shows."""
    _, blocks = et.split_fences(text)
    found = map(language_of, blocks) if blocks else ["" if _PROSE.search(text) else _guess(text)]
    return next(filter(None, found), "")


def _guess(code: str) -> str:
    """Return the language that code shows without doubt; nothing where it shows none."""
    return next((language for language, pattern in _SIGNS if pattern.search(code)), "")


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [CodeParses]
