"""Batched generation with a Hugging Face model: a queue, one worker thread, and each row's own sampling.

The rows of a batch share nothing but the forward passes: temperature, top_p, length, stop texts and random numbers are
each row's own, so that who happens to be in the same batch changes an answer by no more than floating-point error.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import evolteacher as et
from evolteacher import errors

NUCLEUS = 1024
"""So many of the likeliest tokens are looked at first; most nuclei are smaller, and sorting a vocabulary is slow."""


class NotFinite(Exception):
    """The model's scores hold no finite number."""


@dataclass(eq=False)
class Job:
    """One request on its way through the worker.

    Attributes:
        request: what was asked.
        future: where the answer goes, on the event loop that it belongs to.
        prompt: the prompt's tokens; set by the worker.
        stop: texts that end the answer.
        tokens: what was generated so far.
        ended: why generation is over: ``stop``, ``length`` or ``cancelled``; empty while it is not.
    """

    request: et.Request
    future: asyncio.Future[et.Reply]
    prompt: list[int] = field(default_factory=list)
    stop: tuple[str, ...] = ()
    tokens: list[int] = field(default_factory=list)
    ended: str = ""
    started: float = 0.0
    _random: random.Random = field(default_factory=random.Random)

    def start(self) -> None:
        """Begin anew: nothing generated, and the random numbers that the sampling's seed and the prompt give."""
        self.tokens, self.ended, self.started = [], "", time.perf_counter()
        seed = self.request.sampling.seed
        # The prompt takes part, since rows of one seed would otherwise all draw the same numbers.
        self._random = random.Random(None if seed is None else f"{seed} {self.prompt}")

    def draw(self) -> float:
        """Return the next random number in [0, 1); every step takes one."""
        return self._random.random()

    def settle(self, answer: et.Reply | errors.BackendError) -> None:
        """Hand the answer over; called in the worker thread."""

        def hand_over() -> None:
            if not self.future.done():
                if isinstance(answer, et.Reply):
                    self.future.set_result(answer)
                else:
                    self.future.set_exception(answer)

        self.ended = self.ended or "stop"
        loop = self.future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(hand_over)


class Generator:
    """A loaded model that answers batches.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer.
        name: what replies carry as their model.
        ends: tokens that end an answer.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, ends: frozenset[int]) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.ends = ends
        self.stopping = False

    def answer(self, jobs: Sequence[Job]) -> None:
        """Generate for all jobs at once; each is settled as soon as its own answer is complete.

        Raises:
            NotFinite: the model broke down numerically.
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        for job in jobs:
            job.start()
        longest = max(len(job.prompt) for job in jobs)
        pad = min(self.ends, default=0)
        rows = [[pad] * (longest - len(job.prompt)) + job.prompt for job in jobs]
        mask = [[0] * (longest - len(job.prompt)) + [1] * len(job.prompt) for job in jobs]
        device = self.model.device
        config = GenerationConfig(
            max_new_tokens=max(job.request.sampling.max_tokens for job in jobs),
            do_sample=False,  # the next token is picked below, row by row
            pad_token_id=pad,
        )
        with torch.inference_mode():
            self.model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
                generation_config=config,
                logits_processor=LogitsProcessorList([_Pick(jobs)]),
                stopping_criteria=StoppingCriteriaList([_Watch(jobs, self.take)]),
            )

    def take(self, job: Job, token: int) -> None:
        """Add one token to an answer, and settle it when that was the last."""
        if job.ended:
            return
        job.tokens.append(token)
        if self.stopping or job.future.cancelled():
            job.ended = "cancelled"
        elif token in self.ends or self._has_stop(job):
            job.ended = "stop"
        elif len(job.tokens) >= job.request.sampling.max_tokens:
            job.ended = "length"
        if job.ended in ("stop", "length"):
            job.settle(self._reply(job))

    def _has_stop(self, job: Job) -> bool:
        if not job.stop:
            return False
        # A token is at least one byte of text, so the stop text that the last token completes begins within these.
        tail = self._decode(job.tokens[-max(len(text.encode()) for text in job.stop) - 4 :])
        return any(text in tail for text in job.stop)

    def _reply(self, job: Job) -> et.Reply:
        text = self._decode([token for token in job.tokens if token not in self.ends])
        cuts = [place for place in map(text.find, job.stop) if place >= 0]
        usage = et.Usage(len(job.prompt), len(job.tokens))
        return et.Reply(text[: min(cuts, default=None)], usage, job.ended, self.name, time.perf_counter() - job.started)

    def _decode(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class _Watch:
    """A stopping criterion of ``generate``: shows each row's new token to ``take``, and says which rows are done."""

    def __init__(self, jobs: Sequence[Job], take: Callable[[Job, int], None]) -> None:
        self._jobs = jobs
        self._take = take

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        for job, token in zip(self._jobs, input_ids[:, -1].tolist(), strict=True):
            self._take(job, token)
        return torch.tensor([bool(job.ended) for job in self._jobs], device=input_ids.device)


class _Pick:
    """A logits processor that picks each row's next token and leaves no other possible.

    Nucleus sampling (arXiv 1904.09751) by inversion: one random number a row and step, held against the cumulated
    probabilities of the smallest set of tokens whose mass reaches top_p.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._nucleus = [n for n, job in enumerate(jobs) if _sampled(job) and job.request.sampling.top_p < 1]
        self._whole = [n for n, job in enumerate(jobs) if _sampled(job) and job.request.sampling.top_p >= 1]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        if not bool(torch.isfinite(scores.amax(-1)).all()):
            raise NotFinite
        chosen = scores.argmax(-1)
        if self._nucleus:
            chosen[self._nucleus] = self._from_nucleus(scores)
        if self._whole:
            mass = self._probabilities(scores, self._whole).cumsum(-1)
            chosen[self._whole] = _invert(mass, mass[:, -1], self._draws(scores, self._whole))
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen[:, None], 0.0)

    def _from_nucleus(self, scores: Any) -> Any:
        import torch

        rows = self._nucleus
        probabilities = self._probabilities(scores, rows)
        top_p = torch.tensor([self._jobs[n].request.sampling.top_p for n in rows], device=scores.device)[:, None]
        best, tokens = probabilities.topk(min(NUCLEUS, probabilities.shape[-1]))
        mass = best.cumsum(-1)
        if bool((mass[:, -1:] < top_p).any()):
            best, tokens = probabilities.sort(dim=-1, descending=True)
            mass = best.cumsum(-1)
        last = (mass < top_p).sum(-1).clamp(max=mass.shape[-1] - 1)
        total = mass.gather(1, last[:, None])[:, 0]
        return tokens.gather(1, _invert(mass, total, self._draws(scores, rows))[:, None])[:, 0]

    def _probabilities(self, scores: Any, rows: list[int]) -> Any:
        import torch

        heat = torch.tensor([self._jobs[n].request.sampling.temperature for n in rows], device=scores.device)
        chosen = scores[rows].float()
        # With the best score at 0, no temperature above 0 is so small that the division overflows upwards.
        return ((chosen - chosen.amax(-1, keepdim=True)) / heat[:, None]).softmax(-1)

    def _draws(self, scores: Any, rows: list[int]) -> Any:
        import torch

        return torch.tensor([self._jobs[n].draw() for n in rows], device=scores.device)


def _invert(mass: Any, total: Any, draws: Any) -> Any:
    """Return the first place where each row's cumulated mass exceeds its draw's share of the total."""
    import torch

    places = torch.searchsorted(mass, (draws * total)[:, None], right=True)[:, 0]
    # Rounding can put the draw at the total itself, beyond which lie only tokens outside of the nucleus.
    return torch.minimum(places, (mass < total[:, None]).sum(-1))


def _sampled(job: Job) -> bool:
    return job.request.sampling.temperature > 0


class Worker:
    """A thread that takes jobs off a queue, a batch at a time, in the order in which they came.

    Args:
        generator: the model.
        prepare: fills in a job's prompt and stop texts, or raises a backend error.
        batch_size: most rows at once; halved for good when the memory does not hold them.
        wait: seconds that a batch waits for company after its first job.
    """

    def __init__(self, generator: Generator, prepare: Callable[[Job], None], batch_size: int, wait: float) -> None:
        self.batch_size = batch_size
        self._generator = generator
        self._prepare = prepare
        self._wait = wait
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="evolteacher-transformers", daemon=True)
        self._thread.start()

    async def ask(self, request: et.Request) -> et.Reply:
        """Queue a request and wait for its answer; cancelling ends its row at the next token."""
        future: asyncio.Future[et.Reply] = asyncio.get_running_loop().create_future()
        self._queue.put(Job(request, future))
        return await future

    def stop(self) -> None:
        """End the running batch at its next token, refuse what is queued, and end the thread."""
        self._generator.stopping = True
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            jobs, open_ = self._with_company(first)
            ready = [job for job in jobs if self._is_ready(job)]
            while ready:
                self._answer(ready[: self.batch_size])
                ready = [job for job in ready if not job.ended]
            if not open_:
                return

    def _with_company(self, first: Job) -> tuple[list[Job], bool]:
        jobs, deadline = [first], time.monotonic() + self._wait
        while len(jobs) < self.batch_size:
            try:
                job = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
        return jobs, True

    def _is_ready(self, job: Job) -> bool:
        if job.future.cancelled():
            return False
        try:
            if self._generator.stopping:
                raise errors.Transient("backend 'transformers' was closed before it could answer")
            self._prepare(job)
        except errors.BackendError as error:
            job.settle(error)
        except Exception as error:  # the thread must live on, and the asker must learn of it
            job.settle(errors.FatalError(f"backend 'transformers' cannot form the prompt: {_first_line(error)}"))
        return not job.ended

    def _answer(self, jobs: list[Job]) -> None:
        failure: errors.BackendError = errors.FatalError("backend 'transformers': generation ended before its time")
        try:
            self._generator.answer(jobs)
        except Exception as error:  # the thread must live on, and every asker must learn of it
            crowded = out_of_memory(error) and len(jobs) > 1
            failure = self._explain(error)
        else:
            crowded = False
        if crowded:
            # Only here, where the exception and the tensors in its frames are gone, can their memory be given back.
            self.batch_size = len(jobs) // 2
            release_memory()
            return
        for job in jobs:
            if job.ended == "cancelled":
                job.settle(errors.Transient("backend 'transformers' was closed before the answer was complete"))
            elif not job.ended:
                job.settle(failure)

    def _explain(self, error: Exception) -> errors.FatalError:
        model = self._generator.name
        if out_of_memory(error):
            return errors.FatalError(
                f"backend 'transformers': {self._generator.model.device} has too little memory for '{model}' with a "
                "single request: take a smaller model, dtype: bfloat16, or a smaller sampling.max_tokens"
            )
        if isinstance(error, NotFinite):
            return errors.FatalError(
                f"backend 'transformers': '{model}' computed no finite numbers; with float16 that means overflow: "
                "set dtype: float32 or bfloat16; otherwise its weights are damaged"
            )
        return errors.FatalError(f"backend 'transformers': '{model}' failed to generate: {_first_line(error)}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory is full."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "not enough memory" in text)


def release_memory() -> None:
    """Give freed memory back to the device."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
