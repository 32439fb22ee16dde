"""A host in memory and a temporary directory: supervisor with its states and delays, programs that boot, fail and take
their time to end, links and files that are real. Time passes only when somebody sleeps."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils import ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer, HttpProbe
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_plan import Front
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_tools import CommandResult, Tools
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    BACKOFF,
    EXITED,
    FATAL,
    RUNNING,
    RUNNING_STATES,
    STARTING,
    STOPPED,
    STOPPED_STATES,
    STOPPING,
    Process,
    SupervisorError,
    SupervisorNotRunningError,
)

DOMAIN = "amy.example.org"
EPOCH = 1_000_000


class Killed(BaseException):
    """The call was killed."""


@dataclass
class Behaviour:
    """How a release behaves. Seconds, except for ``status`` (HTTP) and ``exit_status``.

    ``dies_after``: None if it stays up. ``command_status``: exit status of the proof command.
    ``command_takes``: seconds that it takes.
    """

    boots: float = 1.0
    dies_after: float | None = None
    exit_status: int = 3
    status: int = 200
    says: str | None = None
    ends_after: float = 0.4
    command_status: int = 0
    command_takes: float = 0.0
    front_status: int = 200


@dataclass
class Running:
    """A process as the fake supervisord keeps it."""

    group: str
    name: str
    section: Mapping[str, str]
    state: str = STOPPED
    pid: int = 0
    started: float = 0.0
    ends: float | None = None
    kill_at: float = 0.0
    retry_at: float = 0.0
    backoff: int = 0
    exit_status: int = 0
    error: str = ""

    # Asked for at every tick.
    @cached_property
    def directory(self) -> Path:
        return Path(self.section["directory"])

    @cached_property
    def socket(self) -> Path | None:
        found = re.search(r"unix:(\S+)", self.section["command"])
        return Path(found.group(1)) if found else None


class Host:
    """One host. ``kill_at``: which effect to kill the caller at, and ``kill_before`` whether before or after it."""

    def __init__(self, root: Path, run_root: Path, conf_dir: Path) -> None:
        self.layout = Layout(root / DOMAIN, run_root)
        self.conf_dir = conf_dir
        self.launcher = conf_dir / "webapps-run"
        self.launcher.touch()
        self.log = self.layout.logs / "program.log"
        for path in (self.layout.releases, self.layout.environments, self.layout.logs, self.layout.run_dir):
            path.mkdir(parents=True)
        self.time = float(EPOCH)
        self.behaviours: dict[str, Behaviour] = {}
        self.files_read: dict[str, Mapping[str, str]] = {}
        self.running: dict[str, list[Running]] = {}
        self.supervisor_runs = True
        self.pids = 100
        self.waiting: dict[Path, list[int]] = {}
        self.blind = False
        self.front_up = True
        self.effects = 0
        self.effect_names: list[str] = []
        self.kill_at: int | None = None
        self.kill_before = False
        self.terms: list[str] = []
        self.commands: list[tuple[list[str], str, Path, str, Mapping[str, str]]] = []
        self.watch: Callable[[], None] = lambda: None

    # What the application brings

    def stage(self, release: str, behaviour: Behaviour | None = None) -> None:
        directory = self.layout.release(release)
        directory.mkdir()
        (directory / "RELEASE.json").write_text("{}")
        self.behaviours[release] = behaviour or Behaviour()
        known = ledger.load(self.layout.ledger)
        staged = ledger.record_staged(known, release, version="v1", commit="c" * 40, now="2026-01-01T00:00:00+00:00")
        ledger.save(self.layout.ledger, staged)

    def environment(self, digest: str) -> None:
        (self.layout.environments / digest).write_text("A='b'\n")

    def ledger_state(self, release: str) -> str:
        return ledger.load(self.layout.ledger).releases[release].state

    # Time

    def clock(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        with self.effect("sleep"):
            self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        end = self.time + seconds
        while self.time < end:
            self.time = min(self.time + 0.1, end)
            self._tick()
            self.watch()

    @contextmanager
    def effect(self, name: str) -> Iterator[None]:
        self.effects += 1
        self.effect_names.append(name)
        fatal = self.kill_at == self.effects
        if fatal and self.kill_before:
            raise Killed
        yield
        self.watch()
        if fatal:
            raise Killed

    # Processes

    def _of(self, process: Running) -> Behaviour:
        return self.behaviours[process.directory.name]

    def _spawn(self, process: Running) -> None:
        behaviour = self._of(process)
        self.pids += 1
        process.pid, process.state, process.started, process.error = self.pids, STARTING, self.time, ""
        process.ends = None if behaviour.dies_after is None else self.time + behaviour.dies_after
        with self.log.open("a") as stream:
            stream.write(f"booting {process.directory.name}\n")

    def _tick(self) -> None:
        for process in [process for group in self.running.values() for process in group]:
            self._tick_one(process)

    def _tick_one(self, process: Running) -> None:
        startsecs = float(process.section["startsecs"])
        autostart = process.state == STOPPED and not process.started
        autorestart = process.state == EXITED and process.section["autorestart"] == "true"
        if autostart or autorestart:
            self._spawn(process)
        elif process.state == BACKOFF and process.backoff > int(process.section["startretries"]):
            process.state = FATAL
        elif process.state == BACKOFF and self.time > process.retry_at:
            self._spawn(process)
        if process.state == STOPPING and self.time >= process.kill_at:
            process.ends = self.time
        if process.pid and process.ends is not None and self.time >= process.ends:
            self._end(process, startsecs)
        elif process.state == STARTING and self.time - process.started > startsecs:
            process.state, process.backoff = RUNNING, 0
        if self._listens(process) and process.socket and not process.socket.exists():
            process.socket.touch()

    def _end(self, process: Running, startsecs: float) -> None:
        process.pid = 0
        if process.state == STOPPING:
            process.state, process.exit_status = STOPPED, 0
        elif self.time - process.started < startsecs:
            process.backoff += 1
            process.retry_at = self.time + process.backoff
            process.state, process.error = BACKOFF, "Exited too quickly (process log may have details)"
        else:
            process.state, process.exit_status = EXITED, self._of(process).exit_status
            process.error = f"Bad exit code {process.exit_status}"

    def _listens(self, process: Running) -> bool:
        up = process.pid and process.state in {STARTING, RUNNING}
        return bool(up) and self.time - process.started >= self._of(process).boots

    # The tools of a publish

    def tools(self) -> Tools:
        return Tools(
            supervisor=_Control(self),
            files=_CountedFiles(self),
            ask_socket=self.ask_socket,
            ask_front=self.ask_front,
            run=self.run,
            backlog=self.backlog,
            clock=self.clock,
            sleep=self.sleep,
            now=lambda: "2026-01-02T00:00:00+00:00",
        )

    def ask_socket(self, path: Path, probe: HttpProbe, timeout: float) -> Answer:
        for process in (process for group in self.running.values() for process in group):
            if process.socket == path and self._listens(process) and path.exists():
                behaviour = self._of(process)
                said = process.directory.name if behaviour.says is None else behaviour.says
                return Answer(str(path), probe.host, behaviour.status, {"X-Release": said}, "body")
        return Answer(str(path), probe.host, error="Connection refused")

    def ask_front(self, front: Front, timeout: float) -> Answer:
        if not self.front_up:
            return Answer("http://127.0.0.1", front.probe.host, error="Connection refused")
        answer = self.served()
        if answer.status is None:
            return Answer("http://127.0.0.1", front.probe.host, 502, {}, "Bad Gateway")
        behaviour = self.behaviours[answer.headers["X-Release"]]
        return Answer("http://127.0.0.1", front.probe.host, behaviour.front_status, answer.headers, answer.body)

    def served(self) -> Answer:
        """What a request of the outside world gets."""
        target = self.layout.live_socket
        if not target.is_symlink():
            return Answer("", DOMAIN, error="no live.sock")
        return self.ask_socket(target.readlink(), HttpProbe("/", DOMAIN), 1)

    def run(
        self, argv: list[str], *, user: str, cwd: Path, stdin: str, variables: Mapping[str, str], timeout: float
    ) -> CommandResult:
        self.commands.append((argv, user, cwd, stdin, variables))
        behaviour = self.behaviours[cwd.name]
        self.sleep(min(behaviour.command_takes, timeout))
        if behaviour.command_takes > timeout:
            return CommandResult(None, "")
        return CommandResult(behaviour.command_status, "said the command\n")

    def backlog(self, path: Path) -> int | None:
        if self.blind:
            return None
        queue = self.waiting.get(path, [])
        return queue.pop(0) if queue else 0

    def states(self, program: str = "gunicorn") -> dict[str, str]:
        """The states of the groups by generation."""
        return {
            name.removeprefix(f"{program}-"): " ".join(sorted({process.state for process in group}))
            for name, group in self.running.items()
            if name.startswith(f"{program}-")
        }


@dataclass
class _Control:
    host: Host

    def _up(self) -> None:
        if not self.host.supervisor_runs:
            raise SupervisorNotRunningError("supervisord does not run: start it")

    def processes(self) -> list[Process]:
        self._up()
        return [
            Process(
                each.group,
                each.name,
                each.state,
                each.pid,
                int(each.started),
                int(self.host.time),
                each.exit_status,
                each.error,
                each.section["stdout_logfile"],
            )
            for group in self.host.running.values()
            for each in group
        ]

    def reread(self) -> None:
        with self.host.effect("reread"):
            self._up()
            self.host.files_read = {}
            for path in sorted(self.host.conf_dir.glob("*.conf")):
                parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
                parser.read(path)
                for section in parser.sections():
                    values = dict(parser.items(section))
                    shlex.split(values["command"] % {"process_num": 0})
                    self.host.files_read[section.removeprefix("program:")] = values

    def add(self, group: str) -> None:
        with self.host.effect("add"):
            if group in self.host.running:
                return
            if group not in self.host.files_read:
                raise SupervisorError(f"BAD_NAME: {group}")
            section = self.host.files_read[group]
            names = [
                section["process_name"] % {"program_name": group, "process_num": number}
                for number in range(int(section["numprocs"]))
            ]
            self.host.running[group] = [Running(group, name, section) for name in names]

    def start(self, group: str) -> None:
        with self.host.effect("start"):
            for process in self.host.running[group]:
                # supervisord ignores a start of a process that is still stopping.
                if process.state not in RUNNING_STATES and not process.pid:
                    self.host._spawn(process)

    def stop(self, group: str) -> None:
        with self.host.effect("stop"):
            for process in self.host.running.get(group, []):
                if process.state == BACKOFF:
                    process.state = STOPPED
                elif process.state in {STARTING, RUNNING}:
                    self.host.terms.append(process.name)
                    process.state = STOPPING
                    process.ends = self.host.time + self.host._of(process).ends_after
                    process.kill_at = self.host.time + float(process.section["stopwaitsecs"])
                    if process.socket:
                        process.socket.unlink(missing_ok=True)

    def remove(self, group: str) -> bool:
        with self.host.effect("remove"):
            if any(process.state not in STOPPED_STATES for process in self.host.running.get(group, [])):
                return False
            self.host.running.pop(group, None)
        return True

    def log_tail(self, size: int) -> str:
        return "\n".join(f"INFO exited: {name} (exit status 3; not expected)" for name in self.host.running)


class _CountedFiles(Files):
    def __init__(self, host: Host) -> None:
        self._host = host

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        with self._host.effect(f"write {path.suffix}"):
            super().write(path, text, mode)

    def link(self, path: Path, target: str) -> None:
        with self._host.effect(f"link {path.name}"):
            super().link(path, target)

    def unlink(self, path: Path) -> None:
        with self._host.effect("unlink"):
            super().unlink(path)
