"""A model that the engine has loaded, answering requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from typing import Any, TypeVar

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.vllm_engine.adapter import Adapter
from evolteacher_backends.vllm_engine.faults import explain_death, shorten
from evolteacher_backends.vllm_engine.process import EngineProcess
from evolteacher_backends.vllm_engine.prompts import PromptWriter

T = TypeVar("T")

_TOLD_WITHIN = 1.0
"""Seconds after the engine's death within which vLLM itself tells requests of it, those that it tells."""


@dataclass
class Serving:
    """Answers with an engine that has started.

    Attributes:
        engine: the engine.
        prompts: puts messages into the model's form.
        name: what replies carry as their model.
        timeout: seconds that a call may take; None for any number.
        lora: vLLM's request for the adapter that answers; None for the model itself.
        cached: prompt tokens that did not have to be computed, as others had begun alike.
        prompted: prompt tokens in all.
    """

    engine: EngineProcess
    prompts: PromptWriter
    name: str
    timeout: float | None = None
    lora: Any = None
    cached: int = 0
    prompted: int = 0
    _numbers: Any = field(default_factory=count)
    _under_way: set[asyncio.Timeout] = field(default_factory=set)

    @property
    def context(self) -> int:
        """Most tokens of prompt and answer together, as the memory allows."""
        return int(self.engine.llm.model_config.max_model_len)

    async def begin(self) -> None:
        """Make sure that the engine answers, and notice from now on when it dies.

        Raises:
            FatalError: it has died.
        """
        self.engine.watch(self._on_death)
        await self._while_it_lives(self.engine.llm.get_supported_tasks(), None)

    def _on_death(self) -> None:
        loop = asyncio.get_running_loop()

        def give_up() -> None:
            for limit in self._under_way:
                limit.reschedule(loop.time())

        loop.call_later(_TOLD_WITHIN, give_up)

    async def _while_it_lives(self, work: Awaitable[T], seconds: float | None) -> T:
        """Await what the engine is to do.

        Raises:
            TimeoutError: the seconds have passed.
            FatalError: the engine has died.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                self._under_way.add(limit)
                try:
                    return await work
                finally:
                    self._under_way.discard(limit)
        except TimeoutError:
            if self.engine.dead:
                raise explain_death(self.name, self.engine) from None
            raise

    async def load(self, adapter: Adapter, given: str) -> None:
        """Load an adapter; from then on it answers.

        Args:
            adapter: as it lies on disk.
            given: how the recipe calls it.

        Raises:
            FatalError: it does not fit the model, or is of a kind that vLLM does not serve.
        """
        from vllm.lora.request import LoRARequest

        lora = LoRARequest("adapter", 1, str(adapter.folder))
        try:
            await self._while_it_lives(self.engine.llm.add_lora(lora), None)
        except errors.FatalError:
            raise
        except Exception as error:
            if self.engine.dead:
                raise explain_death(self.name, self.engine) from error
            raise errors.FatalError(
                f"backend 'vllm': lora: '{given}' cannot be served on '{self.name}': it was trained on another model, "
                f"or has parts that only a merge can take over. vLLM says: {shorten(str(error))}"
            ) from error
        self.lora, self.name = lora, given

    async def answer(self, request: et.Request) -> et.Reply:
        """Answer one request; cancelled, it is taken out of the engine's batch.

        Raises:
            TooLong: prompt and max_tokens together exceed the context.
            BadReply: the chat template does not take such messages, or vLLM such a request.
            Transient: the time-out passed, the engine gave the request up, or was closed meanwhile.
            FatalError: the engine has died.
        """
        from vllm.exceptions import VLLMClientError

        prompt = self.prompts.tokens(request.messages)
        most, room = request.sampling.max_tokens, self.context
        if len(prompt) + most > room:
            raise errors.TooLong(
                f"the prompt's {len(prompt):,} tokens and max_tokens {most:,} exceed the context of {room:,} tokens"
            )
        started = time.perf_counter()
        try:
            output = await self._while_it_lives(self._last_output(prompt, request), self.timeout)
        except errors.FatalError:
            raise
        except TimeoutError:
            message = f"'{self.name}' gave no answer within {self.timeout:g} s"
            raise errors.Transient(message, unpaid=True) from None
        except VLLMClientError as error:
            raise errors.BadReply(f"vLLM does not take this request: {shorten(str(error))}") from error
        except Exception as error:
            raise self._fault(f": {type(error).__name__}: {shorten(str(error.__cause__ or error))}") from error
        (answer,) = output.outputs
        if answer.finish_reason in ("abort", "error"):
            raise self._fault("")
        self.cached += output.num_cached_tokens or 0
        self.prompted += len(prompt)
        usage = et.Usage(len(prompt), len(answer.token_ids))
        latency = time.perf_counter() - started
        return et.Reply(answer.text, usage, answer.finish_reason or "stop", self.name, latency)

    def say_what_was_cached(self) -> None:
        """Write into the log what prefix caching was good for."""
        share = self.cached / self.prompted if self.prompted else 0.0
        logger = logging.getLogger("vllm.evolteacher")  # below vLLM's own, whose messages the log takes
        logger.info("prefix cache: %.0f %% of %d prompt tokens were not computed again", 100 * share, self.prompted)

    async def _last_output(self, prompt: list[int], request: et.Request) -> Any:
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        sampling = request.sampling
        parameters = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop=[*filter(None, sampling.stop), *self.prompts.stop],
            seed=None if sampling.seed is None else seed_of(sampling.seed, prompt),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        number = f"{request.slot}#{next(self._numbers)}"
        outputs = self.engine.llm.generate(tokens_input(prompt), parameters, number, lora_request=self.lora)
        return [output async for output in outputs][-1]

    def _fault(self, said: str) -> errors.BackendError:
        if self.engine.llm is None:
            return errors.Transient("backend 'vllm' was closed while it answered", unpaid=True)
        if self.engine.dead:
            return explain_death(self.name, self.engine)
        return errors.Transient(f"vLLM gave the request up{said}", unpaid=True)


def seed_of(seed: int, prompt: list[int]) -> int:
    """Return the seed of one request's random numbers, from 0 to 2**63 - 1.

    The prompt takes part: requests of one seed would otherwise all draw by the same numbers, and all lineages alike.
    """
    digest = blake2b(f"{seed} {prompt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
