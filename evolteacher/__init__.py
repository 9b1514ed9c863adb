"""evolteacher evolves instruction datasets with LLMs (Evol-Instruct).

What is named here is public. Each name is imported when it is first used, so that ``import evolteacher``, and with it
``evolteacher --help``, costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evolteacher.answers import completed, defined, definitions, parse_python, read_code
    from evolteacher.backend import Backend, BatchState, Workload
    from evolteacher.benchmark import Benchmark, Problem
    from evolteacher.catalog import Catalog
    from evolteacher.cleaning import DecontaminationReport, adecontaminate, decontaminate
    from evolteacher.comparing.request import CompareOptions
    from evolteacher.comparing.running import Comparison, compare
    from evolteacher.component import Component, free
    from evolteacher.dataset import ConvertReport, MergeReport, convert, merge
    from evolteacher.decontamination.against import BenchmarkSpec, NamedBenchmark, make_benchmark, read_benchmarks
    from evolteacher.decontamination.certificate import ContaminationPair
    from evolteacher.decontamination.index import (
        ContaminationHit,
        ContaminationIndex,
        ContaminationMethod,
        ContaminationSettings,
    )
    from evolteacher.decontamination.running import BenchmarkRunner
    from evolteacher.evaluation.public import aevaluate, evaluate
    from evolteacher.evaluation.score import Evaluation
    from evolteacher.events import EvolutionSettled, RoundFinished, RunFinished, RunStarted
    from evolteacher.fences import Block, split_fences
    from evolteacher.filter import (
        DatasetFilter,
        Filter,
        InstructionFilter,
        LineageFilter,
        Place,
        ReplyFilter,
        ResponseFilter,
        TextFilter,
    )
    from evolteacher.headers import rate_limits, retry_after
    from evolteacher.hookspecs import CommandTable, hookimpl
    from evolteacher.messages import Message, Prompt, RateLimits, Reply, Request, Role, Sampling, Usage
    from evolteacher.money import FREE, Price
    from evolteacher.operator import Ask, Operator, Prepared
    from evolteacher.promptform import PromptForm
    from evolteacher.reading import read_rewritten
    from evolteacher.recipe import Recipe
    from evolteacher.record import (
        Evolution,
        Instruction,
        Judgement,
        Lineage,
        Material,
        Record,
        Seed,
        Step,
        Verdict,
    )
    from evolteacher.rejudging import Rejudged, arejudge, rejudge
    from evolteacher.runner import RunResult, arun, run
    from evolteacher.sandbox import CheckResult, Guard, Sandbox
    from evolteacher.secrets import check_reference, environment, hide, read_secret, secret_name
    from evolteacher.seeds import Row, SeedReader
    from evolteacher.sieve import PruneReport, prune
    from evolteacher.training.job import Training
    from evolteacher.training.trainer import TrainResult, train

__version__ = "0.1.0"

__all__ = [
    "FREE",
    "Ask",
    "Backend",
    "BatchState",
    "Benchmark",
    "BenchmarkRunner",
    "BenchmarkSpec",
    "Block",
    "Catalog",
    "CheckResult",
    "CommandTable",
    "CompareOptions",
    "Comparison",
    "Component",
    "ContaminationHit",
    "ContaminationIndex",
    "ContaminationMethod",
    "ContaminationPair",
    "ContaminationSettings",
    "ConvertReport",
    "DatasetFilter",
    "DecontaminationReport",
    "Evaluation",
    "Evolution",
    "EvolutionSettled",
    "Filter",
    "Guard",
    "Instruction",
    "InstructionFilter",
    "Judgement",
    "Lineage",
    "LineageFilter",
    "Material",
    "MergeReport",
    "Message",
    "NamedBenchmark",
    "Operator",
    "Place",
    "Prepared",
    "Price",
    "Problem",
    "Prompt",
    "PromptForm",
    "PruneReport",
    "RateLimits",
    "Recipe",
    "Record",
    "Rejudged",
    "Reply",
    "ReplyFilter",
    "Request",
    "ResponseFilter",
    "Role",
    "RoundFinished",
    "Row",
    "RunFinished",
    "RunResult",
    "RunStarted",
    "Sampling",
    "Sandbox",
    "Seed",
    "SeedReader",
    "Step",
    "TextFilter",
    "TrainResult",
    "Training",
    "Usage",
    "Verdict",
    "Workload",
    "__version__",
    "adecontaminate",
    "aevaluate",
    "arejudge",
    "arun",
    "check_reference",
    "compare",
    "completed",
    "convert",
    "decontaminate",
    "defined",
    "definitions",
    "environment",
    "evaluate",
    "free",
    "hide",
    "hookimpl",
    "make_benchmark",
    "merge",
    "parse_python",
    "prune",
    "rate_limits",
    "read_benchmarks",
    "read_code",
    "read_rewritten",
    "read_secret",
    "rejudge",
    "retry_after",
    "run",
    "secret_name",
    "split_fences",
    "train",
]

_MODULES = {
    "answers": ("completed", "defined", "definitions", "parse_python", "read_code"),
    "backend": ("Backend", "BatchState", "Workload"),
    "benchmark": ("Benchmark", "Problem"),
    "catalog": ("Catalog",),
    "cleaning": ("DecontaminationReport", "adecontaminate", "decontaminate"),
    "comparing.request": ("CompareOptions",),
    "comparing.running": ("Comparison", "compare"),
    "component": ("Component", "free"),
    "dataset": ("ConvertReport", "MergeReport", "convert", "merge"),
    "decontamination.against": ("BenchmarkSpec", "NamedBenchmark", "make_benchmark", "read_benchmarks"),
    "decontamination.certificate": ("ContaminationPair",),
    "decontamination.index": (
        "ContaminationHit",
        "ContaminationIndex",
        "ContaminationMethod",
        "ContaminationSettings",
    ),
    "decontamination.running": ("BenchmarkRunner",),
    "evaluation.public": ("aevaluate", "evaluate"),
    "evaluation.score": ("Evaluation",),
    "events": ("EvolutionSettled", "RoundFinished", "RunFinished", "RunStarted"),
    "fences": ("Block", "split_fences"),
    "filter": (
        "DatasetFilter",
        "Filter",
        "InstructionFilter",
        "LineageFilter",
        "Place",
        "ReplyFilter",
        "ResponseFilter",
        "TextFilter",
    ),
    "headers": ("rate_limits", "retry_after"),
    "hookspecs": ("CommandTable", "hookimpl"),
    "messages": ("Message", "Prompt", "RateLimits", "Reply", "Request", "Role", "Sampling", "Usage"),
    "money": ("FREE", "Price"),
    "operator": ("Ask", "Operator", "Prepared"),
    "promptform": ("PromptForm",),
    "reading": ("read_rewritten",),
    "recipe": ("Recipe",),
    "record": (
        "Evolution",
        "Instruction",
        "Judgement",
        "Lineage",
        "Material",
        "Record",
        "Seed",
        "Step",
        "Verdict",
    ),
    "rejudging": ("Rejudged", "arejudge", "rejudge"),
    "runner": ("RunResult", "arun", "run"),
    "sandbox": ("CheckResult", "Guard", "Sandbox"),
    "secrets": ("check_reference", "environment", "hide", "read_secret", "secret_name"),
    "seeds": ("Row", "SeedReader"),
    "sieve": ("PruneReport", "prune"),
    "training.job": ("Training",),
    "training.trainer": ("TrainResult", "train"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # a type checker that saw this would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used."""
        if name not in _HOME:
            raise AttributeError(f"module 'evolteacher' has no attribute '{name}'")
        value = globals()[name] = getattr(importlib.import_module(f"evolteacher.{_HOME[name]}"), name)
        return value


def __dir__() -> list[str]:
    """Name what is public, imported yet or not."""
    return sorted(__all__)
