"""A backend that keeps every rule of the contract, and for each rule others that break it and nothing else.

Collected by the pytest of test_broken_backends.py only. A broken backend stands in ``BROKEN`` under the check that must
fail; its conformance class is made from ``Suite``.
"""

import asyncio
import gc
import json
import logging
import multiprocessing
import os
import socket
import threading
import time
import uuid

import pytest
from pydantic import ConfigDict, PrivateAttr, field_serializer

import evolteacher as et
from evolteacher import errors
from evolteacher.testing import BackendConformance
from evolteacher.testing.batches import BatchChecks

SECRET = "sk-the-secret-of-the-good-backend"

CONTEXT = 10_000
"""Characters of the longest prompt."""

PROVIDER = {}
"""What a provider of batches keeps: id -> (tag, results)."""


class Good(et.Backend, name="good"):
    """Repeats its prompt, word by word, as a server would that takes a key; holds a thread, a socket and a task."""

    most_bytes_in_batch = 1_000_000

    model: str = "tiny"
    mode: str = "single"
    situation: str = ""
    api_key: str = et.free("env:GOOD_KEY", description="The key.")
    threads: int = et.free(1, description="Changes nothing.")

    _key: str = PrivateAttr("")
    _queue: asyncio.Queue | None = PrivateAttr(None)
    _task: asyncio.Task | None = PrivateAttr(None)
    _thread: threading.Thread | None = PrivateAttr(None)
    _ended: threading.Event | None = PrivateAttr(None)
    _socket: socket.socket | None = PrivateAttr(None)
    _in_flight: int = PrivateAttr(0)

    def identity(self):
        return json.dumps([self.name, self.model, self.mode, self.situation])

    def account(self):
        return self.api_key

    def price(self):
        return et.FREE

    def secrets(self):
        return (self._key,) if self._key else ()

    async def open(self, workload):
        await self.close()
        key = et.read_secret(self.api_key, "backend 'good': api_key")
        await asyncio.sleep(0)
        if self.situation == "wrong key":
            raise errors.NotAuthorised("the server does not know the key")
        if self.situation == "unreachable":
            raise errors.FatalError("the server cannot be reached: is it running?")
        self._key = key
        self._queue = asyncio.Queue()
        self._task = asyncio.create_task(self._serve())
        self._socket = socket.socket()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ended.wait)
        self._thread.start()

    async def close(self):
        self._key = ""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _serve(self):
        while True:
            future = await self._queue.get()
            await asyncio.sleep(0)
            if not future.done():
                future.set_result(None)

    async def complete(self, request):
        if self._task is None:
            raise errors.FatalError("backend 'good' is not open")
        self._in_flight += 1
        try:
            future = asyncio.get_running_loop().create_future()
            self._queue.put_nowait(future)
            await future
            return self.answer(request)
        finally:
            self._in_flight -= 1

    def answer(self, request):
        if self.situation == "server error":
            raise errors.Transient("HTTP 500", unpaid=True)
        if self.situation == "rate limited":
            raise errors.RateLimited("HTTP 429", 1.5, et.RateLimits(60))
        if self.situation == "refused":
            raise errors.Refused("no", et.Usage(3, 0))
        if self.situation == "echoed key":
            raise errors.BadReply(f"the server says: wrong key {self._key}")
        text = request.messages[-1].content
        if len(text) > CONTEXT:
            raise errors.TooLong(f"{len(text)} characters")
        sampling, words = request.sampling, text.split(" ")
        said = " ".join(words[: sampling.max_tokens])
        places = [place for stop in sampling.stop if (place := said.find(stop)) >= 0]
        reason = "stop" if places else "length" if len(words) > sampling.max_tokens else "stop"
        said = said[: min(places, default=None)]
        usage = et.Usage(len(request.text.split(" ")), min(len(words), sampling.max_tokens))
        return et.Reply(said, usage, reason, "tiny-1")

    def in_batches(self):
        return self.mode == "batch"

    async def size_in_batch(self, item, request):
        return len(item) + len(request.text.encode())

    async def submit(self, requests, tag):
        batch = uuid.uuid4().hex
        PROVIDER[batch] = (tag, {name: self.answer(request) for name, request in requests.items()}, [0])
        return batch

    async def find(self, tag):
        return next((batch for batch, (own, _, _) in PROVIDER.items() if own == tag), None)

    async def collect(self, batch):
        _, results, asked = PROVIDER[batch]
        asked[0] += 1
        return et.BatchState(True, results, len(results)) if asked[0] > 1 else et.BatchState(False)


class Suite(BackendConformance):
    deterministic = True
    grace = 0.1
    made_by = Good

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def prepare(cls):
        """Keep thousands of checks quick: they collect garbage, and pytest's own objects are none."""
        gc.freeze()
        os.environ["GOOD_KEY"] = SECRET

    def make(self, **options):
        return self.made_by(**options)

    @pytest.fixture
    def backend(self):
        return self.make()

    @pytest.fixture
    def secret(self):
        return self.make(), SECRET

    @pytest.fixture
    def batches(self):
        return self.make(mode="batch")

    @pytest.fixture
    def faults(self):
        known = {
            "wrong key": errors.NotAuthorised,
            "unreachable": errors.Transient,
            "server error": errors.Transient,
            "rate limited": errors.RateLimited,
            "refused": errors.Refused,
            "echoed key": errors.BadReply,
        }

        def situated(situation):
            return lambda: self.make(situation=situation)

        return {
            **{situation: (situated(situation), error) for situation, error in known.items()},
            "too long": (situated("too long"), errors.TooLong),
            "no key": (lambda: self.make(api_key="env:THERE_IS_NO_SUCH_VARIABLE"), errors.NotAuthorised),
        }

    def belongs(self, request, reply):
        return reply.text in request.text


class TestGood(Suite):
    pass


@pytest.fixture(scope="module")
def one():
    return Good()


class TestGoodKeptOpen(Suite):
    keep_open = True

    @pytest.fixture
    def backend(self, one):
        return one


BROKEN = {}
"""Conformance class -> the checks that must fail in it; one, unless a fault is in the way of others."""


SIZES = "test_sizes_are_no_smaller_than_the_requests"
BATCH_CHECKS = {name for name in vars(BatchChecks) if name.startswith("test_")} - {SIZES}


def breaks(*checks, **attributes):
    """Decorate a backend that breaks a rule: make its conformance class."""

    def make(cls):
        name = f"Test{cls.__name__}"
        assert name not in globals()
        globals()[name] = type(name, (Suite,), {"made_by": cls, **attributes})
        BROKEN[name] = set(checks)
        return cls

    return make


def changed(reply, **fields):
    from dataclasses import replace

    return replace(reply, **fields)


@breaks("test_a_reply_is_whole")
class EarnsMoney(Good):
    async def complete(self, request):
        return changed(await super().complete(request), cost=-1.0)


@breaks("test_a_reply_is_whole")
class TokensInHalves(Good):
    async def complete(self, request):
        reply = await super().complete(request)
        return changed(reply, usage=et.Usage(reply.usage.prompt_tokens + 0.5, reply.usage.completion_tokens))


@breaks("test_latency_is_the_calls_own")
class LatencyInMilliseconds(Good):
    def answer(self, request):
        return changed(super().answer(request), latency=100.0)


@breaks("test_tokens_are_counted")
class CountsNothing(Good):
    def answer(self, request):
        return changed(super().answer(request), usage=et.Usage())


@breaks("test_max_tokens_cuts_an_answer")
class SaysNotThatItWasCut(Good):
    def answer(self, request):
        return changed(super().answer(request), finish_reason="stop")


@breaks("test_max_tokens_cuts_an_answer")
class NeverCut(Good):
    def answer(self, request):
        sampling = et.Sampling(0, 1, 1000, request.sampling.stop)
        return super().answer(et.Request(request.messages, sampling))


@breaks("test_stop_texts_end_an_answer")
class KnowsNoStop(Good):
    def answer(self, request):
        return super().answer(et.Request(request.messages, et.Sampling(0, 1, request.sampling.max_tokens)))


@breaks("test_stop_texts_end_an_answer")
class StopIsLength(Good):
    def answer(self, request):
        reply = super().answer(request)
        return changed(reply, finish_reason="length") if request.sampling.stop else reply


@breaks("test_the_same_request_gets_the_same_answer")
class SaysLessEachTime(Good):
    _calls: int = PrivateAttr(0)

    def answer(self, request):
        reply = super().answer(request)
        self._calls += 1
        return changed(reply, text=reply.text[self._calls % 4 :])


@breaks("test_the_same_request_gets_the_same_answer")
class AnotherEachTimeItIsOpened(Good):
    _openings: int = PrivateAttr(0)

    async def open(self, workload):
        self._openings += 1
        await super().open(workload)

    def answer(self, request):
        reply = super().answer(request)
        return changed(reply, text=reply.text[self._openings :]) if not self.in_batches() else reply


@breaks("test_many_requests_at_once_are_all_answered")
class AtMostFive(Good):
    async def complete(self, request):
        if self._in_flight == 5:
            raise errors.Transient("busy")
        return await super().complete(request)


@breaks("test_each_answer_belongs_to_its_request")
class TheLastRequestWins(Good):
    _request: et.Request | None = PrivateAttr(None)

    async def complete(self, request):
        self._request = request
        return await super().complete(request)

    def answer(self, request):
        return super().answer(request if self._request is None else self._request)


@breaks("test_each_answer_belongs_to_its_request", belongs=BackendConformance.belongs)
class TheLastRequestWinsAndTokensTellIt(Good):
    _turns: int = PrivateAttr(0)

    async def complete(self, request):
        reply = await super().complete(request)
        self._turns += 1
        usage = et.Usage(reply.usage.prompt_tokens + 100 * (self._turns % 2), reply.usage.completion_tokens)
        return changed(reply, usage=usage)


@breaks("test_each_answer_belongs_to_its_request", belongs=BackendConformance.belongs, usage_known=False)
class TheLastRequestWinsAndTextsTellIt(TheLastRequestWins):
    pass


@breaks("test_the_event_loop_goes_on_meanwhile")
class Blocking(Good):
    def answer(self, request):
        time.sleep(0.04)
        return super().answer(request)


@breaks("test_a_cancelled_request_ends_promptly")
class CancelledIsTransient(Good):
    async def complete(self, request):
        try:
            return await super().complete(request)
        except asyncio.CancelledError:
            raise errors.Transient("the connection was cut") from None


@breaks("test_a_cancelled_request_ends_promptly", promptness=0.1, grace=1.0)
class CancelledInItsOwnTime(Good):
    async def complete(self, request):
        try:
            return await super().complete(request)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)
            raise


@breaks("test_a_cancelled_request_disturbs_no_other")
class CancelledAtABadMoment(Good):
    _spoilt: bool = PrivateAttr(False)

    async def complete(self, request):
        if self._spoilt:
            raise errors.Transient("the connection is in an unknown state")
        try:
            return await super().complete(request)
        except asyncio.CancelledError:
            self._spoilt = True
            raise


@breaks("test_a_cancelled_request_leaves_no_task")
class ForgetsWhatItBegan(Good):
    _begun: set = PrivateAttr(default_factory=set)

    async def complete(self, request):
        try:
            return await super().complete(request)
        except asyncio.CancelledError:
            self._begun.add(asyncio.create_task(asyncio.sleep(60)))
            raise

    async def close(self):
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)
        self._begun.clear()
        await super().close()


@breaks("test_any_text_is_answered_or_settled")
class NoNul(Good):
    def answer(self, request):
        if "\0" in request.text:
            raise ValueError("embedded null byte")
        return super().answer(request)


@breaks("test_any_text_is_answered_or_settled")
class NoEmptyPrompt(Good):
    def answer(self, request):
        if not request.text:
            raise errors.FatalError("the server says: messages must not be empty")
        return super().answer(request)


@breaks("test_any_text_is_answered_or_settled")
class OnlyLatin(Good):
    def answer(self, request):
        request.text.encode("latin-1")
        return super().answer(request)


@breaks("test_any_text_is_answered_or_settled")
class NothingForNothing(Good):
    async def complete(self, request):
        return await super().complete(request) if request.text else ""


@breaks("test_any_text_is_answered_or_settled", patience=0.3)
class HangsOnNul(Good):
    async def complete(self, request):
        if request.text.startswith("before\0after"):
            await asyncio.Event().wait()
        return await super().complete(request)


@breaks("test_any_sampling_is_answered_or_settled")
class SeedsOf32Bits(Good):
    def answer(self, request):
        (request.sampling.seed or 0).to_bytes(4)
        return super().answer(request)


@breaks("test_a_prompt_of_any_length_is_answered_or_settled")
class OneTooLongStopsTheRun(Good):
    def answer(self, request):
        if len(request.text) > CONTEXT and not self.situation:
            raise errors.FatalError("the context is full")
        return super().answer(request)


@breaks("test_one_bad_request_spoils_no_other")
class SpoiltByOneTooLong(Good):
    _spoilt: bool = PrivateAttr(False)

    def answer(self, request):
        if self._spoilt:
            raise errors.Transient("the connection is in an unknown state")
        self._spoilt = len(request.text) > CONTEXT
        return super().answer(request)


@breaks("test_options_are_plain_values")
class OptionOfNoKind(Good):
    def options(self, *, with_free=True):
        return {**super().options(with_free=with_free), "made": threading.Lock()}


@breaks("test_options_are_plain_values")
class OptionThatIsNotKept(Good):
    @field_serializer("model", when_used="json")
    def shorten(self, model):
        return model[:3]


@breaks("test_options_are_frozen")
class Thawed(Good):
    model_config = ConfigDict(frozen=False)


@breaks("test_unknown_options_are_refused")
class TakesAnything(Good):
    model_config = ConfigDict(extra="ignore")


@breaks("test_identity_is_a_lasting_text")
class AnotherEachTime(Good):
    def identity(self):
        return f"{super().identity()} {uuid.uuid4()}"


@breaks("test_identity_is_a_lasting_text")
class IdentityOfBytes(Good):
    def identity(self):
        return super().identity().encode()


@breaks("test_identity_is_the_same_once_open")
class IdentityKnowsWhetherItIsOpen(Good):
    def identity(self):
        return f"{super().identity()} {self._task is not None}"


@breaks("test_identity_knows_no_free_option")
class IdentityKnowsTheThreads(Good):
    def identity(self):
        return f"{super().identity()} {self.threads}"


@breaks("test_account_is_a_lasting_text")
class NoAccount(Good):
    def account(self):
        return None


@breaks("test_account_is_a_lasting_text")
class ManyAccounts(Good):
    def account(self):
        return f"{super().account()} {id(self)}"


@breaks("test_price_is_known_before_opening")
class PriceOfANumber(Good):
    def price(self):
        return 0.4


@breaks("test_price_is_known_before_opening")
class PriceNeedsAnOpening(Good):
    _prices: dict = PrivateAttr(default_factory=dict)

    async def open(self, workload):
        await super().open(workload)
        self._prices[self.model] = et.FREE

    def price(self):
        return self._prices[self.model]


@breaks("test_secrets_are_texts")
class SecretsInAList(Good):
    def secrets(self):
        return list(super().secrets())


@breaks("test_closing_what_was_never_opened")
class ClosesOnlyWhatItOpened(Good):
    _touched: bool = PrivateAttr(False)

    async def open(self, workload):
        self._touched = True
        await super().open(workload)

    async def close(self):
        if not self._touched:
            raise AttributeError("'NoneType' object has no attribute 'close'")
        await super().close()


@breaks("test_closing_twice")
class ClosesOnce(Good):
    _opened: bool = PrivateAttr(False)
    _closed: bool = PrivateAttr(False)

    async def open(self, workload):
        self._closed = False
        await super().open(workload)
        self._opened = True

    async def close(self):
        if self._opened and self._closed and self._task is None:
            raise RuntimeError("it is closed already")
        self._closed = self._task is not None
        await super().close()


@breaks("test_asking_what_is_not_open")
class AskedTooEarly(Good):
    async def complete(self, request):
        if self._task is None:
            raise AttributeError("'NoneType' object has no attribute 'put'")
        return await super().complete(request)


@breaks("test_asking_what_is_not_open")
class AskedTooEarlySettlesTheCall(Good):
    async def complete(self, request):
        if self._task is None:
            raise errors.BadReply("the connection is closed")
        return await super().complete(request)


@breaks("test_opening_again")
class OneOpeningForEachEventLoop(Good):
    _loops: list = PrivateAttr(default_factory=list)

    async def open(self, workload):
        loop = asyncio.get_running_loop()
        if loop in self._loops:
            raise RuntimeError("it was opened before")
        await super().open(workload)
        self._loops.append(loop)


@breaks("test_opening_again")
class TwoOpenings(Good):
    _openings: int = PrivateAttr(0)

    async def open(self, workload):
        self._openings += 1
        if self._openings > 2 and self.mode == "single":
            raise RuntimeError("it is bound to a different event loop")
        await super().open(workload)


@breaks("test_an_interrupted_opening")
class InterruptedIsFatal(Good):
    async def open(self, workload):
        try:
            await super().open(workload)
        except asyncio.CancelledError:
            raise errors.FatalError("the server cannot be reached") from None


@breaks("test_an_interrupted_opening")
class HalfOpenForEver(Good):
    _opening: bool = PrivateAttr(False)

    async def open(self, workload):
        if self._opening:
            raise RuntimeError("it is being opened")
        self._opening = True
        await super().open(workload)
        self._opening = False


@breaks("test_an_interrupted_opening")
class HalfOpenCannotBeClosed(Good):
    _opening: bool = PrivateAttr(False)

    async def open(self, workload):
        try:
            await super().open(workload)
        except asyncio.CancelledError:
            self._opening = True
            raise

    async def close(self):
        if self._opening:
            raise RuntimeError("it is being opened")
        await super().close()


@breaks("test_nothing_is_left_behind")
class LeavesAThread(Good):
    async def open(self, workload):
        await super().open(workload)
        if self.mode == "single":
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


@breaks("test_nothing_is_left_behind")
class LeavesASocket(Good):
    _sockets: list = PrivateAttr(default_factory=list)

    async def open(self, workload):
        await super().open(workload)
        if self.mode == "single":
            self._sockets.append(socket.socket())


FORGOTTEN = []


@breaks("test_nothing_is_left_behind")
class LeavesASocketUnclosed(Good):
    async def open(self, workload):
        await super().open(workload)
        if self.mode == "single":
            FORGOTTEN.append(socket.socket())

    async def close(self):
        await super().close()
        FORGOTTEN.clear()


@breaks("test_nothing_is_left_behind")
class LeavesATask(Good):
    async def open(self, workload):
        await super().open(workload)
        if self.mode == "single":
            FORGOTTEN.append(asyncio.create_task(asyncio.sleep(60)))


@breaks("test_nothing_is_left_behind")
class LeavesAProcess(Good):
    _openings: int = PrivateAttr(0)

    async def open(self, workload):
        await super().open(workload)
        self._openings += 1
        if self._openings == 2 and self.mode == "single":
            multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True).start()


@breaks("test_nothing_is_printed")
class Prints(Good):
    async def open(self, workload):
        await super().open(workload)
        print("Give us feedback!")


@breaks("test_nothing_is_printed")
class PrintsBelowPython(Good):
    def answer(self, request):
        os.write(1, b"Give us feedback!")
        return super().answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class RaisesWhatItsLibraryRaises(Good):
    def answer(self, request):
        if self.situation == "server error":
            raise ConnectionError("HTTP 500")
        return super().answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class WrongKeyIsNothingSpecial(Good):
    async def open(self, workload):
        try:
            await super().open(workload)
        except errors.NotAuthorised as error:
            if self.situation == "wrong key":
                raise errors.FatalError(str(error)) from None
            raise


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class RefusedIsTransient(Good):
    def answer(self, request):
        if self.situation == "refused":
            raise errors.Transient("no")
        return super().answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class NoticesNoFault(Good):
    def answer(self, request):
        return Good(situation=self.situation.replace("refused", "")).answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class SpeechlessError(Good):
    def answer(self, request):
        if self.situation == "refused":
            raise errors.Refused("")
        return super().answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class RetryAfterAsAText(Good):
    def answer(self, request):
        if self.situation == "rate limited":
            raise errors.RateLimited("slow down", "1.5")
        return super().answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class LimitsAsADict(Good):
    def answer(self, request):
        if self.situation == "rate limited":
            raise errors.RateLimited("slow down", 1.5, {"requests_per_minute": 60})
        return super().answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class UnpaidAsAText(Good):
    def answer(self, request):
        if self.situation == "server error":
            raise errors.Transient("HTTP 500", unpaid="yes")
        return super().answer(request)


@breaks("test_a_fault_raises_the_error_that_the_core_expects")
class UsageAsANumber(Good):
    def answer(self, request):
        if self.situation == "refused":
            raise errors.Refused("no", 3)
        return super().answer(request)


@breaks("test_other_faults_raise_the_errors_that_were_named")
class UsageErrorTooLate(Good):
    def answer(self, request):
        if self.situation == "echoed key":
            raise errors.UsageError("the recipe is wrong")
        return super().answer(request)


@breaks("test_other_faults_raise_the_errors_that_were_named")
class AnotherErrorThanNamed(Good):
    async def open(self, workload):
        try:
            await super().open(workload)
        except errors.NotAuthorised as error:
            if "THERE_IS" in str(error):
                raise KeyError("THERE_IS_NO_SUCH_VARIABLE") from None
            raise


@breaks("test_closing_after_a_failed_opening")
class ClosesOnlyWhatWasOpened(Good):
    _failed: bool = PrivateAttr(False)

    async def open(self, workload):
        try:
            await super().open(workload)
        except errors.NotAuthorised:
            self._failed = True
            raise

    async def close(self):
        if self._failed:
            raise AttributeError("'NoneType' object has no attribute 'close'")
        await super().close()


@breaks("test_an_error_shows_no_secret")
class TheKeyInAnError(Good):
    async def open(self, workload):
        try:
            await super().open(workload)
        except errors.NotAuthorised as error:
            raise errors.NotAuthorised(f"{error}: {SECRET}") from None


@breaks("test_an_error_shows_no_secret")
class TheKeyInTheCauseOfAnError(Good):
    async def open(self, workload):
        try:
            await super().open(workload)
        except errors.NotAuthorised as error:
            raise error from ConnectionError(f"POST / Authorization: {SECRET}")


@breaks("test_a_secret_is_shown_nowhere")
class TheKeyInItsRepr(Good):
    def __repr__(self):
        return f"{super().__repr__()} {self._key}"


@breaks("test_a_secret_is_shown_nowhere")
class TheKeyAsAccount(Good):
    def account(self):
        return os.environ[self.api_key.removeprefix("env:")]


@breaks("test_a_secret_is_shown_nowhere")
class TheKeyInTheLog(Good):
    def answer(self, request):
        logging.getLogger("good").debug("asked with %s", self._key)
        return super().answer(request)


@breaks("test_a_secret_is_told_to_the_core")
class KeepsItsSecret(Good):
    def secrets(self):
        return ()

    def answer(self, request):
        if self.situation == "echoed key":
            raise errors.BadReply("the server says: wrong key")
        return super().answer(request)


@breaks("test_a_batch_is_answered")
class LosesAResult(Good):
    async def collect(self, batch):
        state = await super().collect(batch)
        return et.BatchState(state.ended, dict(list(state.results.items())[1:]), state.answered)


@breaks("test_a_batch_is_answered")
class TakesNoBatch(Good):
    async def collect(self, batch):
        return et.BatchState(True, failed="the file is too large")


@breaks(*BATCH_CHECKS)
class BatchWithoutAnId(Good):
    async def submit(self, requests, tag):
        await super().submit(requests, tag)


@breaks(*BATCH_CHECKS - {"test_a_batch_is_found_by_its_tag"})
class CollectsADict(Good):
    async def collect(self, batch):
        return PROVIDER[batch][1]


@breaks(*BATCH_CHECKS - {"test_a_batch_is_found_by_its_tag"})
class CollectsTexts(Good):
    async def collect(self, batch):
        state = await super().collect(batch)
        return et.BatchState(state.ended, {name: reply.text for name, reply in state.results.items()}, state.answered)


@breaks(*BATCH_CHECKS - {"test_a_batch_is_found_by_its_tag"}, patience=0.1)
class BatchWithoutAnEnd(Good):
    async def collect(self, batch):
        return et.BatchState(False)


@breaks("test_a_batch_is_answered")
class ABatchOfErrors(Good):
    async def submit(self, requests, tag):
        batch = await super().submit(requests, tag)
        PROVIDER[batch][1].update({name: errors.BadReply("no") for name in requests})
        return batch


@breaks("test_each_result_belongs_to_its_request")
class SwapsResults(Good):
    async def collect(self, batch):
        state = await super().collect(batch)
        swapped = dict(zip(state.results, reversed(state.results.values()), strict=True))
        return et.BatchState(state.ended, swapped, state.answered)


@breaks(SIZES)
class CountsCharactersInABatch(Good):
    async def size_in_batch(self, item, request):
        return len(request.text)


@breaks(SIZES)
class SetsABoundAndNoSizes(Good):
    size_in_batch = et.Backend.size_in_batch


@breaks("test_batches_leave_nothing_behind")
class LeavesASocketForBatches(Good):
    _sockets: list = PrivateAttr(default_factory=list)

    async def submit(self, requests, tag):
        self._sockets.append(socket.socket())
        return await super().submit(requests, tag)


@breaks("test_a_batch_is_found_by_its_tag")
class FindsNothing(Good):
    async def find(self, tag):
        return None


@breaks("test_a_batch_is_found_by_its_tag")
class FindsTheLast(Good):
    async def find(self, tag):
        return list(PROVIDER)[-1]


@breaks("test_a_batch_outlives_its_submitter")
class RemembersItsOwnBatchesOnly(Good):
    _own: set = PrivateAttr(default_factory=set)

    async def submit(self, requests, tag):
        batch = await super().submit(requests, tag)
        self._own.add(batch)
        return batch

    async def collect(self, batch):
        if batch not in self._own:
            raise KeyError(batch)
        return await super().collect(batch)


@breaks("test_a_batch_outlives_its_submitter")
class CollectsOnce(Good):
    async def collect(self, batch):
        state = await super().collect(batch)
        if PROVIDER[batch][2][0] > 2:
            return et.BatchState(True)
        return state
