"""Programs end when their last work is done, and the virtual host is never nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_import import note, record
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_processes import LegacyProcess
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_retirement import (
    Tools,
    await_old_nginx_workers,
    restore,
    retire,
    site_aside,
    site_back,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_supervisor import LegacyProgram
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Aside
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import RUNNING, Process

from tests.unit.plugins.legacy_host import COMMANDS, DOMAIN, LegacyHost

# supervisor's own patience, when nobody raised it.
STOPWAITSECS = 10
HORSE = 1500


@dataclass
class World:
    """supervisord with one RQ worker, whose job ends ``busy`` seconds after it was told to stop, or at ``job_ends``."""

    busy: float = 0.0
    job_ends: float = float("inf")
    restarts: bool = True
    time: float = 0.0
    pid: int = 500
    told: dict[int, float] = field(default_factory=dict)
    killed: bool = False
    stopped: bool = False
    known: bool = True
    added: list[str] = field(default_factory=list)
    reread_first: bool = False

    def _tick(self) -> None:
        ends = self.told.get(self.pid)
        if ends is not None and self.time >= ends:
            del self.told[self.pid]
            # With autorestart the next one is there at once, and has no work.
            self.pid = self.pid + 1 if self.restarts and not self.stopped else 0
            self.busy = 0.0

    # supervisord

    def processes(self) -> list[Process]:
        return [Process("rqworker", "rqworker", RUNNING, self.pid)] if self.known else []

    def stop(self, _group: str) -> None:
        self.stopped = True
        if self.busy > STOPWAITSECS:
            self.killed = True
        if self.pid:
            self.terminate(self.pid)

    def remove(self, _group: str) -> bool:
        self._tick()
        self.known = bool(self.pid)
        return not self.pid

    def reread(self) -> None:
        self.reread_first = True

    def add(self, group: str) -> None:
        assert self.reread_first
        self.added.append(group)

    # The kernel

    def terminate(self, pid: int) -> None:
        self.killed |= pid in self.told and self.busy > 0
        self.told.setdefault(pid, self.time + self.busy)

    def seen(self) -> Mapping[int, LegacyProcess]:
        self._tick()
        # The job is a child of the worker, and looks like it.
        alive = [(self.pid, 1)] if self.pid else []
        alive += [(HORSE, self.pid)] if self.busy and self.time < self.job_ends else []
        command = tuple(COMMANDS["rqworker"])
        return {pid: LegacyProcess(pid, parent, command, "/", 1000, frozenset()) for pid, parent in alive}

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    @property
    def tools(self) -> Tools:
        return Tools(self, self.seen, self.terminate, lambda: self.time, self.sleep)

    @property
    def program(self) -> LegacyProgram:
        return LegacyProgram("rqworker", "rqworker", "rqworker", None, tuple(self.processes()))


@pytest.fixture
def host(tmp_path: Path) -> LegacyHost:
    return LegacyHost(tmp_path)


@pytest.mark.parametrize("restarts", [True, False])
def test_a_job_of_minutes_is_finished_whatever_supervisors_patience(host: LegacyHost, *, restarts: bool) -> None:
    world = World(busy=300, restarts=restarts)
    retire(world.program, Aside(host.layout), host.places, world.tools, 600, check=False)
    assert not world.killed
    assert not world.known
    assert 300 <= world.time < 310


def test_one_that_works_too_long_goes_on_working_and_the_call_says_so(host: LegacyHost) -> None:
    world = World(busy=1000)
    with pytest.raises(WebappsError, match=r"still works after 600 s .*adopt_longest_job"):
        retire(world.program, Aside(host.layout), host.places, world.tools, 600, check=False)
    assert not world.killed
    # The next call waits for the same end.
    retire(world.program, Aside(host.layout), host.places, world.tools, 600, check=False)
    assert not world.killed
    assert not world.known


def test_a_run_that_was_killed_while_it_waited_has_the_next_one_tell_the_worker_nothing(host: LegacyHost) -> None:
    """A second SIGTERM would have RQ kill the job."""
    world = World(busy=1000)
    with pytest.raises(WebappsError, match="still works"):
        retire(world.program, Aside(host.layout), host.places, world.tools, 60, check=False)
    told = dict(world.told)
    retire(world.program, Aside(host.layout), host.places, world.tools, 2000, check=False)
    assert told
    assert not world.killed
    assert not world.known


def test_a_run_that_was_killed_before_it_told_the_worker_has_the_next_one_tell_it_after_its_job(
    host: LegacyHost,
) -> None:
    world = World(busy=1000, job_ends=100)
    note(Aside(host.layout), told=[f"{world.pid}:0"])
    retire(world.program, Aside(host.layout), host.places, world.tools, 2000, check=False)
    assert not world.killed
    assert 1100 <= world.time < 1110


def test_its_file_goes_aside_before_it_ends(host: LegacyHost) -> None:
    world, conf = World(busy=1000), host.places.programs / "rqworker.conf"
    program = LegacyProgram("rqworker", "rqworker", "rqworker", conf, tuple(world.processes()))
    with pytest.raises(WebappsError):
        retire(program, Aside(host.layout), host.places, world.tools, 1, check=False)
    assert not conf.exists()
    assert (host.layout.root / "adopted/supervisor/rqworker.conf").exists()
    # supervisord alone knows of it now, and it is still found.
    assert "rqworker" in [found.name for found in host.look().programs]


def test_check_mode_says_it_and_does_nothing(host: LegacyHost) -> None:
    world, conf = World(), host.places.programs / "rqworker.conf"
    program = LegacyProgram("rqworker", "rqworker", "rqworker", conf, tuple(world.processes()))
    foreseen = retire(program, Aside(host.layout), host.places, world.tools, 1, check=True)
    assert conf.exists()
    assert (world.told, world.known) == ({}, True)
    assert retire(program, Aside(host.layout), host.places, world.tools, 1, check=False) == foreseen


def test_a_program_comes_back(host: LegacyHost) -> None:
    world, conf = World(), host.places.programs / "rqscheduler.conf"
    before = conf.read_text()
    program = LegacyProgram("rqscheduler", "rqscheduler", "", conf, ())
    retire(program, Aside(host.layout), host.places, world.tools, 1, check=False)
    assert restore("rqscheduler", Aside(host.layout), host.places, world.tools, check=False)
    assert conf.read_text() == before
    assert world.added == ["rqscheduler"]


def test_the_virtual_host_goes_aside_and_comes_back(host: LegacyHost) -> None:
    path = host.places.nginx / "sites-enabled/amy"
    before, site = path.read_text(), host.look().site
    assert site is not None
    site_aside(site, host.layout, host.places, check=False)
    assert not path.exists()
    assert (host.layout.root / "adopted/nginx/sites-enabled/amy").read_text() == before
    enabled = host.places.nginx / "sites-enabled" / f"{DOMAIN}.conf"
    enabled.symlink_to(f"../sites-available/{DOMAIN}.conf")
    site_back(host.layout, host.places, check=False)
    assert path.read_text() == before
    assert not enabled.is_symlink()
    assert site_back(host.layout, host.places, check=False) == []


def test_a_file_of_the_roles_name_is_kept_too(host: LegacyHost) -> None:
    """Enabled by a link of that name, it would be overwritten through it."""
    (host.places.nginx / "sites-enabled/amy").unlink()
    available = host.places.nginx / "sites-available" / f"{DOMAIN}.conf"
    enabled = host.places.nginx / "sites-enabled" / f"{DOMAIN}.conf"
    host.site(f"../sites-available/{DOMAIN}.conf")
    enabled.symlink_to(available)
    before, site = available.read_text(), host.look().site
    assert site is not None
    site_aside(site, host.layout, host.places, check=False)
    assert not enabled.is_symlink()
    kept = host.layout.root / "adopted/nginx"
    assert (kept / f"sites-available/{DOMAIN}.conf").read_text() == before
    available.write_text("server unix:/live.sock;")
    site_back(host.layout, host.places, check=False)
    assert enabled.read_text() == before
    assert record(Aside(host.layout))["nginx"] == str(enabled)


def test_workers_of_the_configuration_before_are_waited_for() -> None:
    world = World()
    ends = 5.0

    def seen() -> Mapping[int, LegacyProcess]:
        title = ("nginx: worker process is shutting down",) if world.time < ends else ("nginx: worker process",)
        return {7: LegacyProcess(7, 1, title, "/", 33, frozenset())}

    tools = Tools(world, seen, world.terminate, lambda: world.time, world.sleep)
    assert not await_old_nginx_workers(tools, 2)
    assert await_old_nginx_workers(tools, 10)
    assert world.time >= ends
