"""``transformers``: any Hugging Face checkpoint, in process; concurrent calls are answered in batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.batching import Generator, Job, Worker, out_of_memory, release_memory
from evolteacher_backends.checkpoint import contents
from evolteacher_backends.model_terms import terms_of_model
from evolteacher_backends.quiet import quiet

ALPACA_PREFACE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
ALPACA_INSTRUCTION = "### Instruction:\n"
ALPACA_RESPONSE = "### Response:"
"""The prompt form of Stanford Alpaca, which WizardCoder and nickrosh/Evol-Teacher train with."""

_CONFIGURATIONS = ("config.json", "adapter_config.json")
"""A checkpoint has one of these; the second is a LoRA adapter's, whose base model peft loads."""


class Transformers(et.Backend, name="transformers"):
    """Answer with a Hugging Face causal language model, loaded in this process.

    Takes a hub name or a folder, such as a model that was just tuned. Needs the extra `transformers`.

    Concurrent calls are answered together, up to `batch_size` at once. Each has its own temperature, top_p, length,
    stop texts and random numbers; greedy answers are the same alone and in a batch, up to floating-point error. With
    a `seed` in the sampling, so are drawn ones. A checkpoint's own sampling defaults (top_k, repetition penalty) are
    not used: what the recipe says is all there is.

    A prompt is put into the model's chat template; a model without one gets the Alpaca form. A request that does not
    fit the model's positions is `too long` before it is computed. Usage counts the model's tokens, the end token
    included, without padding.
    """

    model: str = Field(min_length=1, description="A folder, or a name on the Hugging Face hub (`owner/name`).")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    gguf_file: str | None = Field(None, description="Name of a GGUF file in the folder, to be dequantised.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format; auto: the checkpoint's own, and float32 on a CPU, where it is quicker."
    )
    form: Literal["auto", "chat", "alpaca"] = Field(
        "auto", description="Prompt form; auto: the chat template where the tokenizer has one, else Alpaca."
    )
    template_options: dict[str, Any] = Field(
        default_factory=dict, description="Handed to the chat template, such as `enable_thinking: false`."
    )
    trust_remote_code: bool = Field(False, description="Run Python code that the checkpoint brings along.")
    device: str = et.free("auto", description="`cuda`, `cuda:1`, `mps`, `cpu`; auto: the first of these there is.")
    batch_size: int = et.free(16, ge=1, description="Most requests computed at once; halved when memory runs out.")
    threads: int | None = et.free(
        None,
        ge=1,
        description="CPU threads, of the whole process; unset: torch's choice. On cores shared with others, 1 can be "
        "several times as quick as more.",
    )
    wait: float = et.free(0.02, ge=0, le=10, description="Seconds that a batch waits for company.")

    _worker: Worker | None = PrivateAttr(None)
    _tokenizer: Any = PrivateAttr(None)
    _positions: int | None = PrivateAttr(None)

    primary: ClassVar[str] = "model"

    def identity(self) -> str:
        """Return name and not-free options, and of a folder also what tells its files from another training's."""
        digest = contents(Path(self.model).expanduser())
        return json.dumps([self.name, self.options(with_free=False), digest], sort_keys=True)

    def price(self) -> et.Price:
        """Return that tokens cost nothing."""
        return et.FREE

    def terms(self) -> str:
        """Return the licence of the weights, where the model's name tells it."""
        return terms_of_model(self.model)

    async def open(self, workload: et.Workload) -> None:
        """Load tokenizer and model.

        Raises:
            MissingExtra: torch or transformers is not installed.
            NoSuchModel: neither a folder nor a name that the hub knows (or that lies in its cache, when offline).
            NotAuthorised: the hub wants a token or a licence accepted.
            FatalError: it cannot be loaded, or has too few positions for the workload's `max_tokens`.
        """
        await self.close()
        generator = await asyncio.to_thread(self._load)
        if self._positions is not None and workload.max_tokens >= self._positions:
            raise errors.FatalError(
                f"backend 'transformers': '{self.model}' has {self._positions} positions and sampling.max_tokens is "
                f"{workload.max_tokens}, which leaves no room for a prompt: set a smaller max_tokens"
            )
        self._worker = Worker(generator, self._prepare, self.batch_size, self.wait)

    async def complete(self, request: et.Request) -> et.Reply:
        """Answer; see the class for how.

        Raises:
            TooLong: prompt and max_tokens together exceed the model's positions.
            FatalError: the device's memory holds not even one request, or the model breaks down.
        """
        if self._worker is None:
            raise errors.FatalError("backend 'transformers' is not open")
        return await self._worker.ask(request)

    async def close(self) -> None:
        """End what is being computed and free the model's memory."""
        worker, self._worker, self._tokenizer = self._worker, None, None
        if worker is not None:
            await asyncio.to_thread(worker.stop)
            del worker
            release_memory()

    def _load(self) -> Generator:
        try:
            import torch
            import transformers
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "transformers"):
                raise
            raise errors.MissingExtra("backend 'transformers'", "transformers") from None
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        device = self._device(torch)
        options: dict[str, Any] = {"revision": self.revision, "trust_remote_code": self.trust_remote_code}
        folder = Path(self.model).expanduser()
        name = self.model
        if folder.is_dir():
            name, options["local_files_only"] = str(folder), True
            if self.gguf_file is None and not any((folder / each).is_file() for each in _CONFIGURATIONS):
                raise errors.NoSuchModel(
                    f"backend 'transformers': folder '{self.model}' holds no config.json, so it is no checkpoint: give "
                    "the one to which save_pretrained wrote, or name the gguf_file"
                )
        if self.gguf_file is not None:
            options["gguf_file"] = self.gguf_file
        with quiet(), self._explained():
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
            dtype = "float32" if self.dtype == "auto" and device.startswith("cpu") else self.dtype
            model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **options)
            model = model.to(device).eval()
        if self.form == "chat" and not self._tokenizer.chat_template:
            raise errors.FatalError(f"backend 'transformers': '{self.model}' has no chat template: set form: alpaca")
        ends = _end_tokens(model, self._tokenizer)
        # generate() fills whatever it is not given from here.
        model.generation_config = transformers.GenerationConfig()
        self._positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        return Generator(model, self._tokenizer, self.model, ends)

    def _device(self, torch: Any) -> str:
        if self.device != "auto":
            return self.device
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> errors.EvolteacherError:
        """Turn what the loading of a checkpoint raised into an error that says what to do."""
        kinds = {type(cause).__name__ for cause in _causes(error)}
        text = " ".join(str(error).split())
        short = text if len(text) <= 300 else f"{text[:300]}…"
        where = f"backend 'transformers': '{self.model}'"
        if isinstance(error, ImportError):
            return errors.FatalError(f"{where} needs a package that is not there: {short}")
        if "GatedRepoError" in kinds or "gated repo" in text:
            return errors.NotAuthorised(
                f"{where} is gated: accept its licence on the hub and set HF_TOKEN, or give the folder of a copy"
            )
        if "trust_remote_code" in text:
            return errors.FatalError(
                f"{where} brings Python code of its own, which would be run: read it, then set trust_remote_code: true"
            )
        if out_of_memory(error):
            return errors.FatalError(f"{where} does not fit into memory: try dtype: bfloat16, or a smaller model")
        if isinstance(error, OSError) or kinds & {"HFValidationError", "RepositoryNotFoundError"}:
            return errors.NoSuchModel(
                f"{where} cannot be loaded: give a folder that holds config.json, tokenizer and weights, or a name on "
                f"the hub (which must be reachable, or have been fetched before). transformers says: {short}"
            )
        return errors.FatalError(f"{where} cannot be loaded: {type(error).__name__}: {short}")

    def _prepare(self, job: Job) -> None:
        """Form the prompt's tokens; called in the worker's thread, the only one to touch the tokenizer."""
        messages = job.request.messages
        sampling = job.request.sampling
        if self.form == "alpaca" or not self._tokenizer.chat_template:
            job.prompt = self._tokenizer(alpaca_prompt(messages))["input_ids"]
            job.stop = (*sampling.stop, f"\n{ALPACA_INSTRUCTION}")
        else:
            text = self._tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in messages],
                tokenize=False,
                add_generation_prompt=True,
                **self.template_options,
            )
            # The template has put in all special tokens itself.
            job.prompt = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            job.stop = sampling.stop
        room = self._positions
        if room is not None and len(job.prompt) + sampling.max_tokens > room:
            raise errors.TooLong(
                f"the prompt's {len(job.prompt)} tokens and max_tokens {sampling.max_tokens} exceed the {room} "
                f"positions of '{self.model}'"
            )


def alpaca_prompt(messages: tuple[et.Message, ...]) -> str:
    """Write messages in the Alpaca form; a system message takes the preface's place."""
    system = [message.content for message in messages if message.role == "system"]
    parts = ["\n\n".join(system) or ALPACA_PREFACE]
    for message in messages:
        if message.role == "assistant":
            parts.append(f"{ALPACA_RESPONSE}\n{message.content}")
        elif message.role != "system":
            parts.append(f"{ALPACA_INSTRUCTION}{message.content}")
    return "\n\n".join([*parts, ALPACA_RESPONSE])


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the tokenizer's word and by the checkpoint's (a number or a list)."""
    told = getattr(model.generation_config, "eos_token_id", None)
    listed = told if isinstance(told, list) else [told]
    return frozenset(int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring the transformers backend."""
    return [Transformers]
