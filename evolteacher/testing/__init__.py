"""The conformance suites: what a component must do so that a run neither loses, doubles nor spoils anything.

There is one for operators, three for filters (of rows, of rows by way of an LLM, of whole datasets), one for backends
and one for benchmarks. An author inherits the checks, and pytest collects them::

    import pytest
    from evolteacher.testing import BackendConformance

    class TestMine(BackendConformance):
        @pytest.fixture
        def backend(self):
            return Mine(model="tiny")

Each check states the rule of the contract in its docstring; one that fails says the rule and what was seen in its
place. What the author has not made testable is reported as skipped, with the words "not covered", and never as passed.
The checks run event loops of their own, so no pytest plugin is needed; a server that a fixture starts therefore runs in
a thread or a process.
"""

from __future__ import annotations

from evolteacher.errors import UsageError

try:
    import pytest as _pytest  # noqa: F401  (here and not in each module, so that its absence is said once and well)
except ModuleNotFoundError as error:
    if error.name != "pytest":
        raise
    raise UsageError("evolteacher.testing needs pytest: pip install pytest") from None

from evolteacher.testing.answers import AnswerChecks
from evolteacher.testing.batches import BatchChecks
from evolteacher.testing.benchmarks import BenchmarkConformance
from evolteacher.testing.company import CompanyChecks
from evolteacher.testing.description import DescriptionChecks
from evolteacher.testing.faults import SITUATIONS, FaultChecks
from evolteacher.testing.filters import DatasetFilterConformance, FilterConformance, JudgeConformance
from evolteacher.testing.inputs import InputChecks
from evolteacher.testing.lifecycle import LifecycleChecks
from evolteacher.testing.operators import OperatorConformance
from evolteacher.testing.promises import PROMPT, Faults

__all__ = [
    "PROMPT",
    "SITUATIONS",
    "BackendConformance",
    "BenchmarkConformance",
    "DatasetFilterConformance",
    "Faults",
    "FilterConformance",
    "JudgeConformance",
    "OperatorConformance",
]


class BackendConformance(
    BatchChecks, FaultChecks, LifecycleChecks, DescriptionChecks, InputChecks, CompanyChecks, AnswerChecks
):
    """All checks; inherit from it in a class whose name pytest collects, and give it the fixture ``backend``.

    The class attributes and the other fixtures, which say what the backend promises and what it can be made to do, are
    those of :class:`~evolteacher.testing.promises.Promises`.
    """
