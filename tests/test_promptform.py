"""The prompt form: the same text in training and afterwards, by whoever renders the saved template."""

import importlib.util
import json

import pytest
from tiny_model import CHAT, tokenizer

import evolteacher as et
from evolteacher.errors import RunError, UsageError
from evolteacher.promptform import ALPACA_PREFACE, FILE

# Neither is imported before a test needs it: that takes seconds, and every process that collects the tests would pay.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tokenizers", "transformers"))),
    reason="the extra 'transformers' is not installed",
)

ALPACA = f"{ALPACA_PREFACE}\n\n### Instruction:\nSort {{%}} a list.\n\n### Response:"


def test_alpaca_is_stanfords_form_to_the_letter():
    tokens = tokenizer(None)
    form = et.PromptForm.choose("auto", tokens)
    assert form.kind == "alpaca"
    assert form.prompt(tokens, "Sort {%} a list.") == ALPACA
    assert form.split(tokens, "Sort {%} a list.", "x = {{ 1 }}\n") == (ALPACA, "x = {{ 1 }}\n<|end|>")


def test_a_tokenizer_that_begins_texts_has_that_in_the_form():
    tokens = tokenizer(None, begins=True)
    form = et.PromptForm.choose("alpaca", tokens)
    assert form.prompt(tokens, "Sort.").startswith(f"<|begin|>{ALPACA_PREFACE}")
    plain = form.prompt(tokens, "Sort.").removeprefix("<|begin|>")
    assert tokens(form.prompt(tokens, "Sort."), add_special_tokens=False)["input_ids"] == tokens(plain)["input_ids"]


def test_in_a_conversation_a_system_message_is_the_preface():
    tokens = tokenizer(et.PromptForm.alpaca().template)
    turns = [("system", "Be short."), ("user", "a"), ("assistant", "b"), ("user", "c")]
    messages = [{"role": role, "content": text} for role, text in turns]
    assert tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "Be short.\n\n### Instruction:\na\n\n### Response:b<|end|>\n\n### Instruction:\nc\n\n### Response:"
    )


def test_the_models_own_template_is_taken_and_the_answer_ends_with_its_end():
    tokens = tokenizer()
    form = et.PromptForm.choose("auto", tokens)
    assert (form.kind, form.template) == ("chat", CHAT)
    assert form.split(tokens, "Sort.", "x = 1") == ("<|user|>Sort.<|end|>\n<|model|>", "x = 1<|end|>")
    assert et.PromptForm.choose("alpaca", tokens).kind == "alpaca"


def test_an_end_is_put_where_the_template_has_none():
    turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    tokens = tokenizer(turns + "{% if add_generation_prompt %}<assistant>{% endif %}")
    assert et.PromptForm.choose("chat", tokens).split(tokens, "a", "b") == ("<user>a<assistant>", "b<|end|>")


@pytest.mark.parametrize(
    ("template", "end", "wanted", "said"),
    [
        (None, "<|end|>", "chat", "form: alpaca"),
        ("{% if add_generation_prompt %}ASK{% else %}ANSWERED{% endif %}", "<|end|>", "chat", "form: alpaca"),
        (CHAT, None, "chat", "no token that ends an answer"),
    ],
)
def test_a_form_that_cannot_be_learnt_is_refused(template, end, wanted, said):
    tokens = tokenizer(template, end=end)
    with pytest.raises(UsageError, match=said):
        et.PromptForm.choose(wanted, tokens).split(tokens, "a", "b")


def test_it_is_read_as_it_was_written(tmp_path):
    tokens = tokenizer()
    form = et.PromptForm.choose("chat", tokens, {"thinking": False})
    form.write(tmp_path, tokens)
    assert et.PromptForm.read(tmp_path) == form
    example = json.loads((tmp_path / FILE).read_text())["example"]
    assert example == {"prompt": "<|user|>{instruction}<|end|>\n<|model|>", "completion": "{response}<|end|>"}


def test_a_folder_without_one_has_none_and_a_broken_one_is_an_error(tmp_path):
    assert et.PromptForm.read(tmp_path) is None
    broken = ["{", "[]", '{"form": "x", "template": "", "template_options": {}}', '{"form": "chat"}']
    for text in broken:
        (tmp_path / FILE).write_text(text)
        with pytest.raises(RunError, match="prompt form"):
            et.PromptForm.read(tmp_path)
    assert len(broken) == 4
