"""The pages for those who come from elsewhere: what they name of ours exists."""

import re
from functools import cache

import pytest
from test_docs import keys, options, read, table

import evolteacher as et
from evolteacher.arguments import arguments
from evolteacher.catalog import Catalog
from evolteacher.recipe import Recipe

PAGES = ("docs/from-evol-teacher.md", "docs/from-distilabel.md")


def mapped(page):
    """Return what each row of the page's tables names of ours, its second cell: a list of (row, name)."""
    rows = re.findall(r"^\| (.+?) \| (.*?) \|", read(page), re.MULTILINE)
    return [(there, name) for there, here in rows if here != "here" for name in re.findall(r"`([^`]+)`", here)]


@cache
def components():
    return {entry.cls.name for entry in Catalog.load().entries()}


@cache
def every_option():
    return {option for command in table().values() for option in options(command)}


def exists(name):
    """Tell whether a name of ours is a command, an option, a public name, a key of a recipe or a component."""
    if name.startswith("evolteacher "):
        return tuple(name.split()[1:]) in table()
    if name.startswith("--"):
        return name in every_option()
    if name.startswith("et."):
        return name.removeprefix("et.") in et.__all__
    if name.startswith("train.sft."):
        return name.removeprefix("train.sft.") in arguments("sft")
    if name.startswith("backends."):
        return name.removeprefix("backends.") in ("evolve", "respond", "judge")
    return name in keys(Recipe) or name in components()


@pytest.mark.parametrize(("page", "least"), [(PAGES[0], 60), (PAGES[1], 40)])
def test_all_that_a_page_maps_to_exists(page, least):
    names = mapped(page)
    assert len(names) >= least
    assert [(there, name) for there, name in names if not exists(name)] == []


@pytest.mark.parametrize(
    "name", ["evolteacher evolve", "--evolutions", "et.evolve", "train.sft.warmup", "backends.write", "round", "hello"]
)
def test_what_does_not_exist_is_noticed(name):
    assert not exists(name)


def test_every_argument_and_flag_of_the_original_is_mapped():
    named = " ".join(there for there, _ in mapped(PAGES[0]))
    arguments = (
        "output_dir seed_tasks_path evolutions temperature max_tokens frequency_penalty top_p model_name "
        "api_concurrency max_retries wait_interval retry_multiplier retry_max"
    )
    functions = (
        "convert_alpaca_to_evol merge_evolutions load_instructions evolve_instructions generate_responses "
        "check_instruction check_response generate_evol_instruct_set OpenAIMultiClient"
    )
    flags = (
        "model_name_or_path data_path output_dir num_train_epochs per_device_train_batch_size "
        "gradient_accumulation_steps evaluation_strategy save_strategy save_steps save_total_limit learning_rate "
        "weight_decay warmup_ratio lr_scheduler_type logging_steps model_max_length bf16 tf32 optim deepspeed"
    )
    scripts = "human_eval.sh humaneval_gen.py process_humaneval.py evaluate_functional_correctness"
    generating = "temperature N max_len greedy_decode num_seqs_per_iter output_path start_index end_index overwrite"
    wanted = [*arguments.split(), *functions.split(), *scripts.split()]
    wanted += [f"--{flag}" for flag in (*flags.split(), *generating.split())]
    assert [each for each in wanted if not re.search(rf"(?<![\w-]){re.escape(each)}\b", named)] == []
