"""What the fleet's tests hold as evidence: read from the machines and from AWS, never from a playbook's own word."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3

from sandbox.fleet import AWS, DOMAIN, STATE, WEB_HOSTS

FLEET = (*WEB_HOSTS, "worker-1")
# Everything a deploy or a configuration may touch; logs grow by themselves.
WATCHED = ("/webapps", "/etc", "/var/lib/webapps", "/run/webapps", "/usr/local")
FACTS = r"%p\t%y %m %u %s %C@ %l\n"
JOURNALS = "/run/webapps-aws"


def on(host: str, *command: str) -> str:
    """Run a command in a machine, as root, past SSH."""
    return subprocess.run(
        ["docker", "exec", f"webapps-{host}", *command], check=True, capture_output=True, text=True
    ).stdout


def recap(output: str) -> dict[str, dict[str, int]]:
    """The counters of ansible-playbook's last lines, of each host."""
    lines = output.partition("PLAY RECAP")[2].splitlines()
    hosts = (re.match(r"(\S+)\s+:\s+(ok=.*)", line) for line in lines)
    return {
        host[1]: {name: int(count) for name, count in (word.split("=") for word in host[2].split())}
        for host in hosts
        if host
    }


def changed_hosts(output: str) -> set[str]:
    return {host for host, counters in recap(output).items() if counters["changed"]}


def processes(host: str, *programs: str) -> set[int]:
    """The process ids of the running supervisor programs that begin with these names."""
    status = subprocess.run(
        ["docker", "exec", f"webapps-{host}", "supervisorctl", "status"], capture_output=True, text=True, check=False
    ).stdout
    wanted = tuple(f"{program}-" for program in programs)
    rows = (re.match(r"(\S+)\s+RUNNING\s+pid (\d+)", line) for line in status.splitlines())
    return {int(row[2]) for row in rows if row and row[1].startswith(wanted)}


def live_releases(hosts: Sequence[str] = FLEET) -> dict[str, str]:
    """The release that each host's processes belong to, by the link that operators know."""
    return {host: on(host, "readlink", f"/webapps/{DOMAIN}/repo").strip().rpartition("/")[2] for host in hosts}


def states(host: str) -> dict[str, str]:
    """What a host's ledger says of each release."""
    ledger = json.loads(on(host, "cat", f"/webapps/{DOMAIN}/releases.json"))
    return {release: entry["state"] for release, entry in ledger["releases"].items()}


def keep_environment_of(host: str) -> None:
    """Write the environment that a host runs with where sandbox/production.yml looks for it."""
    path = STATE / "environment"
    path.touch(mode=0o600)
    path.write_text(on(host, "cat", f"/webapps/{DOMAIN}/environment"))


def secrets() -> list[str]:
    """Every secret of the fleet, as it would show in an output."""
    return [path.read_text().split(" ", 1)[0].strip() for path in (STATE / "secrets").iterdir()]


@dataclass(frozen=True)
class HostTrees:
    """The files of all hosts: path to type, mode, owner, size, change time and link target."""

    entries: dict[str, str]

    @classmethod
    def now(cls, hosts: Sequence[str] = FLEET) -> HostTrees:
        entries = {}
        for host in hosts:
            command = [
                "sh",
                "-c",
                f"find {' '.join(WATCHED)} -path '*/logs' -prune -o -printf '%p\\t%y %m %u %s %C@ %l\\n' 2>&1",
            ]
            for line in on(host, *command).splitlines():
                path, _tab, facts = line.partition("\t")
                entries[f"{host}:{path}"] = facts
        return cls(entries)

    def differences(self, before: HostTrees) -> list[str]:
        paths = self.entries.keys() | before.entries.keys()
        return sorted(path for path in paths if self.entries.get(path) != before.entries.get(path))


def journal(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in on("aws", "cat", f"{JOURNALS}/{name}.jsonl").splitlines()]


@dataclass(frozen=True)
class CallJournal:
    """The place in the journal of AWS calls at which something began."""

    length: int

    @classmethod
    def now(cls) -> CallJournal:
        return cls(len(journal("calls")))

    def writes_since(self) -> list[str]:
        return [call["action"] for call in journal("calls")[self.length :] if call["kind"] == "write"]


def aws(service: str) -> Any:
    """A client of one of the fleet's AWS services."""
    # boto3's types have a client for each literal name.
    client: Any = boto3.client
    return client(
        service, endpoint_url=AWS["AWS_ENDPOINT_URL"], region_name=AWS["AWS_REGION"],
        aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


@contextmanager
def trouble(
    action: str, *, code: str | None = None, calls: int | None = None, after: int = 0, delay: float = 0.0
) -> Iterator[Callable[[], int]]:
    """Have AWS answer an API action with an error or slowly: some calls of it, or all for a while.

    `after` so many calls that go well. Yields what tells how often it was called meanwhile. What AWS can do is in
    sandbox/aws/trouble.py.
    """
    order = {"id": uuid.uuid4().hex, "action": action, "code": code, "calls": calls, "after": after, "delay": delay}
    begin = len(journal("calls"))
    _order([*_ordered(), order])
    try:
        yield lambda: sum(call["action"] == action for call in journal("calls")[begin:])
    finally:
        _order([other for other in _ordered() if other["id"] != order["id"]])


def _ordered() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(on("aws", "sh", "-c", f"cat {JOURNALS}/trouble.json || echo []"))
    return found


def _order(orders: list[dict[str, Any]]) -> None:
    # By a rename: the endpoint reads at any time.
    write = f'printf %s "$0" >{JOURNALS}/trouble.new && mv {JOURNALS}/trouble.new {JOURNALS}/trouble.json'
    on("aws", "sh", "-c", write, json.dumps(orders))


@contextmanager
def parameters(path: str, values: Mapping[str, str]) -> Iterator[None]:
    """Keep secrets in Parameter Store, below a path, for a while."""
    ssm = aws("ssm")
    for name, value in values.items():
        ssm.put_parameter(Name=f"{path}/{name}", Value=value, Type="SecureString")
    try:
        yield
    finally:
        for name in values:
            ssm.delete_parameter(Name=f"{path}/{name}")


@contextmanager
def retagged(*hosts: str, **tags: str) -> Iterator[None]:
    """Give instances other tags for a while."""
    ec2 = aws("ec2")
    found = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": list(hosts)}])
    instances = [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]
    for instance in instances:
        ec2.create_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
    try:
        yield
    finally:
        for instance in instances:
            before = [tag for tag in instance["Tags"] if tag["Key"] in tags]
            ec2.create_tags(Resources=[instance["InstanceId"]], Tags=before)


@dataclass(frozen=True)
class Transitions:
    """Every change of a target's health since the account exists, oldest first."""

    entries: list[dict[str, Any]]

    def _healthy_after_each(self) -> Iterator[tuple[float, int]]:
        states: dict[str, str] = {}
        for entry in self.entries:
            states[entry["target"]] = entry["to"]
            yield entry["time"], sum(state == "healthy" for state in states.values())

    def now(self) -> dict[str, str]:
        """The health of each target that is, or was, in the pool."""
        return {entry["target"]: entry["to"] for entry in self.entries}

    def healthy_now(self) -> int:
        return list(self._healthy_after_each())[-1][1]

    def fewest_healthy(self, begin: float, end: float) -> int:
        """The smallest number of healthy targets between two times, in seconds since the epoch."""
        counts = list(self._healthy_after_each())
        at_begin = [healthy for at, healthy in counts if at <= begin][-1:]
        return min(at_begin + [healthy for at, healthy in counts if begin <= at <= end])

    def targets_that_drained(self, begin: float, end: float) -> int:
        """How many targets left the pool between two times, in seconds since the epoch."""
        return len(
            {entry["target"] for entry in self.entries if begin <= entry["time"] <= end and entry["to"] == "draining"}
        )


def transitions() -> Transitions:
    return Transitions(journal("transitions"))
