"""Retiring programs on a host where time is fake and the caller may be killed anywhere."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.program import Program
from ansible_collections.carpentries.webapps.plugins.module_utils.publication import publish
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_plan import Proof, Request
from ansible_collections.carpentries.webapps.plugins.module_utils.retirement import (
    Outcome,
    Retirement,
    Tools,
    retire,
    started_by_supervisor,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import SupervisorNotRunningError

from tests.unit.plugins.fake_host import Behaviour, Host, Killed
from tests.unit.plugins.module_utils.test_publication import ENVIRONMENT, OLD, bare_host, request_for

JOB = 40.0


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small files would wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with two pools of workers, whose jobs take JOB seconds."""
    # pytest's own directories are too long for the path of a socket.
    with tempfile.TemporaryDirectory() as name:
        yield working(Path(name))


def working(directory: Path) -> Host:
    host = bare_host(directory)
    host.stage(OLD, Behaviour(ends_after=JOB))
    for name in ("rqworker", "rqworker_mail"):
        publish(pool(host, name), host.tools())
    host.effects = 0
    host.terms.clear()
    return host


def pool(host: Host, name: str) -> Request:
    program = Program(
        name=name, command=".venv/bin/rq worker", user="amy", stdout_logfile=str(host.log), processes=2, stop_wait=600
    )
    return Request(
        layout=host.layout,
        release=OLD,
        environment=ENVIRONMENT,
        program=program,
        proof=Proof(timeout=20),
        serves=False,
        moves_links=True,
        conf_dir=host.conf_dir,
        launcher=host.launcher,
    )


def wanted(host: Host, **changes: object) -> Retirement:
    request = Retirement(host.layout, ("rqworker", "rqworker_*"), timeout=JOB + 5, conf_dir=host.conf_dir)
    return replace(request, **changes)  # type: ignore[arg-type]


def call(host: Host, *, check: bool = False, orphans: dict[int, str] | None = None, **changes: object) -> Outcome:
    """``orphans``: processes whose worker was killed; their job ends after another JOB seconds."""
    tools, end = host.tools(), host.time + JOB
    alive = lambda _root: orphans if orphans and host.time < end else {}  # noqa: E731
    outside = Tools(tools.supervisor, tools.files, alive, tools.clock, tools.sleep)
    return retire(wanted(host, **changes), outside, check=check)


def test_all_processes_are_told_to_stop_once_and_waited_for(host: Host) -> None:
    begin = host.time
    outcome = call(host)
    assert outcome.changed
    assert len(outcome.steps) == 2
    assert JOB <= host.time - begin < JOB + 2
    assert sorted(host.terms) == sorted(set(host.terms))
    assert len(host.terms) == 4
    assert host.running == {}
    assert list(host.conf_dir.glob("*.conf")) == []


def test_a_second_call_changes_nothing(host: Host) -> None:
    call(host)
    assert not call(host).changed


def test_check_mode_says_the_same_and_does_nothing(host: Host) -> None:
    foreseen = call(host, check=True)
    assert host.effects == 0
    assert foreseen.steps == call(host).steps


def test_what_is_kept_is_left_alone(host: Host) -> None:
    call(host, keep=("rqworker_mail",))
    assert set(host.states("rqworker_mail").values()) == {"RUNNING"}
    assert all(name.startswith("rqworker_mail-") for name in host.running)


def test_work_that_goes_on_too_long_is_an_error_that_names_it_and_cuts_nothing_off(host: Host) -> None:
    with pytest.raises(
        WebappsError, match=r"still under way after 5 s: rqworker-.*STOPPING, pid \d+.*no job was cut"
    ) as e:
        call(host, timeout=5)
    assert len(e.value.details["retiring"]) == 2  # type: ignore[arg-type]
    host.pass_time(JOB)
    assert len(host.terms) == 4
    call(host)
    assert host.running == {}


def test_work_may_finish_behind_the_call(host: Host) -> None:
    outcome = call(host, timeout=5, must_end=False)
    assert len(outcome.retiring) == 2
    assert set(outcome.after.values()) == {"STOPPING"}


def test_what_serves_is_refused(host: Host) -> None:
    host.behaviours[OLD] = Behaviour()
    publish(request_for(host, OLD), host.tools())
    with pytest.raises(WebappsError, match="is what nginx connects to"):
        call(host, names=("gunicorn",))


def test_a_supervisor_that_does_not_run_is_an_error_and_in_check_mode_a_warning(host: Host) -> None:
    host.supervisor_runs = False
    with pytest.raises(SupervisorNotRunningError):
        call(host)
    assert "supervisord does not run" in call(host, check=True).warnings[0]


@pytest.mark.parametrize("before", [True, False])
def test_killed_anywhere_the_next_call_completes_it(before: bool, tmp_path: Path) -> None:
    whole = working(tmp_path)
    call(whole)
    # The waiting is the same step again and again.
    for effect in range(1, 12):
        host = working(tmp_path)
        host.kill_at, host.kill_before = effect, before
        with contextlib.suppress(Killed):
            call(host)
        host.kill_at = None
        call(host)
        assert host.running == {}
        assert len(host.terms) == 4, "a second signal would have killed the job"


def test_publishing_starts_them_again(host: Host) -> None:
    call(host)
    publish(pool(host, "rqworker"), host.tools())
    assert set(host.states("rqworker").values()) == {"RUNNING"}


def test_a_job_whose_worker_was_killed_is_waited_for(host: Host) -> None:
    call(host)
    begin = host.time
    orphans = {71: f"rqworker-{OLD}-0a1b2c3d", 72: "somebody-else", 73: f"gunicorn-{OLD}-0a1b2c3d"}
    with pytest.raises(WebappsError, match=r"after 5 s: rqworker-\S+, a process without its parent, pid 71\. It"):
        call(host, orphans=orphans, timeout=5)
    assert not call(host, orphans=orphans).changed
    assert host.time - begin >= JOB


def test_the_processes_of_supervisors_programs_are_found_by_the_kernels_account(tmp_path: Path) -> None:
    for pid, variables, directory in (
        ("7", b"A=b\0SUPERVISOR_GROUP_NAME=rqworker-x\0", "/webapps/a/releases/r"),
        ("8", b"SUPERVISOR_GROUP_NAME=other\0", "/webapps/b/releases/r"),
        ("9", b"A=b\0", "/webapps/a/releases/r"),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "environ").write_bytes(variables)
        (tmp_path / pid / "cwd").symlink_to(directory)
    (tmp_path / "10").mkdir()
    (tmp_path / "self").mkdir()
    assert started_by_supervisor(Path("/webapps/a"), tmp_path) == {7: "rqworker-x"}
