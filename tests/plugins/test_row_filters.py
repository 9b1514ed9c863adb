"""The row filters beyond the papers' rules: what each must pass, what it must reject, and what is thrown at it."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import UsageError
from evolteacher_plugins.fenced import quoted
from evolteacher_plugins.language import CODES

CATALOG = Catalog.load()
NEW = {
    "answer-leaked": {}, "code-parses": {}, "forbidden": {"words": ["eval", "rm -rf"], "patterns": ["(a+)+$"]},
    "language": {}, "length": {"max_words": 50}, "licence-header": {}, "pii": {}, "refusal": {}, "secrets": {},
    "too-similar": {},
}  # fmt: skip
SORTS = "def sort(items):\n    result = list(items)\n    result.sort()\n    return result"
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"


def make(name: str, **options) -> et.Filter:
    return CATALOG.find(et.Filter, name)(**options)


def evolution(child: str, parent: str = "Sum a list.") -> et.Evolution:
    return et.Evolution(et.Instruction(parent), et.Instruction(child), "made-up", 1)


def on(name: str, text: str, **options) -> str | None:
    rule = make(name, **(options or NEW[name]))
    if isinstance(rule, et.TextFilter):
        return rule.reject(text)
    if isinstance(rule, et.InstructionFilter):
        return rule.reject(evolution(text))
    return rule.reject(et.Record(evolution(text), text))


def check(name: str, passing: list[str], rejected: list[str], counts: tuple[int, int], **options) -> None:
    """Assert the verdicts, all of them shown at once where one is wrong."""
    assert (len(passing), len(rejected)) == counts
    assert {text: why for text in passing if (why := on(name, text, **options))} == {}
    assert [text for text in rejected if on(name, text, **options) is None] == []


def test_language():
    english = "Write a function that sorts a list of numbers and returns the result."
    passing = [
        english, "", "Ordena la lista.", "```\nEscribe una función que ordene una lista de números enteros\n```",
        "x = 1\nfor zahl in zahlen: drucke(zahl)\nwenn = 3; dann = 4; sonst = 5; und = 6; oder = 7",
        "1 2 3 4 5 6 7 8 9",
        "SELECT name FROM users WHERE age > 3;", "  for num in arr:\n  return min_num, max_num, avg, total, zero",
    ]  # fmt: skip
    rejected = [
        "Schreibe eine Funktion, die prüft, ob eine Zahl eine Primzahl ist oder nicht.",
        "Écris une fonction qui renvoie la somme des éléments d'une liste donnée.",
        "Напишите функцию, которая сортирует список чисел по возрастанию и убыванию.",
        "整数のリストを並べ替えて、重複を取り除く関数を書いてください。",
        "编写一个函数 对整数列表进行排序并返回结果 同时删除重复的元素。",
        "Escribe una función en Python que ordene una lista de números enteros de menor a mayor.",
    ]
    check("language", passing, rejected, (8, 6))
    assert on("language", rejected[0], wanted=["en", "de"]) is None
    assert on("language", english, wanted=["de"]).startswith("its language is 'en' and not de (")
    with pytest.raises(ValidationError, match="'english' is no ISO 639 code"):
        make("language", wanted=["english"])


def test_the_language_codes_are_the_models():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    assert set(LanguageIdentifier.from_model_file(MODEL_FILE).labels) - {"zxx"} == CODES


def test_length(tmp_path):
    cases = [
        ({"max_words": 2}, "a b c", "it has 3 words, more than 2"), ({"max_words": 3}, "a b c", None),
        ({"min_words": 2}, "a", "it has 1 word, fewer than 2"), ({"min_characters": 2}, "é", "it has 1 character"),
        ({"max_characters": 1}, "éa", "it has 2 characters"), ({"min_characters": 0}, "", None),
    ]  # fmt: skip
    for options, text, reason in cases:
        found = on("length", text, **options)
        assert found is None if reason is None else found.startswith(reason)
    assert len(cases) == 6
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Punctuation()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name in (str(tmp_path), str(tmp_path / "tokenizer.json")):
        assert on("length", "a.a.a", max_tokens=5, tokenizer=name) is None
        assert on("length", "a.a.a", max_tokens=4, tokenizer=name) == "it has 5 tokens, more than 4"
    with pytest.raises(UsageError, match=r"the tokenizer 'tiktoken:none' cannot be loaded .*tiktoken:ENCODING"):
        on("length", "a", max_tokens=4, tokenizer="tiktoken:none")


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "give a bound"), ({"min_words": 3, "max_words": 2}, "nothing could pass"), ({"max_tokens": 3}, "name one")],
)
def test_length_refuses_bounds_that_make_no_sense(options, message):
    with pytest.raises(ValidationError, match=message):
        make("length", **options)


def test_answer_leaked():
    def leaked(task: str, answer: str) -> str | None:
        return make("answer-leaked").reject(et.Record(evolution(task), answer))

    longer = SORTS + "\n\ndef both(items):\n    return sort(items), sort(items)[::-1]"
    buggy = SORTS.replace("sort()", "srt()")
    rejected = [
        (f"Write a function that sorts.\n{SORTS}", SORTS),
        (f"Write a function that sorts.\n```python\n{SORTS}\n```", f"Here it is:\n```python\n{SORTS}\n```\nIt sorts."),
        (f"Fix this.\n{SORTS}", SORTS),
        (f"Write what sorts both ways. Solution: {longer}", longer.replace("::-1", "::2")),
    ]
    passing = [
        (f"Fix the bug.\n{buggy}", SORTS),
        (f"Add a docstring to this function.\n{SORTS}", SORTS.replace(":\n", ':\n    """Sort."""\n', 1)),
        ("Write a function that sorts.", SORTS),
        (f"What does this do?\n{SORTS}", "It copies the items, sorts the copy in place and returns it. " * 3),
        ("Print 'hello world'.", "print('hello world')"),
        (f"Refactor.\n{longer}", longer.replace("result", "copy")),
    ]
    assert [leaked(*case) is None for case in rejected + passing] == [False] * 4 + [True] * 6
    assert "holds the whole answer, 19 tokens" in make("answer-leaked", tokens=9).reject(
        et.Record(evolution(SORTS), SORTS.replace("    ", " "))
    )
    exactly = [make("answer-leaked", tokens=tokens).reject(et.Record(evolution(SORTS), SORTS)) for tokens in (19, 20)]
    assert [reason is None for reason in exactly] == [False, True]


def test_refusal():
    rejected = [
        "I cannot help with that.", "I'm sorry, but I can't provide the code.",
        "As an AI language model, I have no eyes.",
        "I am unable to run code.", "Unfortunately, I can not access files.", "Sure. As an AI assistant, I guess: 3.",
        "I\u2019m just an AI, so no.", "I must decline.", "Could you please provide the list?",
        "I don't have access to the internet.", "We cannot complete this.", "**I cannot assist** with it.",
    ]  # fmt: skip
    passing = [
        "```python\nprint('As an AI language model, I cannot help')\n```", 'print("As an AI, I cannot")',
        "The function cannot provide a result for an empty list.", "As an AI engineer, she writes Python.",
        "I would use a set. I cannot see why a list would be faster.", "We can write this with a loop.",
        "An AI is a program.", "Use `I cannot help` as the message.", "",
    ]  # fmt: skip
    check("refusal", passing, rejected, (9, 12))
    assert on("refusal", "Je  ne peux pas aider.", phrases=["je ne peux pas"]).startswith(
        "it opens with a refusal: 'Je"
    )


PARENT = "Write a Python function that returns the sum of all even numbers in a list."


def test_too_similar():
    def alike(child: str, parent: str = PARENT, **options) -> str | None:
        return make("too-similar", **options).reject(evolution(child, parent))

    rejected = [
        PARENT, PARENT.upper() + "!", PARENT.replace("sum", "product"), PARENT.replace("even", "odd"),
        PARENT + " Please make sure that your code works correctly.", PARENT + "\nPlease provide a clear explanation.",
        "Please write a Python function that returns the sum of all even numbers in a given list.",
        "Write a Python function that returns the sum of numbers in a list.", "Thank you!",
    ]  # fmt: skip
    passing = [
        PARENT + " Use neither a loop nor the built-in sum.", PARENT + " It must run in O(n) time and O(1) space.",
        "Write a generator that yields prime numbers below a bound.",
        PARENT[:-1] + ", ignoring those that repeat twice.",
        PARENT + " Please raise a ValueError where an item is no integer.",
        PARENT[:-1] + " using bitwise operations.",
    ]  # fmt: skip
    assert [alike(child) is None for child in rejected + passing] == [False] * 9 + [True] * 6
    assert alike(rejected[2]) == ("its likeness to its parent is 0.93, 0.75 or more, and only 1 of its 15 words is new")
    assert alike(rejected[2], ratio=0.95) is None and alike(passing[0], added=20, ratio=0.5) is not None
    assert make("too-similar").allowed_on == ("instruction",)


def fence(language: str, code: str) -> str:
    return f"Here:\n```{language}\n{code}\n```\nDone."


def test_code_parses():
    rejected = [
        fence("python", "def f(:\n    pass"), fence("py", "print 'a'"),
        fence("", "def f():\nreturn 1"), "def f(:\n    pass",
        fence("js", "function f( {"), fence("java", "class A { int f( }"), fence("c", "int main( { return 0; }"),
        fence("c++", "int main() { std::cout << ; }"), fence("c#", "class A { void F( }"), fence("go", "func f( {"),
        fence("rust", "fn f( {"), fence("json", '{"a": }'), fence("css", "a { color: "),
        fence("ruby", "def f(\n  1\nend"),
        fence("php", "<?php function f( { ?>"), fence("ts", "let a: = 1;"), fence("tsx", "const a = <b>x</b"),
        fence("python", "a = 1\0"), "import os\nprint(os.name) // prints it",
    ]  # fmt: skip
    passing = [
        fence("python", SORTS), SORTS, "Not code (at all: it seems", fence("text", "def f(:"), fence("sql", "SELEC *"),
        fence("python", ">>> f(1)\n2 is the answer\n>>> for a in b:\n...     f(a)\n"), fence("python", "f(a, ..., b"),
        fence("python", "!pip install x\n%timeit f()\nf()"), fence("python", "    return 1"),
        fence("python", "def f(a):"),
        fence("python", "x = '\\d' if 1 is 1 else 2"), fence("python", "else:\n    f()"),
        fence("java", "int f() { return 1; }"),
        fence("css", "color: red;"), fence("json", '"a": 1'), fence("php", "echo $a;"), fence("js", "{a: 1, b: 2}"),
        fence("c", "#include <stdio.h> \nint main() { return 0; }"), fence("go", "x := 1"), fence("rust", "let a = 1;"),
        SORTS + "\n\nOutput: 1 2 3", SORTS + "\n\nHello world", "In Python, a list can be sorted:\nsorted(a",
        fence("python", "if a:\n    # do something"), fence("html", "<p"), "def f(a)\n  a + 1\nend",
    ]  # fmt: skip
    check("code-parses", passing, rejected, (26, 19))
    assert on("code-parses", rejected[1]) == (
        "its python does not parse: Missing parentheses in call to 'print'. Did you mean print(...)?, line 3: "
        "'print 'a''"
    )
    assert on("code-parses", "a\n\n" + rejected[4]).startswith("its javascript does not parse: ")
    assert on("code-parses", rejected[0], languages=["go"]) is on("code-parses", rejected[3], bare=False) is None
    assert on("code-parses", rejected[0], characters=5) is None


@pytest.mark.parametrize(
    "code",
    ["(" * 9000, "-" * 9900 + "1", "a" + ".b" * 4000, "a" + "()" * 4900, "1+" * 4900 + "1", "f(**{a:" * 1000, "{" * 85,
     "lambda:" * 1000 + "1", "not " * 2000 + "1", "a if b else " * 800 + "c", "with (a as b, " * 80, "9" * 9000],
)  # fmt: skip
def test_hostile_python_neither_crashes_nor_warns(code):
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on("code-parses", fence("python", code))
    assert time.process_time() - began < 3


def test_forbidden():
    passing = ["evaluate(x)", "medieval", "rm -r", "", "b" * 100, "a" * 50 + "b"]
    rejected = ["eval(x)", "EVAL", "so rm  -rf /", "rm\n-rf", "baa"]
    check("forbidden", passing, rejected, (6, 5), **NEW["forbidden"])
    assert on("forbidden", "Call EVAL.", words=["eval"]) == "it holds the forbidden word 'EVAL'"
    assert on("forbidden", "drop  table", patterns=[r"drop\s+table"]).endswith("matches 'drop table'")


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "give words or patterns"), ({"words": [" "]}, "forbid every text"), ({"patterns": ["a*"]}, "every text"),
     ({"patterns": ["(?=a)"]}, "no lookaround"), ({"patterns": ["["]}, "no pattern that RE2 takes")],
)  # fmt: skip
def test_forbidden_refuses_what_forbids_all_or_is_no_pattern(options, message):
    with pytest.raises(ValidationError, match=message):
        make("forbidden", **options)


def test_pii():
    rejected = [
        "Write to a.weber@posteo.de", "Call +49 30 901820.", "Call (212) 664-7665.", "604-457-4895",
        "at 91.198.174.192",
        "Card 5398 2287 0769 1826", "IBAN DE44 5001 0517 5407 3249 31", "SSN 536-90-4399",
    ]  # fmt: skip
    passing = [
        "user@example.com, a.b@example.org, john.doe@gmail.com", "127.0.0.1 192.168.1.1 10.0.0.1 8.8.8.8", "555-1234",
        "(212) 555-0199", "version 91.10.11.12", "4111 1111 1111 1111", "GB82WEST12345698765432", "123-45-6789",
        "2023-01-15 12:00", "10 20 30 40 50 60", "1234567890", "@decorator\ndef f(): ...", "a@b", "3.14159265358979",
        "4 8 12 16 20 24 28 32 36 40",
    ]  # fmt: skip
    check("pii", passing, rejected, (15, 8))
    assert on("pii", "a\n" + rejected[0]) == "it holds an e-mail address, on line 2"
    for text, entry in zip(rejected[:2], ["posteo.de", "+4930901820"], strict=True):
        assert on("pii", text, allow=[entry]) is None
    assert on("pii", rejected[2], region=None) is on("pii", rejected[0], kinds=["ip"]) is None


def test_secrets_never_repeats_one():
    rejected = [
        f"key = '{KEY}'", "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a", "postgres://admin:hunter2horse@db.acme.io/x",
        "xoxb-263594206564-2343594206574-" + "FGqddMF8t08v8N7Oq4i57vs1", "-----BEGIN RSA PRIVATE KEY-----\n" + KEY * 3,
        " " * 1_990 + KEY,
    ]  # fmt: skip
    passing = [
        "AKIAIOSFODNN7EXAMPLE", "postgres://user:password@localhost/db", "sk-" + "x" * 40, 'password = "secret"',
        "if '-----BEGIN PRIVATE KEY-----' in text:", "https://example.com/a:b", "ghp_" + "x" * 36, "",
    ]  # fmt: skip
    check("secrets", passing, rejected, (8, 6))
    assert on("secrets", "\n" + rejected[0]) == "it holds a credential (AWS Access Key) of 20 characters, on line 2"
    reasons = [on("secrets", text) for text in rejected]
    assert all("hunter2" not in why and KEY[4:8] not in why and "16C7" not in why for why in reasons)
    assert on("secrets", rejected[0], allow=["QYLPMN"]) is None


def test_licence_header():
    rejected = [
        "# SPDX-License-Identifier: MIT", "// Copyright (c) 2014 A. Person", "/*\n * Copyright 2009 Acme Inc.\n */",
        "Licensed under the Apache License, Version 2.0", "# GNU General Public License", "(c) 2012 Somebody",
        "Permission is hereby granted, free of charge, to any person", "# SPDX-License-Identifier: GPL-3.0 AND MIT",
    ]  # fmt: skip
    passing = [
        "Add a copyright notice to each file.", "<p>Copyright (c) 2020 Acme</p>", "Which licence suits me?",
        "(c) a third",
        "<footer>\n&copy; 2021 Acme\n</footer>", "",
    ]  # fmt: skip
    check("licence-header", passing, rejected, (6, 8))
    both = "# SPDX-License-Identifier: GPL-3.0-only {} MIT\n# Copyright (c) 2020 A"
    assert on("licence-header", both.format("OR"), allow=["mit"]) is None
    assert on("licence-header", both.format("AND"), allow=["MIT"]) is not None
    assert on("licence-header", both.format("AND"), allow=["MIT", "GPL"]) is None
    assert on("licence-header", rejected[1], allow=["copyright"]) is None


HUGE = [
    piece * (200_000 // len(piece))
    for piece in (
        "a", "a ", "(", "`", "```\n", "```python\n", "\0", " ", "\t", "\n", "1", "1-", "+1 ", "a@b.", "eyJ.", "://a:b",
        "\u202e", "é", "Copyright ", "As an AI", "I'm sorry ", "sorry, ", "x = 1\n", "Please. ", "漢", "4111 ",
        "GB82 ", "'",
    )
]  # fmt: skip


@pytest.mark.parametrize("name", NEW)
def test_huge_texts_take_time_in_proportion(name):
    rule = make(name, **NEW[name])
    on(name, "Warm up: the model is loaded once, and other modules are imported.")
    for text in HUGE:
        subject = text if isinstance(rule, et.TextFilter) else evolution(text, text[::-1])
        began = time.process_time()
        rule.reject(et.Record(subject, text[1:]) if isinstance(rule, et.ResponseFilter) else subject)
        assert time.process_time() - began < 4, text[:20]
    assert len(HUGE) == 28


texts = st.one_of(st.text(max_size=200), st.text(alphabet="`~\n >.:$#@ab01-'\"()[]{}\0\u202e", max_size=120)).map(
    lambda text: et.Instruction(text.encode("utf-8", "replace").decode()).text
)


@settings(max_examples=300, deadline=None)
@given(texts, st.sampled_from(list(NEW)))
def test_each_gives_the_same_one_line_reason_or_none_for_any_text(text, name):
    rule = make(name, **NEW[name])
    before, reason = rule.options(), on(name, text)
    assert reason is None or (reason and "\n" not in reason and "\u202e" not in reason and len(reason) < 300)
    assert reason == on(name, text) and rule.options() == before


def test_a_fence_is_closed_by_its_own_kind_alone():
    prose, blocks = et.split_fences("a\n~~~~ Python x\n```\n~~~\n  b\n~~~~\nc\n```\nd")
    assert prose == "a\nc"
    assert [(block.language, block.code, block.line) for block in blocks] == [
        ("python", "```\n~~~\n  b", 3),
        ("", "d", 9),
    ]
    assert quoted("a\n\u202e" + "b" * 99) == "'a \ufffd" + "b" * 56 + "…'"


MODULES = {
    "language": "py3langid", "forbidden": "re2", "pii": "phonenumbers", "secrets": "detect_secrets",
    "code-parses": "tree_sitter", "length": "tokenizers",
}  # fmt: skip


@pytest.mark.parametrize("asked", ["require", "reject"])
@pytest.mark.parametrize("name", MODULES)
def test_what_is_not_installed_is_named_with_its_extra(name, asked):
    texts = {"pii": "+49 30 901820", "code-parses": fence("js", "a"), "forbidden": "b"}
    text = texts.get(name, "Write a function that sorts a list of numbers, please.")
    options = {"length": {"max_tokens": 3, "tokenizer": "x"}}.get(name, NEW[name])
    call = "require()" if asked == "require" else f"reject({text!r})"
    program = f"""
import sys
sys.modules[{MODULES[name]!r}] = None
import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import MissingExtra
try:
    found = Catalog.load().find(et.Filter, {name!r})(**{options!r})
    found.{call}
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("needs the extra 'filters': pip install 'evolteacher[filters]'\n"), done.stderr
