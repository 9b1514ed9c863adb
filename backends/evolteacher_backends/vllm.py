"""``vllm``: vLLM's engine in this process; all concurrent calls share its continuous batches."""

from __future__ import annotations

import asyncio
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.checkpoint import contents
from evolteacher_backends.model_terms import terms_of_model
from evolteacher_backends.vllm_engine.adapter import CONFIGURATION, find_adapter, read_adapter
from evolteacher_backends.vllm_engine.faults import explain_start
from evolteacher_backends.vllm_engine.log import EngineLog
from evolteacher_backends.vllm_engine.process import EngineProcess
from evolteacher_backends.vllm_engine.prompts import PromptWriter, read_template
from evolteacher_backends.vllm_engine.serving import Serving
from evolteacher_backends.vllm_engine.settings import SET_BY, engine_arguments


class VLLM(et.Backend, name="vllm"):
    """Answer with vLLM's engine, in this process. Needs the extra `vllm`; docs/vllm.md says how to install it.

    Takes a hub name or a folder, and a LoRA adapter on top of it. Concurrent calls are batched continuously, so give
    the recipe a `concurrency` of some dozens to hundreds. Options of the engine bear vLLM's own names; those not listed
    here go into `engine`.

    A checkpoint's own sampling defaults (top_k, repetition penalty) are not used: what the recipe says is all there
    is. Greedy answers, and drawn ones with a `seed` in the sampling, repeat themselves up to floating-point error,
    which hangs on what else is in the batch; `VLLM_BATCH_INVARIANT=1` in the environment rules that out where vLLM
    supports it. A request that does not fit the context is `too long` before it is computed.
    """

    model: str = Field(min_length=1, description="A folder, or a name on the Hugging Face hub (`owner/name`).")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    tokenizer: str | None = Field(None, description="Folder or hub name of a tokenizer in place of the model's own.")
    lora: str | None = Field(None, description="A LoRA adapter: the folder to which peft saved it, or a hub name.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format; auto: the checkpoint's own, and float16 for one in float32 on a GPU."
    )
    quantization: str | None = Field(
        None, description="Such as `awq`, `gptq`, `fp8` or `bitsandbytes`; unset: what the checkpoint says of itself."
    )
    kv_cache_dtype: str = Field("auto", description="Number format of the KV cache, such as `fp8`; auto: the model's.")
    max_model_len: int | None = Field(
        None,
        ge=1,
        description="Most tokens of prompt and answer together; unset: what the model takes and the memory holds.",
    )
    form: Literal["auto", "chat", "alpaca"] = Field(
        "auto", description="Prompt form; auto: the chat template where there is one, else Alpaca."
    )
    chat_template: str | None = Field(
        None, description="A template in place of the tokenizer's: Jinja text, or the path of a file."
    )
    template_options: dict[str, Any] = Field(
        default_factory=dict, description="Handed to the chat template, such as `enable_thinking: false`."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that the checkpoint brings along. Off, for it can do whatever you can."
    )
    engine: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of vLLM's engine, by their own names (`AsyncEngineArgs`)."
    )
    tensor_parallel_size: int = et.free(1, ge=1, description="GPUs that each layer is spread over.")
    pipeline_parallel_size: int = et.free(1, ge=1, description="Groups of GPUs that the layers are spread over.")
    data_parallel_size: int = et.free(1, ge=1, description="Copies of the model, each on GPUs of its own.")
    gpu_memory_utilization: float | None = et.free(
        None, gt=0, le=1, description="Share of a GPU's memory that vLLM takes; unset: its own default, 0.92."
    )
    kv_cache_memory_bytes: int | None = et.free(
        None, ge=1, description="Bytes for the KV cache; unset: what is left of the above, and 4 GiB on a CPU."
    )
    cpu_offload_gb: float = et.free(0.0, ge=0, description="GiB of each GPU's weights that are kept in main memory.")
    max_num_seqs: int | None = et.free(
        None, ge=1, description="Requests computed at once; unset: the recipe's concurrency, or more."
    )
    max_num_batched_tokens: int | None = et.free(
        None, ge=1, description="Tokens computed in one step; unset: vLLM's choice for the device."
    )
    enforce_eager: bool = et.free(
        False, description="Neither compile nor record CUDA graphs: starts sooner, answers more slowly."
    )
    enable_prefix_caching: bool = et.free(True, description="Compute what prompts begin with alike only once.")
    download_dir: str | None = et.free(None, description="Where files from the hub are kept; unset: the hub's cache.")
    timeout: float | None = et.free(
        None, gt=0, description="Seconds after which a call is given up, to be asked again; unset: never."
    )
    log: str | None = et.free(
        None, description="File for vLLM's own messages; unset: a temporary one, kept only where the engine fails."
    )

    _engine: EngineProcess | None = PrivateAttr(None)
    _serving: Serving | None = PrivateAttr(None)

    primary: ClassVar[str] = "model"

    @field_validator("engine")
    @classmethod
    def _check_engine(cls, engine: dict[str, Any]) -> dict[str, Any]:
        for name in engine:
            if name in cls.model_fields and name != "engine":
                raise ValueError(f"'{name}' is an option of its own: write it beside engine, not in it")
            if name in SET_BY:
                raise ValueError(f"'{name}' does not go into engine: it is set by {SET_BY[name]}")
        return engine

    def identity(self) -> str:
        """Return name and not-free options, and what tells the files of model, adapter and template from others.

        Raises:
            UsageError: the template's file is not there.
        """
        folders = [Path(name).expanduser() for name in (self.model, self.lora) if name is not None]
        parts = [self.name, self.options(with_free=False), [contents(folder) for folder in folders]]
        return json.dumps([*parts, read_template(self.chat_template)], sort_keys=True)

    def price(self) -> et.Price:
        """Nothing: the model runs on the user's own machine."""
        return et.FREE

    def terms(self) -> str:
        """Return the licence of the weights, where the model's name tells it."""
        return terms_of_model(self.model)

    @property
    def prefix_cache_hit_rate(self) -> float:
        """Share of the prompts' tokens that were not computed, since an earlier prompt began alike; 0 when closed."""
        serving = self._serving
        return serving.cached / serving.prompted if serving is not None and serving.prompted else 0.0

    async def open(self, workload: et.Workload) -> None:
        """Load the model: half a minute for small ones, many minutes for large ones.

        Raises:
            MissingExtra: vllm is not installed.
            UsageError: the chat template's file is not there.
            NoSuchModel: neither a folder nor a name that the hub knows (or that lies in its cache, when offline).
            NotAuthorised: the hub wants a token or a licence accepted.
            FatalError: an unknown argument in ``engine``, options that do not go together, no device, too little
                memory, no chat template where one is asked for, or too short a context for the workload.
        """
        await self.close()
        self._check_folder()
        template = read_template(self.chat_template)
        found = find_spec("vllm")
        if found is None or found.origin is None:  # without an origin it is a mere folder of that name
            raise errors.MissingExtra("backend 'vllm'", "vllm")
        adapter = read_adapter(await asyncio.to_thread(find_adapter, self.lora)) if self.lora is not None else None
        options = {name: getattr(self, name) for name in type(self).model_fields}
        engine = self._engine = EngineProcess(self._make_log())
        try:
            await engine.start(lambda: engine_arguments(options, self.engine, workload, adapter))
            prompts = PromptWriter(engine.llm.get_tokenizer(), self.form, template, self.template_options)
            serving = Serving(engine, prompts, self.model, self.timeout)
            await serving.begin()
            self._check_context(serving.context, workload)
            if adapter is not None:
                await serving.load(adapter, str(self.lora))
        except Exception as error:
            explained = explain_start(error, self.model, engine)
            await self.close()
            raise explained from (error if explained is not error else error.__cause__)
        except BaseException:
            await self.close()
            raise
        self._serving = serving

    async def complete(self, request: et.Request) -> et.Reply:
        """Answer one request; see the class for how. Cancelled, it is taken out of the engine's batch.

        Raises:
            TooLong: prompt and max_tokens together exceed the context.
            BadReply: the chat template does not take such messages, or vLLM such a request.
            Transient: the time-out passed, the engine gave the request up, or the backend was closed meanwhile.
            FatalError: the engine has died.
        """
        if self._serving is None:
            raise errors.FatalError("backend 'vllm' is not open")
        return await self._serving.answer(request)

    async def close(self) -> None:
        """End the engine and its processes; what is being answered is given up. Safe to call twice."""
        if self._serving is not None:
            self._serving.say_what_was_cached()
        engine, self._engine, self._serving = self._engine, None, None
        if engine is not None:
            await engine.stop()

    def _check_folder(self) -> None:
        folder = Path(self.model).expanduser()
        if folder.is_dir() and not any((folder / name).is_file() for name in ("config.json", "params.json")):
            advice = "give the one to which save_pretrained wrote"
            if (folder / CONFIGURATION).is_file():
                advice = "it holds a LoRA adapter: give it as lora, and as model the checkpoint that it was trained on"
            raise errors.NoSuchModel(
                f"backend 'vllm': folder '{self.model}' holds no config.json, so it is no checkpoint: {advice}"
            )

    def _make_log(self) -> EngineLog:
        try:
            return EngineLog(self.log)
        except OSError as error:
            raise errors.FatalError(f"backend 'vllm': log: {error}: give another path") from None

    def _check_context(self, context: int, workload: et.Workload) -> None:
        if workload.max_tokens >= context:
            raise errors.FatalError(
                f"backend 'vllm': '{self.model}' has a context of {context:,} tokens here and sampling.max_tokens is "
                f"{workload.max_tokens:,}, which leaves no room for a prompt: set a smaller max_tokens, or give it "
                "more memory or a larger max_model_len"
            )


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring the vLLM backend."""
    return [VLLM]
