"""What is read of a host's generations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import (
    Conf,
    Group,
    link_target,
    live_generation,
    programs,
    release_of,
    running_now,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Process

RELEASE = "0123456789-89abcdef"
GENERATION = f"{RELEASE}-a1b2c3d4"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "amy.example.org")
    made.release(RELEASE).mkdir(parents=True)
    return made


def process(group: str, state: str = "RUNNING", pid: int = 1, logfile: str = "") -> Process:
    return Process(group, group, state, pid, start=100, now=160, logfile=logfile)


def test_a_generations_id_begins_with_its_release() -> None:
    assert release_of(GENERATION) == RELEASE


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], {"known": False, "running": False, "wanted_up": False, "stopped": True, "finishing": False}),
        (["RUNNING", "RUNNING"], {"running": True, "wanted_up": True, "stopped": False, "finishing": False}),
        (["RUNNING", "STARTING"], {"running": False, "wanted_up": True, "finishing": False}),
        (["BACKOFF"], {"running": False, "wanted_up": True, "stopped": False}),
        (["STOPPING", "STOPPED"], {"finishing": True, "stopping": True, "stopped": False}),
        (["STOPPING", "RUNNING"], {"finishing": False, "stopping": True, "running": False}),
        (["FATAL", "EXITED", "STOPPED"], {"stopped": True, "finishing": False, "known": True}),
    ],
)
def test_a_group_sums_up_its_processes(states: list[str], expected: dict[str, bool]) -> None:
    group = Group([process("g", state) for state in states])
    assert {name: getattr(group, name) for name in expected} == expected


def test_a_file_says_what_it_runs_and_whether_that_was_proven() -> None:
    text = "; release = r1\n; environment = e1\n; proven = yes\n[program:x]\nstopwaitsecs=75\n"
    conf = Conf(Path("x"), text)
    assert (conf.release, conf.environment, conf.proven, conf.stop_wait) == ("r1", "e1", True, 75)
    empty = Conf(Path("x"), "")
    assert (empty.release, empty.environment, empty.proven, empty.stop_wait) == ("", "", False, 0)


def test_only_the_applications_own_programs_are_seen(layout: Layout, tmp_path: Path) -> None:
    conf_dir = tmp_path / "conf.d"
    conf_dir.mkdir()
    (conf_dir / f"amy.example.org-rqworker-{GENERATION}.conf").write_text("; proven = yes\n")
    (conf_dir / f"other.example.org-gunicorn-{GENERATION}.conf").write_text("")
    (conf_dir / "amy.example.org-notes.conf").write_text("")
    seen = programs(
        layout,
        [
            process(f"gunicorn-{GENERATION}"),
            process("gunicorn-9999999999-aaaaaaaa-bbbbbbbb", logfile="/webapps/other/logs/x.log"),
            process("rqscheduler-9999999999-aaaaaaaa-bbbbbbbb", logfile=f"{layout.logs}/x.log"),
            process("nginx-exporter"),
        ],
        conf_dir=conf_dir,
    )
    assert {name: each.generations for name, each in seen.items()} == {
        "gunicorn": [GENERATION],
        "rqscheduler": ["9999999999-aaaaaaaa-bbbbbbbb"],
        "rqworker": [GENERATION],
    }


def test_what_runs_now_is_told_with_links_processes_and_directories(layout: Layout, tmp_path: Path) -> None:
    layout.live_socket.symlink_to(layout.socket(GENERATION))
    layout.repo.symlink_to(f"releases/{RELEASE}")
    layout.environment.symlink_to("environments/0a0a0a0a")
    conf = tmp_path / f"amy.example.org-gunicorn-{GENERATION}.conf"
    conf.write_text("; proven = yes\n")
    old = f"gunicorn-{RELEASE}-00000000"
    found = running_now(
        layout,
        [process(f"gunicorn-{GENERATION}", pid=os.getpid()), process(old, "STOPPING", pid=2**22 + 1)],
        conf_dir=tmp_path,
    )
    assert found["releases"] == [RELEASE]
    assert (found["repo"], found["environment"]) == (RELEASE, "0a0a0a0a")
    assert found["live"] == {
        "generation": GENERATION,
        "release": RELEASE,
        "socket": str(layout.socket(GENERATION)),
        "listening": False,
    }
    retiring, live = found["programs"]
    assert (retiring["generation"], retiring["retiring"], retiring["proven"]) == (f"{RELEASE}-00000000", True, False)
    assert retiring["running_from"] == []
    assert (live["retiring"], live["proven"], live["state"]) == (False, True, "RUNNING")
    assert live["running_from"] == [str(Path.cwd())]
    assert live["processes"][0]["uptime"] == 60


def test_a_program_that_has_died_runs_no_release(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / f"amy.example.org-gunicorn-{GENERATION}.conf").write_text("; proven = yes\n")
    found = running_now(layout, [process(f"gunicorn-{GENERATION}", "FATAL", pid=0)], conf_dir=tmp_path)
    assert found["releases"] == []
    assert found["programs"][0]["state"] == "FATAL"


def test_a_bare_host_runs_nothing(tmp_path: Path) -> None:
    found = running_now(Layout(tmp_path / "nothing"), [], conf_dir=tmp_path)
    assert found == {"releases": [], "live": None, "repo": None, "environment": None, "programs": []}


def test_a_link_is_read_and_anything_else_in_its_place_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    assert link_target(link) is None
    link.symlink_to("somewhere")
    assert link_target(link) == "somewhere"
    link.unlink()
    link.write_text("a file")
    with pytest.raises(WebappsError, match="adopt"):
        link_target(link)


def test_a_live_socket_that_is_no_generations_is_nobodys(layout: Layout) -> None:
    assert live_generation(layout) is None
    layout.live_socket.symlink_to("/run/gunicorn.sock")
    assert live_generation(layout) is None
