"""The backend against a server that speaks as Ollama does: it echoes, and a path before its own makes it fail."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from evolteacher_ollama import Ollama

from evolteacher import errors
from evolteacher.testing import BackendConformance

KEY = "the-key-of-the-proxy"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _, _, situation = self.path.removesuffix("/api/chat").partition("/")
        if self.headers.get("Authorization") not in (None, f"Bearer {KEY}"):
            self.answer(401, {"error": f"unauthorized: {self.headers['Authorization']}"})
        elif body["model"] != "llama3":
            self.answer(404, {"error": "model not found, try pulling it first"})
        elif self.path.endswith("/api/show"):
            self.answer(200, {})
        elif situation.isdigit():
            self.answer(int(situation), {"error": "no"}, {"Retry-After": "7"})
        elif situation == "sleep":
            time.sleep(0.5)
            self.close_connection = True
        elif situation == "cut":
            self.close_connection = True
        elif situation == "html":
            self.answer(200, "<html>")
        elif situation == "nothing":
            self.answer(200, {"done": True})
        else:
            self.echo(body)

    def echo(self, body):
        options, text = body["options"], body["messages"][-1]["content"]
        words = text.split(" ")
        if len(words) > 4096:
            return self.answer(400, {"error": "the input length exceeds the context length"})
        said = " ".join(words[: options["num_predict"]])
        places = [said.find(stop) for stop in options.get("stop", ()) if stop in said]
        cut = len(words) > options["num_predict"] and not places
        counts = {"prompt_eval_count": len(words) + 3, "eval_count": min(len(words), options["num_predict"])}
        message = {"role": "assistant", "content": said[: min(places, default=None)]}
        self.answer(200, {"message": message, "done_reason": "length" if cut else "stop", **counts})

    def answer(self, status, body, headers=()):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64


@pytest.fixture(scope="module")
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class TestOllama(BackendConformance):
    deterministic = True

    @pytest.fixture
    def backend(self, server):
        return Ollama(model="llama3", base_url=server)

    @pytest.fixture
    def secret(self, server, monkeypatch):
        monkeypatch.setenv("OLLAMA_KEY", KEY)
        return Ollama(model="llama3", base_url=server, api_key="env:OLLAMA_KEY"), KEY

    @pytest.fixture
    def faults(self, server, monkeypatch):
        monkeypatch.setenv("OLD_KEY", "a-key-that-ran-out")

        def at(path="", **options):
            return lambda: Ollama(**{"model": "llama3", "base_url": f"{server}/{path}".rstrip("/"), **options})

        return {
            "wrong key": (at(api_key="env:OLD_KEY"), errors.NotAuthorised),
            "unknown model": (at(model="llama4"), errors.NoSuchModel),
            "rate limited": (at("429"), errors.RateLimited),
            "server error": (at("503"), errors.Transient),
            "time-out": (at("sleep", timeout=0.2), errors.Transient),
            "unreachable": (at(base_url="http://127.0.0.1:9"), errors.Transient),
            "cut connection": (at("cut"), errors.Transient),
            "broken body": (at("html"), errors.BrokenReply),
            "no choices": (at("nothing"), errors.BrokenReply),
            "too long": (at(), errors.TooLong),
            "no key": (at(api_key="env:THERE_IS_NO_SUCH_VARIABLE"), errors.NotAuthorised),
            "a request that it does not take": (at("400"), errors.BadReply),
        }

    def belongs(self, request, reply):
        return reply.text in request.text
