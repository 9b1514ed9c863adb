"""Python out of a model's answer: the one place that knows how models dress code.

What is taken, by the dress (a test holds a case of each):

- fenced blocks that name Python, or no language and parse; prose around them is left out;
- of several blocks those that define something new: an alternative to what is defined already, an example of its use
  and its output are left out;
- of a fence that nothing closes, and a text without fences, the first run of lines that parses and defines something,
  so that prose before, between and behind is left out;
- what a script does when it runs (``if __name__ == "__main__":``, tests, prints, reading of input, examples of use
  behind the functions) is left out of :func:`definitions`, which keeps what has to be loaded: imports, functions,
  classes, and the constants that these use;
- an answer to a prompt that ends in a signature may repeat it, change it, or only go on with the body: see
  :func:`completed`.

Nothing is run. Every function is pure and quick: a huge or hostile text gives an empty one.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable

from evolteacher.fences import split_fences

PYTHON_NAMES = frozenset({"", "python", "python3", "py", "py3", "python-repl"})
"""What a fence around Python says; nothing, often."""

MOST_CHARACTERS = 50_000
"""Of an answer; a longer one is not looked at, since an odd text of such length keeps the parser busy."""

DEEPEST = 90
"""Open brackets, one inside another; the parser's own limit is 200, and before it comes slow going."""

DEEPEST_TREE = 100
"""Nodes, one inside another; a deeper tree parses, and then exhausts what copies it or writes it out again."""

LONGEST_INTEGER = 14_000
"""Bits of a whole number; Python refuses to write one of more than 4,300 digits, which some 14,280 bits have."""

_MOST_CUTS = 40
_OPENS = re.compile(r"(?:async +def|def|class|import|from|@)\b|@|[A-Za-z_]\w* *(?::[^=]+)?=[^=]")
_SETTINGS = frozenset({"setrecursionlimit", "seed", "filterwarnings", "simplefilter", "setcontext"})
"""Calls on a module that a program makes before it does anything, so that what it defines works."""

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parse_python(code: str) -> ast.Module | None:
    """Return the tree of Python code; None where it does not parse, or nobody can tell."""
    if _hopeless(code):
        return None
    try:
        tree = _tree(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST_TREE):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
        if any(isinstance(node, ast.Constant) and _is_huge(node.value) for node in level):
            return None
    return None


def _is_huge(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() > LONGEST_INTEGER


def read_code(answer: str) -> str:
    """Return the Python of an answer as it is written there; empty where it holds none.

    Args:
        answer: a model's, with or without fences and prose.
    """
    if _hopeless(answer):
        return ""
    _, blocks = split_fences(answer)
    if not blocks:
        return _bare(answer)
    found = []
    for block in blocks:
        if block.language in PYTHON_NAMES:
            tree = parse_python(block.code)
            code = block.code if tree is not None else _bare(block.code)
            if _is_code(code) or (block.language and tree is not None and tree.body):
                found.append(code)
    return _joined(found)


def definitions(code: str) -> str:
    """Return what has to be loaded of a program, and nothing that it does when it runs; empty where there is nothing.

    Args:
        code: Python that parses; any other gives an empty text.
    """
    tree = parse_python(code)
    if tree is None:
        return ""
    kept = [statement for statement in tree.body if _loads(statement)]
    # A constant is kept where something that is kept reads it; nothing reads an example's result, `total = add(1, 2)`.
    while True:
        read = {
            node.id
            for statement in kept
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        used = [each for each in kept if not isinstance(each, ast.Assign | ast.AnnAssign) or _targets(each) & read]
        if len(used) == len(kept):
            break
        kept = used
    return ast.unparse(ast.Module(kept, [])) if any(isinstance(each, _DEFINITIONS) for each in kept) else ""


def defined(code: str) -> tuple[str, ...]:
    """Return the names of the functions and classes at the top of a program, in its order, each once."""
    tree = parse_python(code)
    return tuple(dict.fromkeys(each.name for each in _top(tree))) if tree is not None else ()


def completed(prompt: str, answer: str, entry_point: str) -> str:
    """Return the program that an answer to a prompt of code makes, for a benchmark's tests to be appended to.

    Args:
        prompt: imports, perhaps helpers, and the signature and docstring of the function to be written.
        answer: the whole function, with or without fences and prose; or only the body that goes on from the prompt.
        entry_point: the function's name.

    Returns:
        A program that defines the function; where the answer does not, one that fails as it should.
    """
    code = read_code(answer)
    if entry_point in defined(code):
        return f"{_preamble(prompt, entry_point, defined(code))}\n{code}"
    if _hopeless(answer):
        return prompt
    _, blocks = split_fences(answer)
    body = blocks[0].code if blocks else answer.strip("\n")
    bodies = (body, textwrap.indent(textwrap.dedent(body), "    "))
    for each in (*bodies, *(_longest(body, prompt) for body in bodies)):
        program = f"{prompt.rstrip()}\n{each}\n"
        tree = parse_python(program)
        if tree is not None and any(each.name == entry_point and _has_body(each) for each in _top(tree)):
            return program
    return f"{prompt.rstrip()}\n{bodies[1]}\n"


def _hopeless(text: str) -> bool:
    """Whether a text is too long, too deep or too odd for the parser."""
    if len(text) > MOST_CHARACTERS or "\0" in text:
        return True
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth = max(0, depth - 1)
    return deepest > DEEPEST


def _tree(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape or `1 is 1` is no fault of syntax
        return ast.parse(code)


def _top(tree: ast.Module) -> Iterable[_Definition]:
    return (each for each in tree.body if isinstance(each, _DEFINITIONS))


def _is_code(text: str) -> bool:
    """Tell code from words that happen to parse: a name, a number, a list of names."""
    tree = parse_python(text)
    return tree is not None and any(
        not isinstance(each, ast.Expr) or isinstance(each.value, ast.Call) for each in tree.body
    )


def _bare(text: str) -> str:
    """Return the first run of lines that parses and defines something; else the longest that is code."""
    if parse_python(text) is not None:
        return text if _is_code(text) else ""
    lines = text.split("\n")
    best, start, cuts = "", 0, 0
    while start < len(lines) and cuts < _MOST_CUTS:
        if not _OPENS.match(lines[start]):
            start += 1
            continue
        run, tried = _run(lines[start:])
        cuts += tried
        if defined(run):
            return run
        if _is_code(run) and len(run) > len(best):
            best = run
        start += max(1, run.count("\n") + 1 if run else 1)
    return best


def _run(lines: list[str]) -> tuple[str, int]:
    """Return the longest run from the first line on that parses, cut where the parser complains, and the cuts tried."""
    end = len(lines)
    for cuts in range(1, _MOST_CUTS):
        code = "\n".join(lines[:end]).rstrip()
        if not code:
            return "", cuts
        try:
            _tree(code)
            return code, cuts
        except SyntaxError as error:
            end = min((error.lineno or 1) - 1, end - 1)
        except (ValueError, RecursionError, MemoryError):
            return "", cuts
    return "", _MOST_CUTS


def _joined(blocks: list[str]) -> str:
    """Join blocks that define something new, and what they need before it; all of them where none defines anything."""
    kept: list[str] = []
    known: set[str] = set()
    for code in blocks:
        names = set(defined(code))
        tree = parse_python(code)
        sets_up = tree is not None and all(
            isinstance(each, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign) for each in tree.body
        )
        if (names and not names & known) or (sets_up and not known):
            kept.append(code)
            known |= names
    return "\n\n".join(kept if known else blocks)


def _loads(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        call = statement.value
        return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _SETTINGS
    if isinstance(statement, ast.Try):  # an import that may fail
        return all(isinstance(each, ast.Import | ast.ImportFrom | ast.Assign) for each in statement.body)
    return isinstance(
        statement, (*_DEFINITIONS, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    ) and not _reads_input(statement)


def _reads_input(statement: ast.stmt) -> bool:
    """Whether an assignment would wait for somebody to type."""
    return isinstance(statement, ast.Assign | ast.AnnAssign) and any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "input"
        for node in ast.walk(statement)
    )


def _targets(statement: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def _preamble(prompt: str, entry_point: str, known: tuple[str, ...]) -> str:
    """Return what the prompt has before the function, but for what the answer defines itself."""
    tree = parse_python(prompt) or parse_python(f"{prompt.rstrip()}\n    pass\n")
    if tree is None:
        return ""
    names = {entry_point, *known}
    kept = [each for each in tree.body if not (isinstance(each, _DEFINITIONS) and each.name in names)]
    return ast.unparse(ast.Module(kept, []))


def _has_body(definition: _Definition) -> bool:
    """Whether there is more than a docstring."""
    rest = definition.body[1:] if ast.get_docstring(definition) is not None else definition.body
    return bool(rest)


def _longest(body: str, prompt: str) -> str:
    """Return as much of a body as parses behind the prompt, so that prose behind it costs nothing."""
    lines = body.split("\n")
    first = prompt.rstrip().count("\n") + 1
    for _ in range(_MOST_CUTS):
        code = "\n".join(lines)
        try:
            _tree(f"{prompt.rstrip()}\n{code}\n")
            return code
        except SyntaxError as error:
            end = min((error.lineno or 1) - first - 1, len(lines) - 1)
        except (ValueError, RecursionError, MemoryError):
            return body
        if end <= 0:
            return body
        lines = lines[:end]
    return body
