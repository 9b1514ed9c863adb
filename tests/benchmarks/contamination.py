"""What finds a benchmark's problems in a dataset, and what is accused wrongly.

Hides 60 problems of HumanEval in 1,940 rows of an Alpaca file (CodeAlpaca's own licence forbids to copy it, so its path
is given), ten in each of six ways, and counts which of them each method finds, and how many other rows it accuses. In
the rewordings and translations the answer is the solution with other names, formatted anew, as a model would give it.

    python tests/benchmarks/contamination.py code_alpaca.json --run
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import builtins
import json
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

import evolteacher as et

ROWS, EACH = 2_000, 10
WAYS = ("verbatim", "reformatted", "renamed", "reworded", "translated", "solution only")
REWORDINGS = Path(__file__).with_name("contamination_rewordings.json")


class Rename(ast.NodeTransformer):
    """Gives every name of a program's own another one, and leaves out its docstrings."""

    def __init__(self, tree):
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self.names = {name: f"item_{n}" for n, name in enumerate(sorted(bound - set(dir(builtins))))}

    def visit_Name(self, node):
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node):
        node.arg = self.names.get(node.arg, node.arg)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node):
        node.name = self.names.get(node.name, node.name)
        self.generic_visit(node)
        return node


def bare(problem, rename=False):
    """Return the solution without its docstrings, formatted anew; with other names, too."""
    tree = ast.parse(problem.solution)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
    return ast.unparse(ast.fix_missing_locations(Rename(tree).visit(tree) if rename else tree))


def renamed(problem):
    """Return the prompt and the solution with other names throughout, and all else as it stands."""
    names = Rename(ast.parse(problem.solution)).names
    text = problem.prompt
    for name in sorted(names, key=len, reverse=True):
        if len(name) > 1:
            text = text.replace(name, names[name])
    return text, bare(problem, rename=True)


def hide(problem, way, words):
    """Return the instruction and response in which a problem is hidden."""
    if way == "verbatim":
        return f"Complete the following function.\n\n{problem.prompt}", problem.solution
    if way == "reformatted":
        prompt = (
            problem.prompt.replace("    ", "\t").replace(", ", ",").replace(": ", " : ").replace("\n", "\n\n").upper()
        )
        return f"Please write this.\n{prompt}", bare(problem)
    if way == "renamed":
        return renamed(problem)
    if way == "solution only":
        return "Give an example of a small Python function.", problem.solution.replace(_docstring(problem), "")
    return words[problem.id], f"```python\n{bare(problem, rename=True)}\n```"


def _docstring(problem):
    tree = ast.parse(problem.solution)
    node = next(each for each in tree.body if getattr(each, "name", "") == problem.entry_point)
    told = node.body[0]
    lines = problem.solution.split("\n")[told.lineno - 1 : told.end_lineno]
    return "\n".join(lines) + "\n"


def planted(path, seed=5):
    """Return rows, and the place, way and id of each hidden problem."""
    own = json.loads(Path(path).read_text(encoding="utf-8"))[: ROWS - EACH * len(WAYS)]
    assert len(own) == ROWS - EACH * len(WAYS), (
        f"{path} holds {len(own)} rows, and {ROWS - EACH * len(WAYS)} are needed"
    )
    rows = [(f"{row['instruction']}\n{row.get('input', '')}".strip(), row["output"], None) for row in own]
    problems = {problem.id: problem for problem in et.read_benchmarks(["humaneval"])[0].problems}
    words = json.loads(REWORDINGS.read_text(encoding="utf-8"))
    chance = random.Random(seed)
    free = [name for name in problems if not any(name in of for of in words.values())]
    chance.shuffle(free)
    chosen = {way: list(words[way]) if way in words else [free.pop() for _ in range(EACH)] for way in WAYS}
    for way, names in chosen.items():
        assert len(names) == EACH
        for name in names:
            rows.append((*hide(problems[name], way, words.get(way)), (way, name)))
    chance.shuffle(rows)
    return rows


def wilson(found, of, z=1.96):
    """Return the 95% interval of a share."""
    share, squared = found / of, z * z
    middle = (share + squared / (2 * of)) / (1 + squared / of)
    half = z / (1 + squared / of) * ((share * (1 - share) / of + squared / (4 * of * of)) ** 0.5)
    return max(0.0, middle - half), min(1.0, middle + half)


def count(rows, found):
    """Return how many of each way were found, and the rows that were accused and hide nothing."""
    right, wrong = defaultdict(int), []
    for place, (_, _, hidden) in enumerate(rows):
        if hidden is None and found[place]:
            wrong.append(place)
        elif hidden is not None and hidden[1] in found[place]:
            right[hidden[0]] += 1
    return right, wrong


def by_texts(rows, settings):
    """Return the ids that are found in each row."""
    index = et.ContaminationIndex({"humaneval": et.read_benchmarks(["humaneval"])[0].problems}, settings)
    return [{hit.part.problem for text in row[:2] for hit in index.find(text)} for row in rows]


async def by_tests(rows):
    """Return the ids of the problems that a function of each answer solves."""
    runner = et.BenchmarkRunner({"humaneval": et.read_benchmarks(["humaneval"])[0].problems})
    places, found = iter(range(len(rows))), [set() for _ in rows]

    async def work():
        for place in places:
            found[place] = {each.problem.id for each in await runner.find(rows[place][1])}

    await asyncio.gather(*(work() for _ in range(8)))
    return found


def line(name, rows, found, seconds):
    """Print a line of the table; return who was accused wrongly."""
    right, wrong = count(rows, found)
    total, clean = sum(right.values()), sum(row[2] is None for row in rows)
    low, high = wilson(total, EACH * len(WAYS))
    worst_low, worst = wilson(len(wrong), clean)
    cells = [f"{right[way]}" for way in WAYS]
    cells += [f"{total} ({low:.0%} to {high:.0%})", f"{len(wrong)} ({worst_low:.2%} to {worst:.2%})", f"{seconds:.1f}"]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="an Alpaca file of 1,940 rows or more")
    parser.add_argument("--run", action="store_true", help="run the benchmark's tests, too: minutes")
    parser.add_argument("--show", action="store_true", help="print the rows that the defaults accuse wrongly")
    args = parser.parse_args()
    rows = planted(args.data)
    heads = ["method", *WAYS, "of 60 (95%)", "wrongly (95%)", "seconds"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    made = et.ContaminationSettings
    tried = {
        "exact": made(("exact",)), "squeezed": made(("squeezed",)),
        **{f"ngrams, n={n}, {share:.0%}": made(("ngrams",), n=n, overlap=share) for n in (3, 5, 8, 13)
           for share in (0.3, 0.5, 0.7)},
        **{f"minhash, {share}": made(("minhash",), similarity=share) for share in (0.3, 0.5, 0.7)},
        "the defaults": made(),
    }  # fmt: skip
    for name, settings in tried.items():
        began = time.perf_counter()
        found = by_texts(rows, settings)
        wrong = line(name, rows, found, time.perf_counter() - began)
    accused = {"the defaults": (found, wrong)}
    if args.run:
        began = time.perf_counter()
        ran = asyncio.run(by_tests(rows))
        accused["tests"] = (ran, line("tests", rows, ran, time.perf_counter() - began))
        both = [one | other for one, other in zip(found, ran, strict=True)]
        line("the defaults and tests", rows, both, time.perf_counter() - began)
    if args.show:
        for name, (found, wrong) in accused.items():
            for place in wrong:
                print(f"\n{name}: {sorted(found[place])}\n{rows[place][0]}\n---\n{rows[place][1]}", file=sys.stderr)


if __name__ == "__main__":
    main()
