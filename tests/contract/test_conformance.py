"""Our own backends pass the conformance suite that any backend must pass."""

import pytest

from evolteacher import errors
from evolteacher.testing import BackendConformance
from evolteacher_backends.scripted import Scripted


class TestScripted(BackendConformance):
    deterministic = True
    heeds_sampling = False  # its answers are the script's, whole

    @pytest.fixture
    def backend(self):
        return Scripted(rules=[{"contains": "mark-001", "reply": "Of a rule."}])

    @pytest.fixture
    def faults(self):
        named = {
            "wrong key": ("not-authorised", errors.NotAuthorised),
            "unknown model": ("no-such-model", errors.NoSuchModel),
            "rate limited": ("rate-limited", errors.RateLimited),
            "server error": ("transient", errors.Transient),
            "refused": ("refused", errors.Refused),
            "too long": ("too-long", errors.TooLong),
            "unusable": ("bad-reply", errors.BadReply),
        }

        def scripting(error):
            return lambda: Scripted(rules=[{"error": error}])

        return {
            **{situation: (scripting(error), kind) for situation, (error, kind) in named.items()},
            "no script": (lambda: Scripted(file="no/such/file.jsonl"), errors.UsageError),
            "nothing in it": (lambda: Scripted(strict=True), errors.FatalError),
        }
