"""Publishing on a host where time is fake, links are real, and the caller may be killed anywhere."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import temporary
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import HttpProbe
from ansible_collections.carpentries.webapps.plugins.module_utils.program import Program
from ansible_collections.carpentries.webapps.plugins.module_utils.publication import publish
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_plan import (
    Differences,
    Front,
    Proof,
    Request,
)

from tests.unit.plugins.fake_host import DOMAIN, Behaviour, Host, Killed

OLD, NEW, NEXT = "1111111111-aaaaaaaa", "2222222222-bbbbbbbb", "3333333333-cccccccc"
ENVIRONMENT, OTHER_ENVIRONMENT = "0a0a0a0a", "0b0b0b0b"


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files would wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


@pytest.fixture
def directory() -> Iterator[Path]:
    # pytest's own are too long for the path of a socket.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def bare_host(directory: Path) -> Host:
    # Several hosts of one test live side by side.
    directory = Path(tempfile.mkdtemp(dir=directory))
    conf_dir = directory / "conf.d"
    conf_dir.mkdir()
    host = Host(directory, directory / "run", conf_dir)
    host.environment(ENVIRONMENT)
    host.environment(OTHER_ENVIRONMENT)
    return host


def request_for(host: Host, release: str = NEW, **changes: object) -> Request:
    program = Program(
        name="gunicorn",
        command=".venv/bin/gunicorn --bind unix:{socket} app",
        user="amy",
        stdout_logfile=str(host.log),
        stop_wait=60,
    )
    probe = HttpProbe("/healthz/", DOMAIN, "https", release)
    request = Request(
        layout=host.layout,
        release=release,
        environment=ENVIRONMENT,
        program=program,
        proof=Proof(http=probe, timeout=20),
        serves=True,
        moves_links=True,
        front=Front("http", 80, probe),
        conf_dir=host.conf_dir,
        launcher=host.launcher,
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def worker_for(host: Host, release: str = NEW, **changes: object) -> Request:
    program = Program(
        name="rqworker",
        command=".venv/bin/python manage.py rqworker --name w{process}",
        user="amy",
        stdout_logfile=str(host.log),
        processes=2,
        stop_wait=600,
    )
    request = Request(
        layout=host.layout,
        release=release,
        environment=ENVIRONMENT,
        program=program,
        proof=Proof(command=(".venv/bin/python", "-"), stdin="script", timeout=20),
        serves=False,
        moves_links=True,
        conf_dir=host.conf_dir,
        launcher=host.launcher,
    )
    return replace(request, **changes)  # type: ignore[arg-type]


@pytest.fixture
def host(directory: Path) -> Host:
    """A host that serves OLD and has NEW staged."""
    return serving_host(directory)


def serving_host(directory: Path, behaviour: Behaviour | None = None) -> Host:
    host = bare_host(directory)
    host.stage(OLD)
    host.stage(NEW, behaviour)
    publish(request_for(host, OLD), host.tools())
    host.effects = 0
    host.effect_names.clear()
    host.terms.clear()
    return host


def working_host(directory: Path, behaviour: Behaviour | None = None, old: Behaviour | None = None) -> Host:
    """A host with workers of OLD that has NEW staged."""
    host = bare_host(directory)
    host.stage(OLD, old)
    host.stage(NEW, behaviour)
    publish(worker_for(host, OLD), host.tools())
    host.effects = 0
    host.effect_names.clear()
    return host


def assert_alone(host: Host, request: Request) -> None:
    """The wanted generation runs, nothing else is left of any other, and another call does nothing."""
    wanted = request.generation
    assert host.states(request.program.name) == {wanted.id: "RUNNING"}
    assert [path.name for path in host.conf_dir.glob("*.conf")] == [wanted.conf.name]
    assert wanted.conf.read_text() == wanted.render(proven=True)
    if request.serves:
        assert host.layout.live_socket.readlink() == wanted.socket
        assert list(host.layout.run_dir.iterdir()) == [wanted.socket]
        assert host.served().headers["X-Release"] == request.release
    assert str(host.layout.repo.readlink()) == f"releases/{request.release}"
    assert str(host.layout.environment.readlink()) == f"environments/{request.environment}"
    assert host.ledger_state(request.release) == "live"
    assert not [path for path in (*host.layout.root.iterdir(), *host.conf_dir.iterdir()) if path.name.endswith(".new")]
    again = publish(request, host.tools())
    assert (again.changed, again.steps, again.retiring) == (False, [], [])
    assert again.before == again.after


# The plain ways


def test_the_first_publish_of_a_host_starts_proves_and_links(directory: Path) -> None:
    host = bare_host(directory)
    host.stage(NEW)
    request = request_for(host)
    outcome = publish(request, host.tools())
    wanted = request.generation
    assert outcome.changed
    assert outcome.previous_generation is None
    assert outcome.steps == [
        f"Write {wanted.conf}",
        f"Add the program {wanted.group} to supervisor, which starts it",
        f"Prove generation {wanted.id}: GET /healthz/ over its own socket",
        f"Switch live.sock to generation {wanted.id}",
        "Prove it through nginx on http port 80",
        f"Point repo at releases/{NEW}",
        f"Point environment at environments/{ENVIRONMENT}",
        f"Note in {wanted.conf.name} that generation {wanted.id} is proven",
        f"Record release {NEW} as live",
    ]
    assert_alone(host, request)


def test_a_new_release_replaces_the_old_one_that_serves_until_the_switch(host: Host) -> None:
    served: list[str] = []
    host.watch = lambda: served.append(host.served().headers.get("X-Release", "nobody"))
    request = request_for(host)
    outcome = publish(request, host.tools())
    assert outcome.previous_generation == request_for(host, OLD).generation.id
    assert served == sorted(served)
    assert set(served) == {OLD, NEW}
    assert_alone(host, request)
    assert host.ledger_state(OLD) == "good"


def test_a_changed_environment_is_a_new_generation_of_the_same_release(host: Host) -> None:
    request = request_for(host, OLD, environment=OTHER_ENVIRONMENT)
    outcome = publish(request, host.tools())
    assert outcome.previous_generation == request_for(host, OLD).generation.id != outcome.generation
    assert_alone(host, request)


def test_programs_of_others_are_not_touched(host: Host) -> None:
    publish(worker_for(host, OLD), host.tools())
    foreign = host.conf_dir / "other.example.org-gunicorn-9999999999-aaaaaaaa-bbbbbbbb.conf"
    text = request_for(host, OLD).generation.render(proven=True).replace(str(host.layout.root), "/webapps/other")
    foreign.write_text(re_sectioned(text, "gunicorn-9999999999-aaaaaaaa-bbbbbbbb"))
    host.behaviours["1111111111-aaaaaaaa"] = Behaviour()
    tools = host.tools()
    tools.supervisor.reread()
    tools.supervisor.add("gunicorn-9999999999-aaaaaaaa-bbbbbbbb")
    host.pass_time(5)
    before = [
        process for process in tools.supervisor.processes() if NEW not in process.group and OLD not in process.group
    ]
    workers = [process.pid for process in tools.supervisor.processes() if process.group.startswith("rqworker")]
    publish(request_for(host), host.tools())
    after = tools.supervisor.processes()
    assert [process.pid for process in before] == [p.pid for p in after if p.group.startswith("gunicorn-9999999999")]
    assert workers == [process.pid for process in after if process.group.startswith("rqworker")]
    assert foreign.exists()


def re_sectioned(text: str, group: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(f"[program:{group}]\n" if line.startswith("[program:") else line for line in lines)


def test_check_mode_says_the_same_steps_and_does_none(host: Host) -> None:
    def tree() -> list[tuple[str, str]]:
        return sorted(
            (str(path), str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "")
            for path in (*host.layout.root.rglob("*"), *host.conf_dir.rglob("*"), *host.layout.run_dir.rglob("*"))
        )

    request = request_for(host)
    before = tree()
    predicted = publish(request, host.tools(), check=True)
    assert host.effects == 0
    assert tree() == before
    done = publish(request, host.tools())
    assert predicted.changed
    assert (predicted.steps, predicted.before, predicted.after) == (done.steps, done.before, done.after)
    assert predicted.previous_generation == done.previous_generation
    assert predicted.retiring == done.retiring == []


def test_check_mode_on_a_bare_host_warns_of_what_is_missing_and_still_says_the_steps(directory: Path) -> None:
    host = bare_host(directory)
    host.supervisor_runs = False
    host.launcher.unlink()
    host.layout.run_dir.rmdir()
    request = request_for(host, environment="ffffffff")
    outcome = publish(request, host.tools(), check=True)
    assert outcome.changed
    assert len(outcome.steps) == 9
    said = " ".join(outcome.warnings)
    for text in (NEW, "stage it first", "ffffffff", "webapps-run", "systemd-tmpfiles", "supervisord does not run"):
        assert text in said


# Refusals


@pytest.mark.parametrize("missing", ["release", "ledger", "environment", "run directory", "launcher"])
def test_what_is_missing_on_the_host_is_refused_before_anything_changes(host: Host, missing: str) -> None:
    request = request_for(host)
    match missing:
        case "release":
            (host.layout.release(NEW) / "RELEASE.json").unlink()
        case "ledger":
            known = ledger.load(host.layout.ledger)
            ledger.save(host.layout.ledger, ledger.forget(known, [NEW]))
        case "environment":
            request = replace(request, environment="ffffffff")
        case "run directory":
            for path in host.layout.run_dir.iterdir():
                path.unlink()
            host.layout.run_dir.rmdir()
        case "launcher":
            host.launcher.unlink()
    with pytest.raises(WebappsError, match=r"stage it first|app_directory"):
        publish(request, host.tools())
    assert host.effects == 0


def test_a_socket_with_a_name_that_the_kernel_would_not_take_is_refused(host: Host) -> None:
    release = "r" * 90
    host.stage(release)
    with pytest.raises(WebappsError, match="the kernel takes 107"):
        publish(request_for(host, release), host.tools())
    assert host.effects == 0


def test_a_host_without_supervisord_is_refused(host: Host) -> None:
    host.supervisor_runs = False
    with pytest.raises(WebappsError, match="supervisord does not run"):
        publish(request_for(host), host.tools())
    assert host.effects == 0


@pytest.mark.parametrize("name", ["repo", "environment", "live.sock"])
def test_a_legacy_directory_in_the_place_of_a_link_is_refused(directory: Path, name: str) -> None:
    host = bare_host(directory)
    host.stage(NEW)
    (host.layout.root / name).mkdir()
    with pytest.raises(WebappsError, match="not a symbolic link"):
        publish(request_for(host), host.tools())
    assert host.effects == 0


def test_contradictory_requests_are_refused(host: Host) -> None:
    with pytest.raises(WebappsError, match=r"proof\.http is missing"):
        request_for(host, proof=Proof())
    with pytest.raises(WebappsError, match="serves is false"):
        request_for(host, serves=False)
    with pytest.raises(WebappsError, match="choose one"):
        request_for(host, proof=Proof(http=HttpProbe("/", DOMAIN), command=("true",)))
    with pytest.raises(WebappsError, match="no answer to compare"):
        worker_for(host, proof=Proof(no_worse=True))


# Failures

BROKEN = {
    "dies at once": (Behaviour(dies_after=0.3), "Its process ended"),
    "dies while it boots": (Behaviour(boots=5, dies_after=2.5), "Its process ended"),
    "answers 500": (Behaviour(status=500), "status 500"),
    "answers with another release": (Behaviour(says="somebody else"), "did not prove itself"),
    "boots too long": (Behaviour(boots=100), "did not prove itself within 20 s"),
    "fails behind nginx": (Behaviour(front_status=502), "not through nginx"),
}


@pytest.mark.parametrize("overlap", [True, False], ids=["overlap", "no overlap"])
@pytest.mark.parametrize(("behaviour", "cause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_release_leaves_the_old_one_serving(
    directory: Path, behaviour: Behaviour, cause: str, overlap: bool
) -> None:
    host = serving_host(directory, behaviour)
    host.log.write_text("from before\n" * 3)
    failed: list[str] = []
    if overlap:
        host.watch = lambda: failed.append(host.served().error)
    with pytest.raises(WebappsError, match=cause) as raised:
        publish(request_for(host, overlap=overlap), host.tools())
    assert not any(failed)
    message = raised.value.message
    assert message.startswith(f"Release {NEW} was not published")
    assert str(host.log) in message
    assert f"booting {NEW}" in message
    assert "from before" not in message
    old = request_for(host, OLD).generation.id
    assert f"Generation {old} was {'not touched' if overlap else 'started again'}" in message
    assert raised.value.details["previous_generation"] == old
    assert host.ledger_state(NEW) == "bad"
    host.watch = lambda: None
    assert_alone(host, request_for(host, OLD))


def test_a_release_that_dies_fails_long_before_the_deadline(directory: Path) -> None:
    host = serving_host(directory, Behaviour(dies_after=0.3))
    began = host.time
    request = request_for(host)
    request = replace(request, proof=replace(request.proof, timeout=3600))
    with pytest.raises(WebappsError, match="exit status 3"):
        publish(request, host.tools())
    assert host.time - began < 60
    # Not even supervisor's second attempt is waited for.
    assert host.log.read_text().count(f"booting {NEW}") == 1


def test_the_error_shows_the_probe(directory: Path) -> None:
    host = serving_host(directory, Behaviour(status=500))
    with pytest.raises(WebappsError) as raised:
        publish(request_for(host), host.tools())
    probe = raised.value.details["probe"]
    assert isinstance(probe, dict)
    assert (probe["status"], probe["host"], probe["body"]) == (500, DOMAIN, "body")


def test_gunicorns_own_tracebacks_do_not_hide_the_applications(directory: Path) -> None:
    host = serving_host(directory, Behaviour(dies_after=0.3))
    cause = "ModuleNotFoundError: No module named 'amy.telemetry'"
    traceback = ["Traceback (most recent call last):", '  File "site.py", line 1, in <module>', "    import telemetry"]
    halt = ["Traceback (most recent call last):", *["    ~~~~^^^^"] * 60, "gunicorn.errors.HaltServer: <HaltServer 3>"]

    def write() -> None:
        log = host.log.read_text()
        if f"booting {NEW}" in log and cause not in log:
            host.log.write_text("\n".join([log.rstrip(), *traceback, cause, *traceback, cause, *halt, ""]))

    host.watch = write
    with pytest.raises(WebappsError) as raised:
        publish(request_for(host), host.tools())
    lines = raised.value.message.splitlines()
    assert lines.count(cause) == 1
    assert lines.index(cause) < lines.index(halt[-1])


# On the way back, what both releases stand on may be down.
AILING = Behaviour(status=503, front_status=503)


def way_back(host: Host, *, overlap: bool = True) -> Request:
    request = request_for(host, overlap=overlap)
    return replace(request, proof=replace(request.proof, no_worse=True))


@pytest.mark.parametrize("overlap", [True, False], ids=["overlap", "no overlap"])
def test_a_way_back_goes_on_where_the_release_that_serves_fails_the_same_proof(directory: Path, overlap: bool) -> None:
    host = serving_host(directory, AILING)
    host.behaviours[OLD] = AILING
    outcome = publish(way_back(host, overlap=overlap), host.tools())
    assert_alone(host, request_for(host, NEW))
    assert host.ledger_state(NEW) == "live"
    (warning,) = outcome.warnings
    assert "is not proven, but no worse than the one it replaces" in warning
    assert warning.count("status 503") == 2


def test_a_way_back_waits_for_a_good_answer_as_long_as_any_publish_before_it_takes_a_bad_one(directory: Path) -> None:
    host = serving_host(directory, Behaviour(status=503))
    host.behaviours[OLD] = AILING
    mended = host.time + 10

    def mend() -> None:
        if host.time >= mended:
            host.behaviours[NEW].status = 200

    host.watch = mend
    assert publish(way_back(host), host.tools()).warnings == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(Behaviour(), AILING, id="what serves is well"),
        pytest.param(AILING, Behaviour(boots=100), id="it does not answer"),
        pytest.param(AILING, Behaviour(status=500, front_status=500), id="it fails otherwise"),
        pytest.param(AILING, Behaviour(status=503, says="somebody else"), id="it is another release"),
        pytest.param(AILING, Behaviour(status=503, dies_after=3), id="it dies"),
        pytest.param(AILING, Behaviour(status=503, front_status=502), id="nginx answers something else"),
    ],
)
def test_a_way_back_to_what_is_worse_leaves_what_serves(directory: Path, old: Behaviour, new: Behaviour) -> None:
    host = serving_host(directory, new)
    host.behaviours[OLD] = old
    with pytest.raises(WebappsError, match="was not published on this host"):
        publish(way_back(host), host.tools())
    assert_alone(host, request_for(host, OLD))


def test_a_deploy_is_not_content_with_being_no_worse(directory: Path) -> None:
    host = serving_host(directory, AILING)
    host.behaviours[OLD] = AILING
    with pytest.raises(WebappsError, match="did not prove itself"):
        publish(request_for(host), host.tools())
    assert_alone(host, request_for(host, OLD))


def test_what_runs_and_does_not_work_is_stopped_and_started_again(directory: Path) -> None:
    host = working_host(directory)
    request = worker_for(host, OLD, overlap=False, anew=True)
    before = {process.pid for process in host.tools().supervisor.processes()}
    outcome = publish(request, host.tools())
    assert [step.partition(" ")[0] for step in outcome.steps] == ["Stop", "Start", "Prove"]
    assert outcome.changed
    after = {process.pid for process in host.tools().supervisor.processes()}
    assert not before & after
    assert_alone(host, worker_for(host, OLD))


def test_what_serves_is_not_started_anew(host: Host) -> None:
    with pytest.raises(WebappsError, match="leave its users without an answer"):
        request_for(host, anew=True)


def test_the_first_release_of_a_host_that_fails_leaves_nothing_running(directory: Path) -> None:
    host = bare_host(directory)
    host.stage(NEW, Behaviour(front_status=502))
    with pytest.raises(WebappsError, match="Nothing ran before, nothing runs now"):
        publish(request_for(host), host.tools())
    assert host.states() == {}
    assert not host.layout.live_socket.is_symlink()
    assert list(host.conf_dir.glob("*.conf")) == []


def test_an_nginx_that_is_down_is_not_the_releases_fault(host: Host) -> None:
    host.front_up = False
    with pytest.raises(WebappsError, match="not through nginx"):
        publish(request_for(host), host.tools())
    assert host.ledger_state(NEW) == "staged"
    host.front_up = True
    assert_alone(host, request_for(host, OLD))


def test_a_live_release_is_not_bad_because_a_new_environment_breaks_it(host: Host) -> None:
    host.behaviours[OLD].dies_after = 0.3
    with pytest.raises(WebappsError, match="Its process ended"):
        publish(request_for(host, OLD, environment=OTHER_ENVIRONMENT), host.tools())
    host.behaviours[OLD].dies_after = None
    assert host.ledger_state(OLD) == "live"
    assert_alone(host, request_for(host, OLD))


def test_a_file_that_cannot_be_written_leaves_the_old_release_serving(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "save", full)
    with pytest.raises(WebappsError, match="No space left"):
        publish(request_for(host), host.tools())
    monkeypatch.undo()
    assert host.ledger_state(NEW) == "staged"
    assert_alone(host, request_for(host, OLD))


# Repairs


def test_a_dead_live_generation_is_started_again_and_proven(host: Host) -> None:
    request = request_for(host, OLD)
    process = host.running[request.generation.group][0]
    process.state, process.pid = "FATAL", 0
    outcome = publish(request, host.tools())
    assert outcome.steps[0] == f"Start the program {request.generation.group} again"
    assert_alone(host, request)


def test_a_live_generation_that_supervisor_is_about_to_give_up_starts_afresh(host: Host) -> None:
    request = request_for(host, OLD)
    process = host.running[request.generation.group][0]
    process.state, process.pid, process.backoff, process.retry_at = "BACKOFF", 0, 3, host.time + 1000
    publish(request, host.tools())
    assert_alone(host, request)


def test_a_live_generation_that_cannot_start_again_is_left_for_people_and_not_called_bad(host: Host) -> None:
    request = request_for(host, OLD)
    host.behaviours[OLD].dies_after = 0.3
    process = host.running[request.generation.group][0]
    process.state, process.pid = "FATAL", 0
    with pytest.raises(WebappsError, match="is left as it is"):
        publish(request, host.tools())
    assert host.ledger_state(OLD) == "live"
    assert request.generation.conf.exists()
    assert host.layout.live_socket.readlink() == request.generation.socket


def test_supervisors_restart_after_a_reboot_is_only_awaited(host: Host) -> None:
    request = request_for(host, OLD)
    process = host.running[request.generation.group][0]
    process.state, process.pid, process.started = "STOPPED", 0, 0.0
    outcome = publish(request, host.tools())
    assert [step.split()[0] for step in outcome.steps] == ["Prove", "Prove"]
    assert_alone(host, request)


def test_a_group_that_supervisor_forgot_is_added_again(host: Host) -> None:
    request = request_for(host, OLD)
    del host.running[request.generation.group]
    publish(request, host.tools())
    assert_alone(host, request)


def test_links_that_somebody_moved_are_put_right(host: Host) -> None:
    request = request_for(host, OLD)
    host.layout.repo.unlink()
    host.layout.repo.symlink_to("releases/elsewhere")
    outcome = publish(request, host.tools())
    assert outcome.steps == [f"Point repo at releases/{OLD}"]
    assert_alone(host, request)


def test_garbage_of_killed_calls_is_removed(host: Host) -> None:
    garbage = request_for(host, NEW, environment=OTHER_ENVIRONMENT).generation
    garbage.conf.write_text(garbage.render(proven=False))
    dead = host.layout.socket(f"{NEXT}-dddddddd")
    dead.touch()
    temporary(host.layout.repo).symlink_to("nowhere")
    temporary(garbage.conf).touch()
    publish(request_for(host), host.tools())
    assert_alone(host, request_for(host))


# Kills


def killable_points(host: Host, request: Request, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The effects at which a kill can make a difference: of a row of naps only the first and the last."""
    names = host.effect_names
    names.clear()
    with monkeypatch.context() as patch, contextlib.suppress(WebappsError):
        saved_with_effect(host, patch)
        publish(request, host.tools())
    numbered = list(zip(["", *names], names, [*names[1:], ""], strict=False))
    return [number for number, (last, name, following) in enumerate(numbered, 1) if not last == name == following]


def saved_with_effect(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    save = ledger.save

    def counted(path: Path, known: ledger.Ledger) -> None:
        with host.effect("ledger"):
            save(path, known)

    monkeypatch.setattr(ledger, "save", counted)


@pytest.mark.parametrize("overlap", [True, False], ids=["overlap", "no overlap"])
@pytest.mark.parametrize("then", [NEW, OLD], ids=["repeated", "rolled back"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("broken", [None, *BROKEN], ids=lambda each: each or "good")
def test_a_publish_killed_at_any_point_is_completed_or_taken_back_by_the_next(
    directory: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None, before: bool, then: str, overlap: bool
) -> None:
    def behaviour() -> Behaviour:
        return replace(BROKEN[broken][0]) if broken else Behaviour()

    host = serving_host(directory, behaviour())
    for point in killable_points(host, request_for(host, overlap=overlap), monkeypatch):
        host = serving_host(directory, behaviour())
        with monkeypatch.context() as patch:
            saved_with_effect(host, patch)
            lost: list[str] = []
            if overlap:
                host.watch = lambda host=host, lost=lost: lost.append(host.served().error)  # type: ignore[misc]
            host.kill_at, host.kill_before = point, before
            with pytest.raises(Killed):
                publish(request_for(host, overlap=overlap), host.tools())
            host.kill_at = None
            host.pass_time(0.3)
            if then == NEW and broken:
                with pytest.raises(WebappsError):
                    publish(request_for(host, overlap=overlap), host.tools())
            else:
                publish(request_for(host, then, overlap=overlap), host.tools())
            # What fails only behind nginx did serve, so it can be what the next call finds live.
            assert broken == "fails behind nginx" or not any(lost), f"requests were lost, killed at effect {point}"
            host.watch = lambda: None
        host.pass_time(2)
        if then == NEW and broken:
            assert host.ledger_state(NEW) == "bad"
        publish(request_for(host, OLD if broken else then), host.tools())
        assert_alone(host, request_for(host, OLD if broken else then))


@pytest.mark.parametrize("seed", range(30))
def test_any_series_of_kills_loses_no_request_and_ends_well(
    directory: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    host = serving_host(directory, replace(chance.choice(list(BROKEN.values()))[0], front_status=200))
    host.stage(NEXT)
    saved_with_effect(host, monkeypatch)
    lost: list[str] = []
    host.watch = lambda: lost.append(host.served().error)
    for _attempt in range(8):
        host.kill_at, host.kill_before = host.effects + chance.randint(1, 40), chance.random() < 0.5
        with contextlib.suppress(Killed, WebappsError):
            publish(request_for(host, chance.choice([OLD, NEW, NEXT])), host.tools())
        host.pass_time(chance.choice([0, 0.5, 3]))
    host.kill_at = None
    publish(request_for(host, NEXT), host.tools())
    host.pass_time(5)
    publish(request_for(host, NEXT), host.tools())
    assert not any(lost)
    assert_alone(host, request_for(host, NEXT))


def test_a_failure_goes_back_to_what_was_proven_rather_than_to_what_a_killed_call_switched_to(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = serving_host(directory)
    host.stage(NEXT, Behaviour(front_status=502))
    tools = host.tools()
    link = tools.files.link

    def killed(path: Path, target: str) -> None:
        link(path, target)
        raise Killed

    monkeypatch.setattr(tools.files, "link", killed)
    with pytest.raises(Killed):
        publish(request_for(host), tools)
    assert host.served().headers["X-Release"] == NEW
    with pytest.raises(WebappsError, match="not through nginx"):
        publish(request_for(host, NEXT), host.tools())
    assert host.served().headers["X-Release"] == OLD


def kill_at_the_ledger(host: Host, request: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a publish when all has moved and nothing has been retired."""

    def killed(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "save", killed)
        with pytest.raises(Killed):
            publish(request, host.tools())


def test_a_generation_that_breaks_after_a_killed_call_had_moved_everything_is_taken_back_entirely(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(host, environment=OTHER_ENVIRONMENT)
    kill_at_the_ledger(host, request, monkeypatch)
    assert str(host.layout.repo.readlink()) == f"releases/{NEW}"
    host.behaviours[NEW].dies_after = 0.3
    process = host.running[request.generation.group][0]
    process.state, process.pid = "FATAL", 0
    with pytest.raises(WebappsError, match="Its process ended"):
        publish(request, host.tools())
    assert_alone(host, request_for(host, OLD))


def test_a_failure_goes_back_to_what_is_up_rather_than_to_what_served_and_died(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.stage(NEXT, Behaviour(front_status=502))
    kill_at_the_ledger(host, request_for(host), monkeypatch)
    process = host.running[request_for(host).generation.group][0]
    process.state, process.pid = "FATAL", 0
    with pytest.raises(WebappsError, match="not through nginx"):
        publish(request_for(host, NEXT), host.tools())
    assert host.served().headers["X-Release"] == OLD


# Retiring


def test_the_socket_file_of_a_program_that_died_is_removed_with_it(host: Host) -> None:
    old = request_for(host, OLD).generation
    process = host.running[old.group][0]
    process.state, process.pid = "FATAL", 0
    assert old.socket.exists()
    publish(request_for(host), host.tools())
    assert_alone(host, request_for(host))


def test_an_old_program_that_was_started_again_in_the_wrong_moment_is_stopped_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, old = host.tools(), request_for(host, OLD).generation
    remove = tools.supervisor.remove
    refused: list[str] = []

    def race(group: str) -> bool:
        if not refused:
            refused.append(group)
            tools.supervisor.start(group)
            return False
        return remove(group)

    monkeypatch.setattr(tools.supervisor, "remove", race)
    publish(request_for(host), tools)
    assert refused == [old.group]
    assert host.terms == [old.group, old.group]
    assert_alone(host, request_for(host))


def test_the_old_generation_is_told_to_stop_only_when_nobody_waits_on_its_socket(host: Host) -> None:
    old = request_for(host, OLD).generation
    host.waiting[old.socket] = [3, 1, 0, 2, 0]
    asked: list[bool] = []
    host.watch = lambda: asked.append(bool(host.waiting[old.socket]) and old.group in host.terms)
    publish(request_for(host), host.tools())
    assert host.waiting[old.socket] == []
    assert not any(asked)


def test_a_queue_that_never_empties_does_not_hold_the_publish_for_ever(host: Host) -> None:
    old = request_for(host, OLD).generation
    host.waiting[old.socket] = [1] * 100_000
    publish(request_for(host), host.tools())
    assert_alone(host, request_for(host))


def test_without_a_way_to_see_the_queue_a_moment_is_waited(host: Host) -> None:
    host.blind = True
    publish(request_for(host), host.tools())
    assert_alone(host, request_for(host))


def test_a_long_job_is_reported_and_its_worker_removed_by_a_later_call(directory: Path) -> None:
    host = working_host(directory, old=Behaviour(ends_after=300))
    old, request = worker_for(host, OLD).generation, worker_for(host)
    began = host.time
    outcome = publish(request, host.tools())
    assert outcome.retiring == [old.id]
    assert host.time - began < 60
    assert not old.conf.exists()
    again = publish(request, host.tools())
    assert (again.changed, again.steps, again.retiring) == (False, [], [old.id])
    host.pass_time(300)
    last = publish(request, host.tools())
    assert (last.changed, last.steps, last.retiring) == (True, [f"Retire generation {old.id}"], [])
    assert_alone(host, request)
    assert host.terms.count(f"{old.group}_00") == 1


def test_a_generation_that_is_wanted_again_while_it_retires_is_awaited(directory: Path) -> None:
    host = working_host(directory, old=Behaviour(ends_after=300))
    publish(worker_for(host), host.tools())
    publish(worker_for(host, OLD), host.tools())
    assert_alone(host, worker_for(host, OLD))


# Without overlap


def test_without_overlap_the_old_one_has_ended_before_the_new_one_starts(directory: Path) -> None:
    host = working_host(directory, old=Behaviour(ends_after=40))
    old, request = worker_for(host, OLD).generation, worker_for(host, overlap=False)
    together: list[bool] = []
    host.watch = lambda: together.append(
        sum(any(process.pid for process in group) for group in host.running.values()) > 1
    )
    outcome = publish(request, host.tools())
    assert f"Stop generation {old.id} and wait for its end" in outcome.steps
    assert not any(together)
    assert_alone(host, request)


# Workers


def test_workers_are_proven_by_a_command_with_their_environment(directory: Path) -> None:
    host = working_host(directory)
    request = worker_for(host)
    publish(request, host.tools())
    wanted = request.generation
    argv, user, cwd, stdin, variables = host.commands[-1]
    assert argv == [
        "/usr/local/bin/webapps-run",
        str(host.layout.environments / ENVIRONMENT),
        str(host.layout.release(NEW) / ".venv/bin/python"),
        "-",
    ]
    assert (user, cwd, stdin) == ("amy", host.layout.release(NEW), "script")
    assert variables == {
        "WEBAPPS_PROGRAM": wanted.group,
        "WEBAPPS_GENERATION": wanted.id,
        "WEBAPPS_RELEASE": NEW,
    }
    assert sorted(process.name for process in host.running[wanted.group]) == [
        f"{wanted.group}_00",
        f"{wanted.group}_01",
    ]
    assert_alone(host, request)


def test_workers_whose_proof_command_fails_are_removed_and_the_old_ones_stay(directory: Path) -> None:
    host = working_host(directory, Behaviour(command_status=1))
    with pytest.raises(WebappsError, match="said the command") as raised:
        publish(worker_for(host), host.tools())
    proof = raised.value.details["proof_command"]
    assert isinstance(proof, dict)
    assert proof["status"] == 1
    assert_alone(host, worker_for(host, OLD))


def test_an_attempt_that_the_deadline_cuts_short_does_not_hide_what_the_one_before_said(directory: Path) -> None:
    host = working_host(directory, Behaviour(command_status=1, command_takes=7))
    with pytest.raises(WebappsError, match="ended with 1: said the command"):
        publish(worker_for(host), host.tools())


def test_workers_without_a_command_are_proven_by_staying_up(directory: Path) -> None:
    host = working_host(directory, Behaviour(dies_after=1.5))
    with pytest.raises(WebappsError, match="Its process ended"):
        publish(worker_for(host, proof=Proof()), host.tools())
    host.behaviours[NEW].dies_after = None
    publish(worker_for(host, proof=Proof()), host.tools())
    assert_alone(host, worker_for(host))


def test_workers_beside_a_web_server_leave_links_and_ledger_alone(host: Host) -> None:
    request = worker_for(host, NEW, moves_links=False)
    outcome = publish(request, host.tools())
    assert outcome.changed
    assert "repo" not in outcome.after
    assert str(host.layout.repo.readlink()) == f"releases/{OLD}"
    assert host.ledger_state(NEW) == "staged"
    assert not publish(request, host.tools()).changed


@pytest.mark.parametrize("overlap", [True, False], ids=["overlap", "no overlap"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("broken", [None, "dies at once"])
def test_workers_whose_publish_was_killed_anywhere_are_completed_by_the_next(
    directory: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None, before: bool, overlap: bool
) -> None:
    def behaviour() -> Behaviour:
        return replace(BROKEN[broken][0]) if broken else Behaviour()

    host = working_host(directory, behaviour())
    for point in killable_points(host, worker_for(host, overlap=overlap), monkeypatch):
        host = working_host(directory, behaviour())
        with monkeypatch.context() as patch:
            saved_with_effect(host, patch)
            host.kill_at, host.kill_before = point, before
            with pytest.raises(Killed):
                publish(worker_for(host, overlap=overlap), host.tools())
            host.kill_at = None
            host.pass_time(0.3)
            if broken:
                with pytest.raises(WebappsError):
                    publish(worker_for(host, overlap=overlap), host.tools())
            else:
                publish(worker_for(host, overlap=overlap), host.tools())
        # What the killed call told to stop may end after the next one, which then only reports it.
        host.pass_time(2)
        publish(worker_for(host, OLD if broken else NEW), host.tools())
        assert_alone(host, worker_for(host, OLD if broken else NEW))


# why


def differences_to(directory: Path, **changes: object) -> Differences:
    """What tells a request from what serves: the old release, one worker process, the first environment."""
    host = serving_host(directory)
    return publish(request_for(host, OLD, **changes), host.tools(), check=True).differs


def test_what_serves_already_differs_in_nothing(directory: Path) -> None:
    assert differences_to(directory) == Differences()


def test_another_release_is_the_only_difference_though_every_path_has_its_id(directory: Path) -> None:
    host = serving_host(directory)
    assert publish(request_for(host), host.tools(), check=True).differs == Differences(release=True)


def test_another_environment_is_the_only_difference(directory: Path) -> None:
    assert differences_to(directory, environment=OTHER_ENVIRONMENT) == Differences(environment=True)


def test_settings_that_differ_are_named_and_their_values_are_not(directory: Path) -> None:
    host = serving_host(directory)
    program = replace(
        request_for(host).program,
        command=".venv/bin/gunicorn --workers=4 --secret=canary --bind unix:{socket} app",
        stop_wait=90,
    )
    differs = publish(request_for(host, OLD, program=program), host.tools(), check=True).differs
    assert differs == Differences(settings=("command --workers", "command --secret", "stopwaitsecs"))


def test_a_command_without_options_of_its_own_differs_as_a_whole(directory: Path) -> None:
    host = serving_host(directory)
    program = replace(request_for(host).program, command=".venv/bin/gunicorn --bind unix:{socket} other")
    differs = publish(request_for(host, OLD, program=program), host.tools(), check=True).differs
    assert differs == Differences(settings=("command",))


def test_before_the_first_publish_there_is_nothing_to_differ_from(directory: Path) -> None:
    host = bare_host(directory)
    assert publish(request_for(host), host.tools(), check=True).differs == Differences()
