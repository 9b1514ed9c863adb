"""What a row means: each shape, recognised and settable; each kind of wrong row; there and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolteacher import shapes
from evolteacher.errors import SeedError, UsageError
from evolteacher.shapes import Example

CONVERSATION = [
    {"from": "system", "value": "You are terse."},
    {"from": "human", "value": "add two numbers"},
    {"from": "gpt", "value": "a + b"},
    {"from": "human", "value": "and three?"},
]
MESSAGES = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "add two numbers"},
    {"role": "assistant", "content": "a + b"},
]

# format that it belongs to, row, what it means
ROWS = [
    ("alpaca", {"instruction": "sort", "input": "3 1 2", "output": "1 2 3"}, Example("sort\n3 1 2", "1 2 3")),
    ("alpaca", {"instruction": "sort", "input": "", "output": "1 2 3"}, Example("sort", "1 2 3")),
    ("alpaca", {"instruction": "sort", "input": " \n", "output": "1 2 3"}, Example("sort", "1 2 3")),
    ("alpaca", {"instruction": "sort", "input": None, "output": "x", "text": "no"}, Example("sort", "x")),
    ("alpaca", {"Instruction": "sort", "INPUT": "3 1", "Output": "1 3"}, Example("sort\n3 1", "1 3")),
    ("evol", {"instruction": "sort", "output": "1 2 3"}, Example("sort", "1 2 3")),
    ("evol", {"instruction": "sort", "response": "1 2 3"}, Example("sort", "1 2 3")),
    ("evol", {"instruction": "sort", "output": "", "answer": "1 2 3"}, Example("sort", "1 2 3")),
    ("evol", {"instruction": "sort", "output": " \n\t"}, Example("sort", None)),
    ("evol", {"instruction": "sort", "output": None}, Example("sort", None)),
    ("evol", {"instruction": " keep my space\r\n", "output": "\n"}, Example(" keep my space\r\n", None)),
    ("evol", {"instruction": "sort", "license": " MIT "}, Example("sort", None, "MIT")),
    ("evol", {"instruction": "sort", "Licence": "CC0"}, Example("sort", None, "CC0")),
    ("evol", {"instruction": "sort", "license": ["MIT"]}, Example("sort", None, "")),
    ("evol", {"instruction": "{{ x }} {0} %s", "output": "{% y %}"}, Example("{{ x }} {0} %s", "{% y %}")),
    (
        "self-instruct",
        {"id": "seed_1", "instruction": "sort", "instances": [{"input": "2 1", "output": "1 2"}, {"output": "no"}]},
        Example("sort\n2 1", "1 2"),
    ),
    ("self-instruct", {"instruction": "sort", "instances": [{"Input": "", "Output": "1"}]}, Example("sort", "1")),
    ("self-instruct", {"instruction": "sort", "instances": []}, Example("sort", None)),
    ("chat", {"messages": MESSAGES}, Example("add two numbers", "a + b", left_out=1)),
    ("chat", {"prompt": "not me", "messages": MESSAGES[1:]}, Example("add two numbers", "a + b")),
    ("chat", {"messages": MESSAGES[1:2]}, Example("add two numbers", None)),
    ("chat", {"messages": [*MESSAGES[1:2], *MESSAGES[1:2]]}, Example("add two numbers", None, left_out=1)),
    ("chat", {"messages": [*MESSAGES[2:], *MESSAGES[1:]]}, Example("add two numbers", "a + b", left_out=1)),
    ("chat", {"Messages": [{"Role": "User", "Content": "hi"}]}, Example("hi", None)),
    (
        "chat",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        Example("ab", None),
    ),
    ("sharegpt", {"id": 7, "conversations": CONVERSATION}, Example("add two numbers", "a + b", left_out=2)),
    ("sharegpt", {"conversation": CONVERSATION[1:3]}, Example("add two numbers", "a + b")),
    ("sharegpt", {"conversations": MESSAGES}, Example("add two numbers", "a + b", left_out=1)),
    ("prompts", "just do it", Example("just do it", None)),
    ("prompts", {"prompt": "p", "completion": "c"}, Example("p", "c")),
    ("prompts", {"question": "q", "answer": "a"}, Example("q", "a")),
    ("prompts", {"task": "t"}, Example("t", None)),
    ("prompts", {"TEXT": "t"}, Example("t", None)),
    ("prompts", {"prompt": None, "text": "t", "instruction": None, "messages": None}, Example("t", None)),
]


@pytest.mark.parametrize("format", ["auto", "its own"])
def test_each_shape_is_read_recognised_and_named(format):
    seen = set()
    for name, row, meaning in ROWS:
        assert shapes.reader(name if format == "its own" else format)(row) == meaning, row
        seen.add(name)
    assert seen == set(shapes.FORMATS) - {"auto", "columns"}


def test_a_list_by_itself_is_a_conversation():
    assert shapes.reader()(MESSAGES) == Example("add two numbers", "a + b", left_out=1)


def test_evol_format_leaves_the_input_out_where_alpaca_appends_it():
    row = {"instruction": "sort", "input": "3 1", "output": "1 3"}
    assert shapes.reader("evol")(row).instruction == "sort"
    assert shapes.reader("alpaca")(row).instruction == "sort\n3 1"


def test_columns_by_name():
    row = {"Problem": "p", "solution": "s", "instruction": "no", "output": "o", "license": "MIT"}
    assert shapes.reader(instruction="problem", response="Solution")(row) == Example("p", "s", "MIT")
    assert shapes.reader("columns", instruction="Problem")(row) == Example("p", "o", "MIT")
    assert shapes.reader(response="solution")(row) == Example("no", "s", "MIT")
    assert shapes.reader("chat", response="note")({"messages": MESSAGES, "note": ""}) == Example(
        "add two numbers", None, left_out=1
    )


def test_of_keys_that_differ_in_case_alone_the_lower_case_one_wins():
    for row in ({"Instruction": "A", "instruction": "a"}, {"instruction": "a", "Instruction": "A"}):
        assert shapes.reader()(row).instruction == "a"
    assert shapes.reader(instruction="Task")({"task": "a", "Task": "A"}).instruction == "A"


BAD = [
    ("auto", {"instruction": ""}, "the instruction is empty"),
    ("auto", {"instruction": " \n"}, "the instruction is empty"),
    ("auto", "", "the instruction is empty"),
    ("auto", {"instruction": 7, "output": "x"}, "instruction: a text is needed, found a number: 7"),
    ("auto", {"instruction": "x", "output": 42}, "output: a text is needed, found a number: 42"),
    ("auto", {"instruction": "x", "output": ["a"]}, "output: a text is needed, found a list: ['a']"),
    ("auto", {"instruction": "x", "input": True}, "input: a text is needed, found a truth value: True"),
    ("auto", {"instruction": "x", "output": {"a": 1, "b": 2}}, "output: a text is needed, found an object with a, b"),
    ("auto", {"problem": "x", "solution": "y"}, "(there is: problem, solution). Name it with `instruction`, and"),
    ("auto", {}, "(there is: no field at all)"),
    ("auto", None, "found nothing"),
    ("auto", 3.5, "an object with named fields is needed, found a number: 3.5"),
    ("auto", {"instruction": "x", "instances": "y"}, "instances: a list is needed, found a text: 'y'"),
    ("auto", {"instruction": "x", "instances": [1]}, "instances[0]: an object is needed"),
    ("auto", {"instruction": "x", "instances": [{"output": 1}]}, "instances[0].output: a text is needed"),
    ("auto", {"messages": "x"}, "messages: a list of messages is needed, found a text: 'x'"),
    ("auto", {"messages": []}, "messages: no message is from the user (they are from: none at all)"),
    ("auto", {"messages": [{"role": "system", "content": "x"}]}, "no message is from the user (they are from: system)"),
    ("auto", {"messages": ["hello"]}, "messages[0]: a message is needed, found a text: 'hello'"),
    ("auto", {"messages": [{"content": "x"}]}, "messages[0]: a message has a `role`"),
    ("auto", {"messages": [{"role": "user", "content": 5}]}, "messages[0].content: a text is needed"),
    ("auto", {"messages": [{"role": "user"}]}, "the instruction is empty"),
    (
        "auto",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0]: only parts of type text",
    ),
    ("auto", {"conversations": [{"from": "gpt", "value": "x"}]}, "conversations: no message is from the user"),
    ("evol", {"prompt": "x"}, "there is no `instruction` (there is: prompt)"),
    ("alpaca", {"instruction": None, "a": 1}, "there is no `instruction` (there is: instruction, a)"),
    ("evol", "x", "an object with named fields is needed, found a text: 'x'"),
    ("chat", {"prompt": "x"}, "messages: a list of messages is needed, found nothing"),
    ("sharegpt", {"prompt": "x"}, "conversations: a list of messages is needed, found nothing"),
]


def test_a_row_that_does_not_fit_says_which_field_and_what_was_found():
    for format, row, words in BAD:
        with pytest.raises(SeedError) as caught:
            shapes.reader(format)(row)
        assert words in str(caught.value), (row, str(caught.value))
    assert len(BAD) == 29


def test_a_column_that_is_missing_names_the_nearest():
    with pytest.raises(SeedError, match=r"there is no column 'soluton' in this row\. Did you mean 'solution'"):
        shapes.reader(instruction="problem", response="soluton")({"problem": "p", "solution": "s"})


def test_a_huge_value_is_not_repeated_in_the_message():
    with pytest.raises(SeedError) as caught:
        shapes.reader()({"instruction": ["x" * 100_000], **{f"key{n}" * 1000: 1 for n in range(100)}})
    assert len(str(caught.value)) < 300
    with pytest.raises(SeedError) as caught:
        shapes.reader()({f"key{n}" * 1000: 1 for n in range(100)})
    assert len(str(caught.value)) < 800


def test_format_and_columns_that_do_not_go_together():
    with pytest.raises(UsageError, match=r"no seed format is called 'alpacca'\. Did you mean 'alpaca'"):
        shapes.reader("alpacca")
    with pytest.raises(UsageError, match="needs the name of the instruction's column"):
        shapes.reader("columns")
    with pytest.raises(UsageError, match="format 'chat' finds the instruction itself"):
        shapes.reader("chat", instruction="x")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not text.isspace())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["instruction", "output", "messages", "conversations", "instances", "role", "content", "text"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(texts, st.none() | texts, st.sampled_from(["evol", "alpaca", "chat", "sharegpt"]))
def test_there_and_back_gives_the_same_example(task, answer, shape):
    row = shapes.to_shape(task, answer, shape)
    again = json.loads(json.dumps(row))
    assert shapes.reader()(again) == shapes.reader(shape)(again) == Example(task, answer)


@given(json_values, st.sampled_from([name for name in shapes.FORMATS if name != "columns"]))
def test_any_value_is_an_example_or_a_seed_error(value, format):
    try:
        example = shapes.reader(format)(value)
    except SeedError as error:
        assert str(error)
    else:
        assert example.instruction.strip() and (example.response is None or example.response.strip())


@given(json_values, st.text(max_size=3))
def test_any_value_by_column_is_an_example_or_a_seed_error(value, column):
    try:
        shapes.reader(instruction=column, response=column)(value)
    except SeedError as error:
        assert str(error)
