"""What the tests of the fault table share: users, the phases of a run by what it shows, the deploy that repairs it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from sandbox.fleet import DOMAIN, ROOT, WEB_HOSTS, Fleet, Load, Run, load, web_releases
from sandbox.observations import Standing
from sandbox.proof import live_releases, on, processes, transitions

OUT = ROOT / "out" / "test" / "faults"
DEPLOYS = f"/var/lib/webapps/{DOMAIN}/deploys"
DEPLOY_V2 = ("playbooks/deploy.yml", "-e", "deploy_version=v2")


@dataclass(frozen=True)
class Moment:
    """A moment of a deploy: so many seconds after its output has shown some words so many times.

    A task's banner comes before its work; a second or two lead into it.
    """

    words: str
    times: int = 1
    seconds: float = 1.5


BUILD = Moment("app_release : Build the release]")
STAGE = Moment("stage_unpack | Unpack the release")
DUMP = Moment("pg_backup : dump | Dump the database")
MIGRATE = Moment("migrate_schema | Apply pending migrations]")
WORKERS = Moment("publish | Start the new workers, let the old ones finish their jobs]")
LEAVE = Moment("leave | Take the batch out of the target groups]")
PUBLISH = Moment("gunicorn : Publish the release]")
JOIN = Moment("join | Put this host into the target groups and wait until it is healthy]")
FINISH = Moment("PLAY [Finish | Prove the fleet]")
# By then the first host runs the new release.
PUBLISH_SECOND = Moment(PUBLISH.words, times=2)


@cache
def web() -> dict[str, str]:
    """The web hosts of the fleet that runs, with their addresses."""
    return {name: WEB_HOSTS[name] for name in sorted(Fleet(OUT / "logs").hosts("web"))}


def disturbed(fleet: Fleet, moment: Moment, disturb: Callable[[int], object], *run: str) -> Run:
    """Run a playbook, do something at a moment of it, and see it to its end; ``disturb`` gets its process group."""

    def then(group: int) -> None:
        time.sleep(moment.seconds)
        disturb(group)

    return fleet.disturbed(moment.words, then, *run, times=moment.times)


@contextlib.contextmanager
def users(fleet: Fleet, name: str) -> Iterator[Load]:
    """Users who click all the time; what they saw is in the summary afterwards."""
    with load(OUT / name, steady=4) as running, running.roll():
        fleet.journal.append(running)
        yield running


def said(run: Run) -> str:
    """What a run said, wherever its lines were broken."""
    return " ".join(run.output.split())


def assert_failed(run: Run, *words: str) -> None:
    """It ended non-zero, and said these words."""
    assert run.code != 0, run.tail()
    missing = [each for each in words if each not in said(run)]
    assert missing == [], run.tail()


def served_before(host: str) -> bool:
    """Whether a host's ledger knows a release that served."""
    ledger = on(host, "sh", "-c", f"cat /webapps/{DOMAIN}/releases.json || echo {{}}")
    return any(entry["state"] in {"live", "good"} for entry in json.loads(ledger).get("releases", {}).values())


def serving() -> dict[str, str]:
    """The release that each web host answers with, asked past the balancer."""
    return web_releases(web())


def standing() -> Standing:
    """How the fleet stands, whoever of it does not answer."""
    hosts: dict[str, str] = {}
    for name, address in web().items():
        try:
            hosts |= web_releases({name: address})
        except OSError as error:
            hosts[name] = f"no answer: {error}"
    return Standing(hosts, transitions().now())


def assert_whole(fleet: Fleet, *arguments: str) -> None:
    """The next plain deploy converges: every host on one release and in the pool, one scheduler, and nobody's lock."""
    fleet.journal.append(standing())
    fleet.deploy("v2", *arguments)
    assert len(set(serving().values())) == 1
    assert set(live_releases((*web(), "worker-1")).values()) == set(serving().values())
    assert transitions().healthy_now() == len(web())
    assert len(processes("worker-1", "rqscheduler")) == 1
    assert history()[-1]["result"] in {"success", "nothing"}


def history() -> list[dict[str, object]]:
    """The deploys as the builder recorded them, the last one last."""
    return [json.loads(line) for line in on("worker-1", "cat", f"{DEPLOYS}/deploys.jsonl").splitlines()]


def engine(*command: str) -> None:
    subprocess.run(["docker", *command], check=True, capture_output=True)


def stop_hard(host: str) -> None:
    """As if its power were cut."""
    engine("kill", f"webapps-{host}")


def boot(host: str) -> None:
    """Start a machine again, and wait until everything that starts with it has started."""
    engine("start", f"webapps-{host}")
    ask = ["docker", "exec", f"webapps-{host}", "systemctl", "is-system-running", "--wait"]
    # Before systemd listens, the question fails at once.
    while subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip() not in {
        "running",
        "degraded",
    }:
        time.sleep(0.5)


def sql(statement: str, database: str = "amy") -> str:
    """What the database's owner gets for a statement."""
    psql = ["psql", "-XAt", "--set=ON_ERROR_STOP=1", f"--dbname={database}", f"--command={statement}"]
    return on("db-1", "runuser", "--user", "postgres", "--", *psql).strip()


def migrated() -> bool:
    """Whether v2's migration is applied."""
    return sql("SELECT count(*) FROM django_migrations WHERE name = '0002_note_topic'") == "1"


def have_v2_migrate_again(fleet: Fleet) -> None:
    """Lead the fleet to v1, and take back what v2's migration did."""
    if migrated():
        fleet.deploy("v1")
        sql("ALTER TABLE notes_note DROP COLUMN topic; DELETE FROM django_migrations WHERE name = '0002_note_topic'")
    # What led there is no part of what goes wrong next.
    fleet.journal.clear()
