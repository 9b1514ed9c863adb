"""Every operator and filter that ships passes the suite that a third party's must pass."""

import pytest

from evolteacher.catalog import FIRST_PARTY, Catalog
from evolteacher.filter import DatasetFilter
from evolteacher.testing import DatasetFilterConformance, FilterConformance, JudgeConformance, OperatorConformance

ENTRIES = [entry for entry in Catalog.load().entries() if entry.plugin.distribution == FIRST_PARTY]
OPERATORS = {entry.cls.name: entry.cls for entry in ENTRIES if entry.cls.kind == "operator"}
FILTERS = {entry.cls.name: entry.cls for entry in ENTRIES if entry.cls.kind == "filter"}
DATASET = [name for name, cls in FILTERS.items() if issubclass(cls, DatasetFilter)]
JUDGES = [name for name, cls in FILTERS.items() if cls.asks()]
ROWS = [name for name in FILTERS if name not in (*DATASET, *JUDGES)]

OPTIONS = {
    "template": {"template": "Make this task harder:\n{{ instruction }}\n\n<harder>"},
    "forbidden": {"words": ["lorem"]},
    "length": {"max_words": 2_000},
    "cap": {"per": "language", "most": 5},
    "deita": {"most": 12},
}
"""Name -> options, of those that have required ones."""


def test_the_catalog_holds_what_is_meant_to_be_checked():
    assert (len(OPERATORS), len(ROWS), len(JUDGES), len(DATASET)) == (16, 20, 7, 4)
    assert len(ROWS) + len(JUDGES) + len(DATASET) == len(FILTERS)


@pytest.mark.parametrize("operator", OPERATORS, indirect=True)
class TestOperators(OperatorConformance):
    @pytest.fixture
    def operator(self, request):
        return OPERATORS[request.param](**OPTIONS.get(request.param, {}))


@pytest.mark.parametrize("filter", ROWS, indirect=True)
class TestRowFilters(FilterConformance):
    @pytest.fixture
    def filter(self, request):
        return FILTERS[request.param](**OPTIONS.get(request.param, {}))


@pytest.mark.parametrize("filter", JUDGES, indirect=True)
class TestJudges(JudgeConformance):
    @pytest.fixture
    def filter(self, request):
        return FILTERS[request.param](**OPTIONS.get(request.param, {}))


@pytest.mark.parametrize("filter", DATASET, indirect=True)
class TestDatasetFilters(DatasetFilterConformance):
    @pytest.fixture
    def filter(self, request):
        return FILTERS[request.param](**OPTIONS.get(request.param, {}))
