"""Our own backends pass the conformance suite that any backend must pass."""

import importlib.util

import pytest

from evolteacher import errors
from evolteacher.testing import BackendConformance
from evolteacher_backends.embedded import Embedded
from evolteacher_backends.known_models import KNOWN
from evolteacher_backends.known_models.fetching import fetch
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
    return Embedded(model=SMOLLM2)


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
    return Transformers(model=checkpoint, threads=1)  # threads that share cores with other processes wait for them


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
