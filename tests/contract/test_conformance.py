"""Our own backends pass the conformance suite that any backend must pass."""

import importlib.util
import socket

import pytest
from loopback import Provider, digest

from evolteacher import errors
from evolteacher.testing import BackendConformance
from evolteacher_backends.embedded import Embedded
from evolteacher_backends.known_models import KNOWN
from evolteacher_backends.known_models.fetching import fetch
from evolteacher_backends.litellm import LiteLLM
from evolteacher_backends.openai_compatible import OpenAICompatible
from evolteacher_backends.scripted import Scripted
from evolteacher_backends.transformers import Transformers


def needs(*packages):
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class TestScripted(BackendConformance):
    deterministic = True
    heeds_max_tokens = heeds_stop = False  # its answers are the script's, whole

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


SMOLLM2 = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def embedded():
    """SmolLM2 in this process; 98 MB, fetched once into the user's cache."""
    fetch(KNOWN[SMOLLM2])
    return Embedded(model=SMOLLM2, threads=1)  # threads that share cores with other processes wait for them


@needs("xllamacpp")
class TestEmbedded(BackendConformance):
    deterministic = True
    keep_open = True
    concurrency = 4

    @pytest.fixture
    def backend(self, embedded):
        return embedded

    @pytest.fixture
    def faults(self, embedded):
        return {
            "unknown model": (lambda: Embedded(model="no/such/file.gguf"), errors.NoSuchModel),
            "too long": (lambda: embedded, errors.TooLong),
        }


POSITIONS = 1024
CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint with random weights and a token for each byte."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("checkpoint")
    marks = ["<end>", "<user>", "<assistant>"]
    vocabulary = {token: n for n, token in enumerate([*marks, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(marks)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=POSITIONS, bos_token_id=None, eos_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def transformers(checkpoint):
    return Transformers(model=checkpoint, threads=1)  # as above


@needs("torch", "transformers")
class TestTransformers(BackendConformance):
    deterministic = True
    keep_open = True

    @pytest.fixture
    def backend(self, transformers):
        return transformers

    @pytest.fixture
    def faults(self, transformers, tmp_path):
        return {
            "unknown model": (lambda: Transformers(model="./there/is/no/such/folder"), errors.NoSuchModel),
            "too long": (lambda: transformers, errors.TooLong),
            "no checkpoint": (lambda: Transformers(model=str(tmp_path)), errors.NoSuchModel),
        }


KEY = "sk-the-key-of-the-loopback-provider"
MODEL = "gpt-4.1-mini"
HEALTHY = {"script": [], "models": [MODEL], "context": 50_000, "echo_key": None}


@pytest.fixture(scope="module")
def provider():
    with Provider(key=KEY, **HEALTHY) as provider:
        yield provider


@pytest.fixture(scope="module")
def nowhere():
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


class ApiConformance(BackendConformance):
    """What every client of an OpenAI-compatible API must do; ``make(url, **options)`` makes it."""

    deterministic = True
    heeds_stop = False  # the provider knows no stop texts
    max_tokens = 32

    @pytest.fixture(autouse=True)
    def healthy(self, provider, monkeypatch):
        monkeypatch.setenv("THE_KEY", KEY)
        monkeypatch.setenv("OLD_KEY", "sk-a-key-that-ran-out")
        provider.configure(**HEALTHY)
        yield
        provider.configure(**HEALTHY)

    def belongs(self, request, reply):
        return digest([{"role": each.role, "content": each.content} for each in request.messages]).hex() in reply.text

    @pytest.fixture
    def backend(self, provider):
        return self.make(provider.url)

    @pytest.fixture
    def secret(self, backend):
        return backend, KEY

    @pytest.fixture
    def faults(self, provider, nowhere):
        def failing(fault, **options):
            def make():
                provider.configure(script=[{"fault": fault}] if fault else [], echo_key="error")
                return self.make(provider.url, **options)

            return make

        return {
            "wrong key": (failing(None, api_key="env:OLD_KEY"), errors.NotAuthorised),
            "unknown model": (failing(None, model="gpt-9"), errors.NoSuchModel),
            "rate limited": (failing("429"), errors.RateLimited),
            "server error": (failing("500"), errors.Transient),
            "time-out": (failing("hang", timeout=0.3), errors.Transient),
            "unreachable": (lambda: self.make(nowhere), errors.Transient),
            "cut connection": (failing("cut"), errors.Transient),
            "broken body": (failing("not-json"), errors.BrokenReply),
            "no choices": (failing("no-choices"), errors.BrokenReply),
            "refused": (failing("policy"), errors.Refused),
            "too long": (failing(None), errors.TooLong),
            "no key": (failing(None, api_key="env:THERE_IS_NO_SUCH_VARIABLE"), errors.NotAuthorised),
            "overloaded": (failing("529"), errors.Transient),
            "reset": (failing("reset"), errors.Transient),
            "half an answer": (failing("half-json"), errors.BrokenReply),
            "an error in an answer": (failing("error-200"), errors.Transient),
            "a filtered answer": (failing("content-filter"), errors.Refused),
            "a refusal": (failing("refusal"), errors.Refused),
            "no money left": (failing("quota"), errors.FatalError),
            "a request that it does not take": (failing("400"), errors.FatalError),  # as long as none was answered
        }


@needs("litellm")
# LiteLLM makes a coroutine and then waits for something else; cancelled in between, the coroutine was never awaited.
@pytest.mark.filterwarnings("ignore:coroutine 'OpenAIChatCompletion.acompletion' was never awaited:RuntimeWarning")
class TestLiteLLM(ApiConformance):
    direct = True

    def make(self, url, model=MODEL, **options):
        given = {"api_key": "env:THE_KEY", "timeout": 20, "direct": self.direct, **options}
        return LiteLLM(model=f"openai/{model}", api_base=url, **given)

    @pytest.fixture
    def batches(self, provider):
        return self.make(provider.url, mode="batch")


class TestLiteLLMOverItsOwnConnections(TestLiteLLM):
    direct = False


class TestOpenAICompatible(ApiConformance):
    def make(self, url, **options):
        given = {"model": MODEL, "api_key": "env:THE_KEY", "timeout": 20, "patience": 0.2, **options}
        return OpenAICompatible(base_url=url, **given)
