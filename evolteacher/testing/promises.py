"""What a backend's author says of it, and what all checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from evolteacher.backend import Backend, Workload
from evolteacher.errors import EvolteacherError
from evolteacher.messages import Message, Reply, Request, Sampling
from evolteacher.testing.harness import Checks, Session

PROMPT = "Count from one to one hundred, in words."
"""What is asked where the question does not matter."""

Faults = Mapping[str, tuple[Callable[[], Backend], type[EvolteacherError]]]
"""Situation -> what makes a backend that is in it, and the error that opening or asking it must raise."""

_KEPT = pytest.StashKey[Session]()


class Promises(Checks):
    """What the author of a backend says of it: attributes to set, and fixtures to override.

    Attributes:
        deterministic: the same request gets the same text again, also after closing and opening, where it is asked
            alone with temperature 0 or with a seed.
        heeds_max_tokens: answers are cut at ``max_tokens``. False for a fake, and for a client whose test server does
            not cut.
        heeds_stop: answers end before ``stop`` texts; likewise.
        usage_known: replies count the tokens of prompt and answer.
        concurrency: requests that are asked at once.
        max_tokens: of an answer; small, where answers are slow.
        long_text: characters of a prompt that is longer than any context.
        patience: seconds that opening, closing and any one answer may take.
        promptness: seconds within which a cancelled request must have ended.
        grace: seconds that tasks, threads and processes are given to end once a backend was closed.
        keep_open: open the backend once for all checks of its answers, because opening takes long. The fixture
            ``backend`` must then return the same one each time, such as that of a fixture with the scope ``module``.
    """

    deterministic: ClassVar[bool] = False
    heeds_max_tokens: ClassVar[bool] = True
    heeds_stop: ClassVar[bool] = True
    usage_known: ClassVar[bool] = True
    concurrency: ClassVar[int] = 8
    max_tokens: ClassVar[int] = 16
    long_text: ClassVar[int] = 400_000
    patience: ClassVar[float] = 120.0
    promptness: ClassVar[float] = 5.0
    grace: ClassVar[float] = 2.0
    keep_open: ClassVar[bool] = False

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test, not opened; to be overridden."""
        pytest.fail(f"{type(self).__name__} must have a fixture `backend` that returns a backend", pytrace=False)

    @pytest.fixture
    def faults(self) -> Faults:
        """Situations that the backend can be brought into; see :data:`SITUATIONS` for those that the core knows."""
        return {}

    @pytest.fixture
    def secret(self) -> tuple[Backend, str] | None:
        """A backend that was given a secret, not opened, and the secret; None where it takes none."""
        return None

    @pytest.fixture
    def batches(self) -> Backend | None:
        """A backend that answers in provider batches, not opened; None where that cannot be tested."""
        return None

    @pytest.fixture
    def _opened(self, backend: Backend, request: pytest.FixtureRequest) -> Iterator[Session]:
        """The backend, open."""
        if backend.in_batches():
            pytest.skip("in_batches() is true: this backend answers no single requests")
        if not self.keep_open:
            with self.session(backend) as session:
                yield session
            return
        node = _class_of(request)
        session = node.stash.setdefault(_KEPT, self.session(backend))
        if session.backend is not backend:
            pytest.fail("keep_open needs a fixture `backend` that returns the same backend each time", pytrace=False)
        if not session.is_open:
            session.open()
            # On the node and not in the fixture: it must come before the finalizers of the author's own fixtures.
            node.addfinalizer(session.close)
        yield session

    @pytest.fixture
    def _closed(self, backend: Backend, request: pytest.FixtureRequest) -> Backend:
        """The backend, closed; one that is kept open for other checks is closed first."""
        session = _class_of(request).stash.get(_KEPT, None)
        if session is not None:
            session.close()
        return backend

    def belongs(self, request: Request, reply: Reply) -> bool | None:
        """Return whether a reply answers this request; None where that cannot be told, which is the default.

        A test server that echoes the prompt, or a digest of it, makes it possible to tell.
        """
        return None

    def session(self, backend: Backend) -> Session:
        """Return a session of a backend, yet to be opened."""
        return Session(backend, self.workload, self.patience)

    @property
    def workload(self) -> Workload:
        """What backends are opened for."""
        return Workload(self.concurrency, self.max_tokens, longest_text=300)

    def request(self, text: str = PROMPT, system: str | None = None, **sampling: Any) -> Request:
        """Return a request; greedy and short unless the sampling says otherwise."""
        messages = [Message("user", text)] if system is None else [Message("system", system), Message("user", text)]
        return Request(tuple(messages), Sampling(**{"temperature": 0.0, "max_tokens": self.max_tokens, **sampling}))


def _class_of(request: pytest.FixtureRequest) -> pytest.Class:
    node = request.node.getparent(pytest.Class)
    assert isinstance(node, pytest.Class)  # the checks are methods
    return node
