"""An answer is fetched once in a run, whoever asks, kept in memory alone, and gone with the run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.plugin_utils import run_memory

MODULE = run_memory.__file__
# A run with workers as Ansible forks them: each asks twice for the same key; fetching leaves a line behind.
RUN = """
import importlib.util, multiprocessing, sys, time
spec = importlib.util.spec_from_file_location("run_memory", sys.argv[1])
memory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory)

def fetch():
    with open(sys.argv[2], "a") as log:
        log.write("fetched\\n")
    time.sleep(0.3)
    if sys.argv[3] == "fail":
        raise RuntimeError("no")
    return {"A": "-".join(["canary", "Zq8"])}

def ask():
    for _ in range(2):
        try:
            assert memory.remembered("key", fetch)["A"].endswith("Zq8")
        except RuntimeError:
            pass

workers = [multiprocessing.get_context("fork").Process(target=ask) for _ in range(5)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert all(worker.exitcode == 0 for worker in workers)
sys.stdout.write("done\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def keepers() -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if MODULE in line:
            found[int(path.parent.name)] = line
    return found


def run(log: Path, outcome: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, MODULE, str(log), outcome], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def of_run(process: subprocess.Popen[str]) -> list[int]:
    return [pid for pid, line in keepers().items() if line.split()[-1] == str(process.pid)]


def test_all_workers_of_a_run_share_one_answer_that_ends_with_the_run(tmp_path: Path) -> None:
    with run(tmp_path / "log", "give") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert (tmp_path / "log").read_text() == "fetched\n"
        assert len(of_run(process)) == 1
        assert [line for line in keepers().values() if "canary-Zq8" in line] == []
        process.communicate("")
    deadline = time.monotonic() + 10
    while of_run(process):
        assert time.monotonic() < deadline, "the answer outlives the run"
        time.sleep(0.05)


def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    with run(tmp_path / "log", "fail") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert len((tmp_path / "log").read_text().splitlines()) == 10
        assert of_run(process) == []
        process.communicate("")


def test_two_runs_share_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        with run(tmp_path / "log", "give") as process:
            process.communicate("")
    assert (tmp_path / "log").read_text() == "fetched\nfetched\n"
