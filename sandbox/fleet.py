"""The local fleet as its demo and its tests use it: playbooks run as a person runs them, load beside them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".cache" / "sandbox"
AUTHORITY = STATE / "tls" / "ca.pem"
BALANCER = "10.77.0.10"
DOMAIN = "amy.sandbox.test"

WEB_HOSTS = {"web-1": "10.77.1.11", "web-2": "10.77.2.11", "web-3": "10.77.3.11"}

# The fleet's AWS account: an endpoint in a container, with credentials that open nothing else.
AWS = {
    "AWS_ENDPOINT_URL": f"http://{BALANCER}:5000",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "eu-west-1",
}
# The controller and the users are machines of their own in real life. Here all share the processors: the controller
# must not take them from the hosts, nor the hosts from the users (`nice` goes on where it may not raise a priority).
BESIDE_THE_FLEET = ("nice", "-n", "19")
USERS = ("nice", "-n", "-10")
ANSIBLE = {
    # Six machines that all work at once on two processors would show nothing but that.
    "ANSIBLE_FORKS": "2",
    "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "sandbox" / "callbacks"),
    "ANSIBLE_CALLBACKS_ENABLED": "kept_modules",
}


# Requests a second: of most tests, whose machines have little to spare, and of the demo and the main roll.
RATE = 40
BUSY = 80
# Where it is measured how long users wait: hosts that work for a deploy at the same time take each other's processors.
ONE_AT_A_TIME = "--forks=1"


class FleetError(Exception):
    """A playbook of the fleet ended otherwise than it should; the text is the end of its output."""


@dataclass(frozen=True)
class Run:
    """One finished run of a playbook."""

    code: int
    output: str
    seconds: float

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.output.splitlines()[-lines:])


@dataclass(frozen=True)
class Fleet:
    """A fleet by its inventory. ``logs``: the directory for the output of its playbooks.

    ``journal``: what happened to it, the last last: finished runs, and what others enter (sandbox/observations.py).
    """

    logs: Path
    inventory: str = "inventories/sandbox"
    arguments: tuple[str, ...] = ()
    journal: list[object] = field(default_factory=list, compare=False)

    def environment(self) -> dict[str, str]:
        # A test runs under Molecule, whose settings for Ansible are not those a person has.
        foreign = ("ANSIBLE_", "MOLECULE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**inherited, **AWS, **ANSIBLE, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}

    def run(self, playbook: str, *arguments: str) -> Run:
        """Run a playbook to its end, whatever that is."""
        self.logs.mkdir(parents=True, exist_ok=True)
        # What boots the fleet makes the account that lists its hosts: nobody answers for the inventory yet.
        inventory = () if playbook.startswith("sandbox/") else ("-i", self.inventory, *self.arguments)
        command = [*BESIDE_THE_FLEET, "ansible-playbook", playbook, *inventory, *arguments]
        begin = time.monotonic()
        result = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(),
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with (self.logs / f"{Path(playbook).stem}.log").open("a") as log:
            log.write(f"$ {' '.join(command)}\n{result.stdout}\nexit {result.returncode}\n\n")
        return self._entered(Run(result.returncode, result.stdout, time.monotonic() - begin))

    def _entered(self, run: Run) -> Run:
        self.journal.append(run)
        return run

    def hosts(self, group: str) -> list[str]:
        """The hosts of one of the inventory's groups, in its order, which AWS's instance ids decide."""
        command = ["ansible-inventory", "-i", self.inventory, "--list"]
        listed = subprocess.run(command, cwd=ROOT, env=self.environment(), check=True, capture_output=True, text=True)
        found: list[str] = json.loads(listed.stdout)[group]["hosts"]
        return found

    def must(self, playbook: str, *arguments: str) -> Run:
        """Run a playbook that has to succeed. Raises FleetError with the end of its output."""
        run = self.run(playbook, *arguments)
        if run.code:
            raise FleetError(f"{playbook} {' '.join(arguments)} ended with {run.code}:\n{run.tail()}")
        return run

    def disturbed(
        self, words: str, disturb: Callable[[int], object], playbook: str, *arguments: str, times: int = 1
    ) -> Run:
        """Run a playbook, do something once its output shows some words so many times, and see it to its end.

        ``disturb`` gets the process group of the run. Raises FleetError when the words never come.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        log, done = self.logs / "disturbed.log", False
        command = [*BESIDE_THE_FLEET, "ansible-playbook", playbook, "-i", self.inventory, *self.arguments, *arguments]
        begin = time.monotonic()
        with log.open("w") as out:
            running = subprocess.Popen(
                command, cwd=ROOT, env=self.environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            try:
                while running.poll() is None:
                    if not done and log.read_text().count(words) >= times:
                        disturb(running.pid)
                        done = True
                    time.sleep(0.2)
            finally:
                # What could not be disturbed must not go on, with the lock, beside what comes next.
                if running.poll() is None:
                    os.killpg(running.pid, signal.SIGKILL)
                    running.wait()
        output = log.read_text()
        if not done:
            raise FleetError(f'{playbook} never said "{words}":\n{output[-3000:]}')
        return self._entered(Run(running.returncode, output, time.monotonic() - begin))

    def site(self, *arguments: str) -> Run:
        return self.must("playbooks/site.yml", *arguments)

    def deploy(self, version: str, *arguments: str) -> Run:
        return self.must("playbooks/deploy.yml", "-e", f"deploy_version={version}", *arguments)


def web_releases(hosts: Mapping[str, str] | None = None) -> dict[str, str]:
    """The release that each web host (or each of these) answers with, asked past the balancer."""
    answers = {}
    for host, address in (hosts or WEB_HOSTS).items():
        with urllib.request.urlopen(f"http://{address}/alive/", timeout=30) as answer:
            answers[host] = str(answer.headers["X-Release"])
    return answers


@dataclass
class Load:
    """The load generator as a process beside everything else. ``summary`` is there once it has stopped."""

    out: Path
    process: subprocess.Popen[bytes]
    summary: dict[str, Any] = field(default_factory=dict)

    def await_start(self) -> None:
        """Wait until the generator takes signals. Raises FleetError when it ended instead."""
        pid = self.out / "pid"
        while not (pid.exists() and pid.read_text().strip() == str(self.process.pid)):
            if self.process.poll() is not None:
                raise FleetError(f"the load generator did not start, see {self.out}/load.log")
            time.sleep(0.1)

    @contextlib.contextmanager
    def roll(self) -> Iterator[None]:
        """Tell the generator which requests fall into a roll."""
        self.process.send_signal(signal.SIGUSR1)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGUSR2)

    def stop(self) -> None:
        """Let the requests under way finish and read the summary. Raises FleetError when there is none."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=120)
        try:
            self.summary = json.loads((self.out / "summary.json").read_text())
        except (OSError, ValueError) as error:
            raise FleetError(f"the load generator left no summary: {error}; see {self.out}/load.log") from error


@contextlib.contextmanager
def load(
    out: Path,
    *,
    connect: str = f"{BALANCER}:443",
    authority: Path = AUTHORITY,
    rate: float = RATE,
    steady: float = 20,
    maintenance: bool = False,
) -> Iterator[Load]:
    """Constant load while the body runs; ``steady`` seconds (0 or more) pass before it and a quarter of them after.

    ``authority``: whom they trust to sign the site's certificate. ``maintenance``: the maintenance page is no failure.
    """
    out.mkdir(parents=True, exist_ok=True)
    command: Sequence[str] = [
        *USERS,
        sys.executable,
        "-m",
        "sandbox.load",
        "--url",
        f"https://{DOMAIN}",
        "--connect",
        connect,
        "--ca",
        str(authority),
        "--rate",
        str(rate),
        "--out",
        str(out),
        *(["--maintenance"] if maintenance else []),
    ]
    with (out / "load.log").open("w") as log:
        running = Load(out, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        try:
            running.await_start()
            time.sleep(steady)
            yield running
            time.sleep(steady / 4)
        finally:
            running.stop()
