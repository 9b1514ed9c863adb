"""evolteacher run: what it shows, how it stops, and how it goes on."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import sqlite3
import struct
import subprocess
import termios
import time
from contextlib import closing, nullcontext
from io import StringIO

import pytest
import typer
from commands import RECIPE, SCRIPT, TASKS, read_terminal, write_seeds
from rich.console import Console

from evolteacher.cli.display import CUTTERS, Display, Pace
from evolteacher.cli.eventlog import EventLog
from evolteacher.progress import Progress

SLOW = RECIPE.replace("scripted}", "{scripted: {latency: 0.15}}}\nconcurrency: 1")


def resume_of(err):
    """Return the words of the one command that was printed, from `run` on."""
    printed = [line.strip() for line in err.splitlines() if re.match(r"\s+\S*evolteacher run ", line)]
    assert len(printed) == 1, err
    return shlex.split(printed[0])[1:]


def test_a_run_says_what_came_of_it(cli, folder):
    result = cli("run", "recipe.yaml")
    assert result.code == 0
    assert "small: done in" in result.out
    for fact in ("seeds", "4, 4 with a response", "round 2", "4 kept, 0 rejected", "16 asked", "12 rows"):
        assert fact in result.out
    assert "runs/small/dataset.json" in result.out
    assert "evolteacher show runs/small" in result.out
    assert len(json.loads((folder / "runs/small/dataset.json").read_text())) == 12
    assert "add-constraints" in result.out or "more-steps" in result.out
    assert any(task[:20] in result.out for task in TASKS)
    assert "lineages 4/4" in result.err
    assert "\x1b" not in result.out + result.err


def test_the_same_command_again_asks_nothing(cli, folder):
    cli("run", "recipe.yaml")
    before = (folder / "runs/small/dataset.json").read_bytes()
    result = cli("run", "recipe.yaml")
    assert result.code == 0
    assert "0 asked, 16 replayed" in result.out
    assert (folder / "runs/small/dataset.json").read_bytes() == before


def test_rejects_are_shown_by_filter(cli):
    result = cli("run", "recipe.yaml", "--set", "filters=[{few-words: {words: 1000, on: response}}]")
    assert result.code == 0
    assert "rejected by" in result.out
    assert "few-words 4" in result.out
    assert "0 kept, 4 rejected" in result.out


def test_all_options_arrive(cli, folder):
    result = cli("run", "recipe.yaml", "--out", "elsewhere", "--limit", 2, "--set", "rounds=1", "--backend", "scripted")
    assert result.code == 0
    assert len(json.loads((folder / "elsewhere/dataset.json").read_text())) == 4
    again = cli("run", "recipe.yaml", "--out", "forked", "--fork", "elsewhere")
    assert again.code == 0
    assert "4 from the forked run" in again.out


def test_a_shipped_recipe_runs_by_name(cli, folder):
    result = cli("run", "quickstart", "--backend", "scripted", "--limit", 2)
    assert result.code == 0
    assert (folder / "runs/quickstart/dataset.json").exists()


def test_pending_lineages_are_a_failure_that_says_how_to_go_on(cli, folder):
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("scripted}", "{scripted: {rules: [{contains: vowels, error: transient, reply: busy}]}}}")
        + "limits: {retries: 1, first_wait: 0.01}\n"
    )
    result = cli("run", "recipe.yaml")
    result.refused(1, "1 lineage is not finished", "busy")
    assert resume_of(result.err) == ["run", "recipe.yaml"]
    assert "1 lineage not finished" in result.out
    assert len(json.loads((folder / "runs/small/dataset.json").read_text())) == 10


def test_a_spent_budget_is_exit_code_3_and_the_printed_command_goes_on(cli, folder):
    (folder / "recipe.yaml").write_text(RECIPE + "sampling: {max_tokens: 100}\n")
    options = ["--set", "rounds=2", "--set", "budget.tokens=1200"]
    result = cli("run", "recipe.yaml", *options)
    result.refused(3, "not finished: the budget is spent", "of 1,200 tokens")
    again = resume_of(result.err)
    assert again == ["run", "recipe.yaml", "--set", "rounds=2", "--set", "budget.tokens=2400"]
    for _ in range(5):
        result = cli(*again)
        if result.code == 0:
            break
        again = resume_of(result.err)
    assert result.code == 0
    assert len(json.loads((folder / "runs/small/dataset.json").read_text())) == 12


def test_a_plan_tells_dollars_and_whether_the_budget_covers_them(cli, folder):
    prices = ["--set", "prices.evolve={input: 10, output: 40}"]
    assert "$" not in cli("plan", "recipe.yaml").out
    out = " ".join(cli("plan", "recipe.yaml", *prices, "--set", "budget.usd=0.001").out.split())
    assert re.search(r"It costs \$0\.\d+ likely, \$0\.\d+ at the low end and \$0\.\d+ at the high one", out)
    assert "The budget of $0.0010 does not cover it" in out
    assert "The budget of $90.00 covers it" in " ".join(
        cli("plan", "recipe.yaml", *prices, "--set", "budget.usd=90").out.split()
    )


def test_the_command_that_is_printed_has_a_budget_in_which_the_next_call_fits(cli, folder):
    (folder / "recipe.yaml").write_text(RECIPE + "sampling: {max_tokens: 5000}\n")
    result = cli("run", "recipe.yaml", "--set", "budget.tokens=300")
    result.refused(3, "0 of 300 tokens")
    *_, change = resume_of(result.err)
    assert int(change.removeprefix("budget.tokens=")) > 5000
    assert "16 asked" in cli("run", "recipe.yaml", "--set", change).out


def test_a_spent_budget_in_dollars_names_one_that_takes_the_next_call(cli, folder):
    text = RECIPE + "sampling: {max_tokens: 5000}\nprices: {evolve: {input: 1, output: 100}}\n"
    (folder / "recipe.yaml").write_text(text)
    result = cli("run", "recipe.yaml", "--set", "budget.usd=0.01")
    result.refused(3, "the next call could cost $0.5")
    *_, change = resume_of(result.err)
    assert float(change.removeprefix("budget.usd=")) > 0.5
    assert "0 asked" not in cli("run", "recipe.yaml", "--set", change).out


def test_a_first_try_for_which_nothing_was_asked_binds_its_folder_to_nothing(cli, folder):
    asks = "{scripted: {rules: [{error: no-such-model, reply: no such model}]}}"
    cli("run", "recipe.yaml", "--set", "rounds=3", "--set", f"backends.evolve={asks}").refused(1, "no such model")
    assert (folder / "runs/small/round-3.json").exists()
    write_seeds(folder / "seeds.jsonl", TASKS[1:])
    own = [folder / "runs/small" / name for name in ("round-robin.json", "round-1.sharegpt.json", "round-01.json")]
    for path in own:
        path.write_text("precious")
    planned = cli("plan", "recipe.yaml")
    assert planned.code == 0 and "would refuse this folder" not in planned.err
    assert "12 asked" in cli("run", "recipe.yaml").out
    assert not (folder / "runs/small/round-3.json").exists()
    assert [path.read_text() for path in own] == ["precious"] * 3
    assert len(json.loads((folder / "runs/small/dataset.json").read_text())) == 9
    cli("run", "recipe.yaml", "--set", "rounds=3").refused(2, "another experiment")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_stop_no_run(folder, closed):
    done = subprocess.run(["sh", "-c", f'exec "$0" run recipe.yaml {closed}', SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    assert len(json.loads((folder / "runs/small/dataset.json").read_text())) == 12


@pytest.mark.parametrize("name", ["README.md", "dataset.json", "round-0.json", "recipe.lock.yaml"])
def test_a_new_run_replaces_no_file_of_somebody_elses(cli, folder, name):
    (folder / name).write_text("precious")
    cli("run", "recipe.yaml", "--out", ".").refused(2, f".: {name}: a run would replace it", "--out")
    assert (folder / name).read_text() == "precious"
    assert not (folder / "run.db").exists()
    (folder / name).unlink()
    assert cli("run", "recipe.yaml", "--out", ".").code == 0
    assert cli("run", "recipe.yaml", "--out", ".").code == 0


def test_a_fatal_error_says_how_to_go_on(cli, folder):
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("scripted}", "{scripted: {rules: [{round: 2, error: not-authorised, reply: bad key}]}}}")
    )
    result = cli("run", "recipe.yaml", "--limit", "3")
    result.refused(1, "bad key")
    assert resume_of(result.err) == ["run", "recipe.yaml", "--limit", "3"]


@pytest.fixture
def start():
    """Start the console script, and end it with the test."""
    started = []

    def run(*words, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([SCRIPT, *words], **pipes, **options))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for_replies(path, number):
    for _ in range(400):
        time.sleep(0.05)
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
                if store.execute("SELECT count(*) FROM replies").fetchone()[0] >= number:
                    return
        except sqlite3.OperationalError:
            continue
    raise AssertionError("nothing was asked")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_printed_command_goes_on(folder, start, script, number):
    (folder / "my recipe.yaml").write_text(SLOW)
    words = ["run", "my recipe.yaml", "--out", "a run", "--set", 'description=it\'s "all" of $HOME; *', "--limit", "2"]
    process = start(*words)
    wait_for_replies(folder / "a run/run.db", 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert "stopped; what was answered is stored" in err
    resumed = resume_of(err)
    assert sorted(resumed) == sorted(words)
    assert "**Partial.**" in (folder / "a run/README.md").read_text()
    assert len(json.loads((folder / "a run/dataset.json").read_text())) >= 1

    again = script(*resumed)
    assert again.code == 0
    assert "8 asked" not in again.out
    assert re.search(r"[2-7] replayed", again.out)
    whole = script(*["fresh" if word == "a run" else word for word in words])
    assert whole.code == 0
    assert (folder / "a run/dataset.jsonl").read_bytes() == (folder / "fresh/dataset.jsonl").read_bytes()


def with_path(site):
    path = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


@pytest.mark.alone
def test_a_second_signal_ends_at_once(folder, start):
    """A filter that sleeps holds the loop up, so that only the second signal can end the run."""
    site = folder / "site"
    site.mkdir()
    (site / "sleepy.py").write_text(
        "import time\nimport evolteacher as et\n"
        "class Sleepy(et.InstructionFilter, name='sleepy'):\n"
        "    def reject(self, evolution):\n        open('asleep', 'w').close()\n        time.sleep(60)\n"
        "@et.hookimpl\ndef register_filters():\n    return [Sleepy]\n"
    )
    info = site / "evolteacher_sleepy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evolteacher-sleepy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[evolteacher]\nsleepy = sleepy\n")
    (folder / "recipe.yaml").write_text(RECIPE.replace("few-words", "sleepy"))
    process = start("run", "recipe.yaml", env=with_path(site))
    for _ in range(400):
        if (folder / "asleep").exists():
            break
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert "stopping: what has settled is being written (Ctrl-C again ends at once)" in err
    assert "ended at once" in err
    assert resume_of(err) == ["run", "recipe.yaml"]


def test_an_interruption_before_the_run_begins(folder, start):
    """Between the first instruction and the run's own handlers, Ctrl-C ends without a traceback."""
    process = start("run", "recipe.yaml")
    time.sleep(0.35)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (130, 0, -signal.SIGINT)
    assert "bug in evolteacher" not in err


def test_a_terminal_is_shown_a_table_that_renews_itself(folder):
    (folder / "recipe.yaml").write_text(SLOW)
    code, seen, out = read_terminal(["run", "recipe.yaml"], folder)
    assert code == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    for word in ("lineages", "round 1", "round 2", "1 in flight", "tokens/s", "to go", "4/4"):
        assert word in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h")
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert "small: done in" in out


def test_a_terminal_that_can_only_print_is_shown_lines_in_place_of_the_table(folder):
    code, seen, _ = read_terminal(["run", "recipe.yaml"], folder, term="dumb")
    assert code == 0
    assert "\x1b" not in seen and "lineages 4/4" in seen
    _, seen, _ = read_terminal(["show", "nowhere"], folder, term="dumb")
    assert seen.startswith("error: nowhere")


def test_notes_reach_the_terminal_beside_the_table(folder):
    with (folder / "seeds.jsonl").open("a") as file:
        file.write('{"output": "\\u001b[2J"}\n')
    code, seen, _ = read_terminal(["run", "recipe.yaml"], folder)
    assert code == 0
    assert "1 bad row left out" in seen
    assert "\x1b[2J" not in seen


def test_ctrl_z_gives_the_shell_its_cursor_back_and_the_run_goes_on_when_continued(folder):
    (folder / "recipe.yaml").write_text(SLOW)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    words = [SCRIPT, "run", "recipe.yaml"]
    process = subprocess.Popen(words, stdout=-3, stderr=theirs, env=environment, cwd=folder, process_group=0)
    os.close(theirs)
    try:
        seen = b""
        while b"in flight" not in seen:
            seen += os.read(ours, 65536)
        os.kill(process.pid, signal.SIGTSTP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        os.set_blocking(ours, False)
        with contextlib.suppress(BlockingIOError):
            seen += os.read(ours, 65536)
        assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h") == 1
        os.set_blocking(ours, True)
        os.kill(process.pid, signal.SIGCONT)
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 65536):
                seen += piece
        assert process.wait(30) == 0
        assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h") == 2
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("cuts", [False, True])
def test_a_table_that_a_narrower_terminal_wraps_is_erased_whole(folder, cuts):
    (folder / "recipe.yaml").write_text(SLOW)
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", *CUTTERS)}
    environment |= {"TERM": "xterm", **({"XTERM_VERSION": "XTerm(400)"} if cuts else {})}
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    words = [SCRIPT, "run", "recipe.yaml"]
    process = subprocess.Popen(words, stdin=-3, stdout=-3, stderr=theirs, env=environment, cwd=folder)
    os.close(theirs)
    seen = b""
    try:
        while b"in flight" not in seen:
            seen += os.read(ours, 65536)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 65536):
                seen += piece
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    # The three lines with bars take two lines each, and so may those below them.
    assert bool(re.search(rb"\r\x1b\[[3-6]A\x1b\[J", seen)) != cuts
    assert seen.count(b"\x1b[J") == (0 if cuts else 1)


def test_pace_leaves_out_what_was_replayed():
    progress = Progress(seeds=10, rounds=2)
    pace = Pace()
    pace.look(progress, 0.0)
    pace.look(progress, 5.0)
    assert pace.seconds == 0, "nothing was asked yet"
    progress.waiting, progress.replayed, progress.left[1] = 1, 5000, 8
    pace.look(progress, 10.0)
    assert pace.seconds_left(progress) is None
    assert pace.tokens_per_second is None
    pace.look(progress, 12.0)
    progress.calls, progress.completion_tokens, progress.left[1] = 4, 400, 10
    pace.look(progress, 14.0)
    assert pace.tokens_per_second == 100
    assert pace.seconds_left(progress) == pytest.approx(20)
    progress.left[1] = progress.left[2] = 10
    pace.look(progress, 18.0)
    assert pace.seconds_left(progress) is None


def test_pace_leaves_out_the_time_in_which_a_model_is_fetched_and_loaded():
    progress = Progress(seeds=10, rounds=2, waiting=4, opening=1)
    pace = Pace()
    pace.look(progress, 0.0)
    pace.look(progress, 60.0)
    progress.opening = 0
    progress.completion_tokens = 200
    pace.look(progress, 62.0)
    assert pace.tokens_per_second == 100


@pytest.mark.parametrize(("columns", "bars"), [(80, True), (60, True), (40, False)])
def test_the_table_keeps_its_words_on_a_narrow_terminal(monkeypatch, columns, bars):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Console(width=columns, file=StringIO())
    out.print(Display(Progress(seeds=1200, rounds=2, lineages=600)).table())
    text = out.file.getvalue()
    for word in ("lineages", "round 1", "600/1,200", "0 kept, 0 rejected", "0 done, 0 in flight"):
        assert word in text
    assert ("━" in text) == bars


@pytest.mark.parametrize(("rounds", "left", "shown"), [(3, 0, [1, 2, 3]), (100, 0, [1, 2, 3, 4, 5, 6])])
def test_the_table_shows_few_rounds_whole(rounds, left, shown):
    assert list(Display(Progress(seeds=5, rounds=rounds))._rounds()) == shown


def test_the_table_of_many_rounds_follows_the_run():
    progress = Progress(seeds=5, rounds=100)
    for round in range(1, 51):
        progress.left[round] = 5
    display = Display(progress)
    assert list(display._rounds()) == [50, 51, 52, 53, 54, 55]
    for round in range(51, 101):
        progress.left[round] = 5
    assert list(display._rounds()) == [95, 96, 97, 98, 99, 100]


def test_many_seeds_are_shown_in_few_lines_while_they_run(folder, script):
    write_seeds(folder / "seeds.jsonl", [f"Write function number {n}, and explain it well." for n in range(300)])
    result = script("run", "recipe.yaml")
    assert result.code == 0
    assert len(result.err.splitlines()) <= 6


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_log_json_tells_a_program_what_happens_and_is_appended_to(cli, folder):
    (folder / "recipe.yaml").write_text(RECIPE)
    write_seeds(folder / "seeds.jsonl", TASKS)
    assert cli("run", "recipe.yaml", "--log-json", "log.jsonl").code == 0
    found = events(folder / "log.jsonl")
    kinds = [event["event"] for event in found]
    assert kinds[0] == "run_started" and kinds[-1] == "run_finished"
    assert kinds.count("evolution_settled") == len(TASKS) * 3 and kinds.count("round_finished") == 2
    settled = [event for event in found if event["event"] == "evolution_settled"]
    assert {event["round"] for event in settled} == {0, 1, 2} and all("text" not in event for event in settled)
    assert sum(not event["kept"] for event in settled) == found[-1]["rejected"]
    assert all(event["at"].endswith("+00:00") for event in found)
    assert cli("run", "recipe.yaml", "--log-json", "log.jsonl").code == 0
    again = events(folder / "log.jsonl")
    assert again[: len(found)] == found and again[-1]["replayed"]


def test_log_json_to_stderr_holds_nothing_but_json_and_says_what_stopped_a_run(cli, folder):
    (folder / "recipe.yaml").write_text(RECIPE)
    write_seeds(folder / "seeds.jsonl", TASKS)
    result = cli("run", "recipe.yaml", "--log-json", "-")
    assert [json.loads(line)["event"] for line in result.err.splitlines()][-1] == "run_finished"
    assert result.out == "runs/small/dataset.json\n"
    loud = cli("run", "recipe.yaml", "--out", "loud", "--log-json", "-", "--verbose")
    assert [json.loads(line)["event"] for line in loud.err.splitlines()].count("evolution_settled") == 12
    cli("run", "recipe.yaml", "--log-json", "no/such/folder/log").refused(1, "no/such/folder/log")
    assert cli("run", "recipe.yaml", "--out", "cut", "--set", "seeds.path=none.jsonl", "--log-json", "log").code == 2
    assert "none.jsonl" in events(folder / "log")[-1]["text"]


@pytest.mark.parametrize(
    ("error", "row"),
    [(typer.Exit(130), {"event": "interrupted"}), (KeyError("x"), {"event": "error", "text": "'x'"}), (None, None)],
)
def test_log_json_says_how_a_run_ended_before_its_end(tmp_path, error, row):
    with pytest.raises(type(error)) if error is not None else nullcontext(), EventLog(str(tmp_path / "log")):
        if error is not None:
            raise error
    found = events(tmp_path / "log")
    assert [{key: value for key, value in each.items() if key != "at"} for each in found] == ([row] if row else [])


def test_quiet_says_where_the_dataset_is_and_verbose_what_became_of_each(cli, folder):
    (folder / "recipe.yaml").write_text(RECIPE)
    write_seeds(folder / "seeds.jsonl", TASKS)
    result = cli("run", "recipe.yaml", "--quiet")
    assert (result.code, result.out, result.err) == (0, "runs/small/dataset.json\n", "")
    result = cli("run", "recipe.yaml", "--out", "loud", "--verbose")
    assert len(re.findall(r"^[0-9a-f]{8} round \d [\w-]+: (?:kept|rejected by )", result.err, re.MULTILINE)) == 12
    cli("run", "recipe.yaml", "--quiet", "--verbose").refused(2, "do not go together")
