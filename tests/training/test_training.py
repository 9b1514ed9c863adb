"""Real training steps of TRL's SFTTrainer on a tiny model: masks, resuming, adapters, packing, what is written."""

import asyncio
import hashlib
import importlib.util
import json
import shutil
import xml.etree.ElementTree as ET

import pytest
from tiny_model import write_model, write_recipe, write_rows

import evolteacher as et
from evolteacher.errors import RecipeError, RunError, UsageError
from evolteacher.training.curve import loss_curve
from evolteacher.training.mask import check_mask
from evolteacher.training.plan import plan_training

# Neither is imported before a test needs it: that takes seconds, and every process that collects the tests would pay.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("trl", "peft"))), reason="the extra 'train' is not installed"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl")


@pytest.fixture
def recipe(tmp_path, model, data):
    """Return a function that writes a recipe: arguments of SFTConfig in `sft`, keys of `train:` by name."""

    def write(sft=None, **train):
        return write_recipe(tmp_path / "tiny.yaml", model, data, sft, **train)

    return write


def digest(folder):
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def after(steps):
    """Return a `stop` that asks to stop after so many steps."""
    left = iter(range(steps))
    return lambda: next(left, None) is None or not left.__length_hint__()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, model, data):
    """A whole training: its result, what it noted, the rows it showed, and its recipe."""
    folder = tmp_path_factory.mktemp("whole")
    path = write_recipe(folder / "tiny.yaml", model, data, licence="mit")
    notes, shown = [], []
    result = et.train(path, folder / "out", note=notes.append, show=shown.append)
    return result, notes, shown, path


class TestWhatIsWritten:
    def test_it_learns_and_says_what_it_comes_to(self, trained):
        result, notes, _, _ = trained
        figures = result.results
        assert result.finished and result.ran
        assert figures["rows"] + figures["held_out"] == 20 and figures["held_out"] >= 1
        assert figures["loss"] < figures["first_loss"] and figures["eval_loss"] > 0
        assert figures["steps"] == -(-figures["rows"] // 4)
        assert f"{figures['rows']} rows, {figures['held_out']} held out" in notes[-1]
        assert f"{figures['steps']} steps of 4 rows" in notes[-1] and "all trained" in notes[-1]

    def test_the_model_loads_with_the_form_it_was_trained_in(self, trained):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = trained[0].model
        tokenizer = AutoTokenizer.from_pretrained(folder)
        form = et.PromptForm.read(folder)
        assert form is not None and form.template == tokenizer.chat_template
        assert form.prompt(tokenizer, "a") == "<|user|>a<|end|>\n<|model|>"
        assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() == trained[0].results["weights"]

    def test_who_asks_it_asks_in_the_form_it_was_trained_in(self, tmp_path, data):
        from evolteacher_backends.transformers import Transformers

        path = write_recipe(tmp_path / "tiny.yaml", write_model(tmp_path / "base", None), data, {"max_steps": 1})
        model = et.train(path, tmp_path / "out").model
        form, tokenizer = et.PromptForm.read(model), tokenizer_in(model)
        assert form.kind == "alpaca" and "### Instruction:" in tokenizer.chat_template
        prompt = tokenizer(form.prompt(tokenizer, "Sort a list."), add_special_tokens=False)["input_ids"]

        async def ask():
            backend = Transformers(model=str(model), device="cpu")
            await backend.open(et.Workload(max_tokens=2))
            request = et.Request((et.Message("user", "Sort a list."),), et.Sampling(temperature=0.0, max_tokens=2))
            try:
                return await backend.complete(request)
            finally:
                await backend.close()

        assert asyncio.run(ask()).usage.prompt_tokens == len(prompt)

    def test_the_mask_of_real_batches_was_shown(self, trained):
        shown = trained[2]
        assert len(shown) == 2
        for row in shown:
            (prompt, first), (answer, second) = row.pieces
            assert (first, second) == (False, True)
            assert prompt.startswith("<|user|>Write a function") and prompt.endswith("<|end|>\n<|model|>")
            assert answer.startswith("def add(x)") and answer.endswith("<|end|>")
            assert 0 < row.counted < row.tokens

    def test_metrics_and_curve(self, trained):
        folder = trained[0].folder
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, trained[0].results["steps"] + 1))
        assert any("eval_loss" in line for line in lines)
        root = ET.fromstring((folder / "loss.svg").read_text())
        assert root.tag.endswith("svg") and len([e for e in root.iter() if e.tag.endswith("polyline")]) == 1

    def test_the_card_says_data_form_recipe_licence_and_that_nothing_was_compared(self, trained):
        card = (trained[0].model / "README.md").read_text()
        assert "license: mit" in card and "### Decontamination" in card and "Nothing is on record" in card
        assert "<|user|>{instruction}<|end|>" in card and "{response}<|end|>" in card
        assert "`rows.jsonl`" in card and "learning_rate: 0.001" in card
        assert str(trained[0].folder.parent) not in card

    def test_the_certificate_of_the_data_is_on_the_card(self, tmp_path, model):
        write_rows(tmp_path / "rows.jsonl", 4)
        (tmp_path / "decontamination.json").write_text('{"compared_with": ["humaneval"]}')
        path = write_recipe(tmp_path / "tiny.yaml", model, tmp_path / "rows.jsonl", {"max_steps": 1}, validation=0)
        card = (et.train(path, tmp_path / "out").model / "README.md").read_text()
        assert '"compared_with"' in card and "Nothing is on record" not in card


class TestGoingOn:
    def test_a_training_that_was_stopped_ends_as_one_that_was_not(self, trained, tmp_path):
        result, _, _, path = trained
        first = et.train(path, tmp_path, stop=after(2))
        assert not first.finished and not first.model.exists()
        whole = tmp_path / "checkpoints" / "checkpoint-2"
        assert et.PromptForm.read(whole) is not None
        shutil.copytree(whole, tmp_path / "checkpoints" / "checkpoint-3")  # one that a crash cut short
        (tmp_path / "checkpoints" / "checkpoint-3" / "trainer_state.json").write_text("{")
        notes = []
        second = et.train(path, tmp_path, note=notes.append)
        assert second.finished and any("going on after 2 steps" in line for line in notes)
        assert digest(tmp_path) == digest(result.folder)
        losses = [
            {line["step"]: line["loss"] for line in map(json.loads, path.read_text().splitlines()) if "loss" in line}
            for path in (tmp_path / "metrics.jsonl", result.folder / "metrics.jsonl")
        ]
        assert losses[0] == losses[1] and len(losses[0]) == result.results["steps"]

    def test_a_finished_one_is_left_as_it_is(self, trained):
        result, _, _, path = trained
        before = digest(result.folder)
        again = et.train(path, result.folder, set=["train.sft.logging_steps=2"])
        assert (again.finished, again.ran, again.results) == (True, False, result.results)
        assert digest(result.folder) == before

    def test_another_training_is_refused_with_what_differs(self, trained, tmp_path):
        result, _, _, path = trained
        more = write_rows(tmp_path / "more.jsonl", 21)
        for change, said in (
            ("train.sft.learning_rate=0.002", "train.sft.learning_rate: the folder has 0.001, the recipe 0.002"),
            ("train.form=alpaca", "train.form"),
            (f"train.data={more}", "rows: the folder has 20, the recipe 21"),
        ):
            with pytest.raises(UsageError, match="another training") as caught:
                et.train(path, result.folder, set=[change])
            assert said in str(caught.value) and "--out NEW" in str(caught.value)

    def test_a_runs_own_folder_is_not_trained_into(self, trained, tmp_path):
        (tmp_path / "run.db").touch()
        with pytest.raises(UsageError, match="folder of a run"):
            et.train(trained[3], tmp_path)


class TestWays:
    # peft asks transformers by a name that transformers is giving up.
    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
    def test_an_adapter_and_the_model_merged_with_it_say_the_same(self, recipe, tmp_path, model):
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        path = recipe(method="lora", lora={"r": 4, "target_modules": ["q_proj", "v_proj"]}, merge=True)
        notes = []
        result = et.train(path, tmp_path / "out", note=notes.append)
        assert result.results["trained"] < result.results["weights"] / 5 and "trained (" in notes[-1]
        assert (result.model / "adapter_config.json").is_file()
        ids = torch.tensor([[10, 20, 30]])
        base = AutoModelForCausalLM.from_pretrained(model)
        with torch.no_grad():
            untuned = base(ids).logits
            tuned = PeftModel.from_pretrained(base, result.model)(ids).logits
            merged = AutoModelForCausalLM.from_pretrained(result.folder / "merged")(ids).logits
        assert torch.allclose(tuned, merged, atol=1e-5) and not torch.allclose(tuned, untuned, atol=1e-5)
        assert et.PromptForm.read(result.folder / "merged") == et.PromptForm.read(result.model)

    def test_packed_rows_keep_their_masks(self, recipe, tmp_path):
        shown = []
        path = recipe({"packing": True, "max_length": 512}, form="alpaca", validation=0)
        result = et.train(path, tmp_path / "out", show=shown.append)
        assert result.results["rows"] == 20 and result.results["steps"] < 5
        pieces = shown[0].pieces
        assert len(pieces) >= 6, "several rows stand in one sequence"
        assert {counted for _, counted in pieces[::2]} == {False}
        assert all("### Instruction:" not in text for text, counted in pieces if counted)

    @pytest.mark.parametrize(
        ("change", "error", "said"),
        [
            ("train.model=./gone", RecipeError, "there is no such folder"),
            (f"train.model={__file__}", RecipeError, "this is a file, and a checkpoint is a folder"),
            ("train.sft.bf16=true train.sft.tf32=true", RecipeError, "train.sft: "),
            ("train.sft.max_length=20", UsageError, "every row has more than 20 tokens"),
            ("train.method=lora train.lora.target_modules=[nothing]", RunError, "nothing"),
        ],
    )
    def test_what_cannot_be_done_says_so_before_any_step(self, recipe, tmp_path, change, error, said):
        with pytest.raises(error, match=said):
            et.train(recipe(), tmp_path / "out", set=change.split())
        assert not (tmp_path / "out" / "checkpoints").exists()


class TestMasks:
    """The check of the label mask, attacked with batches that a trainer must not be given."""

    def batch(self, labels, mask=None):
        import torch

        found = {"input_ids": torch.tensor([[5, 6, 7, 0]]), "labels": torch.tensor([labels])}
        return found if mask is None else {**found, "attention_mask": torch.tensor([mask])}

    @pytest.mark.parametrize(
        ("labels", "mask", "said"),
        [
            ([-100, -100, -100, -100], [1, 1, 1, 0], "counts none"),
            ([5, 6, 7, -100], [1, 1, 1, 0], "counts all"),
            ([5, 6, 7, 0], None, "counts all"),
            ([-100, 6, 8, -100], [1, 1, 1, 0], "another token"),
            ([-100, 6, 7, 0], [1, 1, 1, 0], "padding"),
        ],
    )
    def test_a_wrong_mask_stops_the_training(self, trained, labels, mask, said):
        with pytest.raises(RunError, match=said):
            check_mask(self.batch(labels, mask), tokenizer_of(trained))

    def test_a_right_one_is_taken_apart(self, trained):
        (row,) = check_mask(self.batch([-100, 6, 7, -100], [1, 1, 1, 0]), tokenizer_of(trained))
        assert (row.tokens, row.counted, len(row.pieces)) == (3, 2, 2)

    def test_a_form_that_leaves_no_prompt_is_stopped_before_the_first_step(self, tmp_path, data):
        bare = write_model(
            tmp_path / "bare", "{% for m in messages if m.role == 'assistant' %}{{ m.content }}{% endfor %}"
        )
        path = write_recipe(tmp_path / "tiny.yaml", bare, data)
        with pytest.raises(RunError, match="the prompt included"):
            et.train(path, tmp_path / "out")
        assert not (tmp_path / "out" / "model").exists()


def tokenizer_of(trained):
    return tokenizer_in(trained[0].model)


def tokenizer_in(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "sft",
    [{"gradient_accumulation_steps": 3, "num_train_epochs": 2}, {"max_steps": 2}, {"per_device_train_batch_size": 7}],
)
def test_the_plan_counts_steps_and_weights_as_the_training_does(recipe, tmp_path, sft):
    path = recipe(sft)
    planned = plan_training(et.Training.load(path), et.Catalog.load(), lambda line: None)
    done = et.train(path, tmp_path / "out").results
    for name in ("steps", "rows", "held_out", "tokens", "learnt", "weights", "trained"):
        assert getattr(planned, name) == done[name], name
    assert planned.memory == done["estimated_bytes"]


def test_a_curve_of_nothing_and_of_what_is_not_finite():
    assert "Nothing was measured" in loss_curve([], "a < b")
    drawn = loss_curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": "nan"}, {"step": 3, "eval_loss": 1.0}], "a < b")
    assert "a &lt; b" in drawn and drawn.count("<circle") == 2
    ET.fromstring(drawn)
