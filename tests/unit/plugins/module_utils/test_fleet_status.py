"""What a fleet's state reads like, and what makes it all right or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.carpentries.webapps.plugins.filter.status_document import status_document
from ansible_collections.carpentries.webapps.plugins.filter.status_line import status_line
from ansible_collections.carpentries.webapps.plugins.module_utils.fleet_status import WIDTH, lines

NOW = "2026-03-01T14:30:00Z"
OLD, NEW = "0123456789-89abcdef", "3f2a1b9c0d-9f8e7d6c"
HOSTS = {"web": ["web-1", "web-2"], "worker": ["worker-1"], "scheduler": ["worker-1"], "builder": ["builder-1"]}
FINE = {
    "url": "http://127.0.0.1:80/",
    "host": "amy.example.org",
    "status": 200,
    "error": "",
    "expected": "",
    "healthy": True,
}
UNREACHABLE = {"unreachable": True, "msg": "Failed to connect to the host via ssh:\n timed out"}


def program(name: str, release: str = NEW, state: str = "RUNNING", processes: int = 1, **more: Any) -> dict[str, Any]:
    each = [{"name": name, "state": state, "pid": 1, "uptime": 60}] * processes
    generation = f"{release}-{'a1b2c3d4' if name == 'gunicorn' else 'b2c3d4e5' if name == 'rqworker' else 'c3d4e5f6'}"
    row = {"program": name, "generation": generation, "release": release, "state": state, "processes": each}
    return {**row, "retiring": False, **more}


def seen(*programs: dict[str, Any], release: str | None = NEW, serves: bool = False, **more: Any) -> dict[str, Any]:
    live = {"generation": f"{release}-a1b2c3d4", "release": release} if serves and release else None
    return {
        "release": release,
        "version": {OLD: "v4.1.0", NEW: "v4.2.0"}.get(release or ""),
        "commit": "3f2a",
        "since": "2026-02-28T09:05:00+00:00" if release else None,
        "releases": sorted({each["release"] for each in programs if not each["retiring"]}),
        "live": live,
        "repo": release,
        "environment": "76543210",
        "programs": list(programs),
        "supervisor": "",
        "health": FINE if serves else None,
        "maintenance": {"active": False, "shown_by": None},
        "disk": {"free": 2**33, "total": 2**34, "percent": 41},
        "certificate": None,
        "dump": None,
        "failed_units": [],
        "troubles": [],
        **more,
    }


def web(release: str | None = NEW, **more: Any) -> dict[str, Any]:
    return seen(*([program("gunicorn", release)] if release else []), release=release, serves=True, **more)


def worker(release: str = NEW, **more: Any) -> dict[str, Any]:
    return seen(program("rqworker", release, processes=2), program("rqscheduler", release), release=release, **more)


def pool(state: str = "healthy", reason: str = "", description: str = "") -> dict[str, Any]:
    return {"targets": [{"target_group": "amy", "state": state, "reason": reason, "description": description}]}


DUMP = {"taken": "2026-03-01T02:15:09+00:00", "reason": "timer"}
CERTIFICATE = {"path": "/etc/ssl/amy.pem", "ends": "2026-05-01T00:00:00+00:00", "self_signed": False}
FLEET = {
    "web-1": web(dump=DUMP, certificate=CERTIFICATE),
    "web-2": web(certificate=CERTIFICATE),
    "worker-1": worker(),
    "builder-1": seen(release=None),
}
POOLS = {"web-1": pool(), "web-2": pool()}
HISTORY = [
    {
        "who": "ada@laptop", "run": "1", "version": "v4.2.0", "began": "2026-02-28T09:01:00Z",
        "ended": "2026-02-28T09:06:12Z", "seconds": 312, "result": "succeeded", "message": "",
    },
    {
        "who": "ci", "run": "2", "version": "feature/a-very-long-branch", "began": "2026-02-27T16:00:00Z",
        "ended": "2026-02-27T16:00:48Z", "seconds": 48.4, "result": "failed",
        "message": "GET http://127.0.0.1:80/ with Host\namy.example.org: status 500",
    },
]  # fmt: skip


def told(changed: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """The document of the fleet, with some of its hosts as given."""
    fleet = {**FLEET, **(changed or {})}
    document: dict[str, Any] = status_document(fleet, HOSTS, NOW, **{"pools": POOLS, **options})
    return document


def problems(document: dict[str, Any]) -> list[str]:
    return [
        *document["problems"],
        *(f"{name}: {text}" for name, row in document["hosts"].items() for text in row["problems"]),
    ]


def warnings(document: dict[str, Any]) -> list[str]:
    return [
        *document["warnings"],
        *(f"{name}: {text}" for name, row in document["hosts"].items() for text in row["warnings"]),
    ]


def test_a_fleet_that_is_all_right() -> None:
    document = told(history=HISTORY[::-1])
    assert (document["ok"], document["release"], document["version"]) == (True, NEW, "v4.2.0")
    assert lines(document) == [
        "host       version  release              generation         since              healthy  pool",
        "builder-1  -        -                    -                  -                  -        -",
        "web-1      v4.2.0   3f2a1b9c0d-9f8e7d6c  a1b2c3d4           2026-02-28T09:05Z  yes      healthy",
        "web-2      v4.2.0   3f2a1b9c0d-9f8e7d6c  a1b2c3d4           2026-02-28T09:05Z  yes      healthy",
        "worker-1   v4.2.0   3f2a1b9c0d-9f8e7d6c  b2c3d4e5 c3d4e5f6  2026-02-28T09:05Z  -        -",
        "",
        "host       workers  scheduler  maintenance  disk  certificate  dumped             for",
        "builder-1  -        -          off          41%   -            -                  -",
        "web-1      -        -          off          41%   2026-05-01   2026-03-01T02:15Z  timer",
        "web-2      -        -          off          41%   2026-05-01   -                  -",
        "worker-1   2/2      1/1        off          41%   -            -                  -",
        "",
        "deploy             by          version        took        result",
        "2026-02-28T09:01Z  ada@laptop  v4.2.0         5 min 12 s  succeeded",
        "2026-02-27T16:00Z  ci          feature/a-v..  48 s        failed",
        "  GET http://127.0.0.1:80/ with Host amy.example.org: status 500",
        "",
        "The fleet is all right: 3 hosts run v4.2.0 (3f2a1b9c0d-9f8e7d6c).",
    ]


def test_a_fleet_in_trouble() -> None:
    broken = {
        "web-1": web(OLD, dump=DUMP, maintenance={"active": True, "shown_by": "operator"}),
        "web-2": UNREACHABLE,
        "worker-1": seen(
            program("rqworker", state="STOPPED RUNNING", processes=1),
            program("rqworker", OLD, "STOPPING", retiring=True),
            program("rqscheduler"),
            disk={"free": 2**29, "total": 2**34, "percent": 97},
        ),
    }
    lock = {"owner": "ada@laptop", "run": "1", "version": "v4.2.0", "acquired_at": "2026-03-01T14:20:00Z"}
    pools = {"web-1": pool("draining", "Target.DeregistrationInProgress"), "web-2": pool()}
    assert lines(told(broken, pools=pools, lock=lock)) == [
        "host       version  release              generation         since              healthy  pool",
        "builder-1  -        -                    -                  -                  -        -",
        "web-1      v4.1.0   0123456789-89abcdef  a1b2c3d4           2026-02-28T09:05Z  yes      draining",
        "web-2      -        -                    -                  -                  ?        healthy",
        "worker-1   v4.2.0   3f2a1b9c0d-9f8e7d6c  b2c3d4e5 c3d4e5f6  2026-02-28T09:05Z  -        -",
        "",
        "host       workers  scheduler  maintenance    disk  certificate  dumped             for",
        "builder-1  -        -          off            41%   -            -                  -",
        "web-1      -        -          on (operator)  41%   -            2026-03-01T02:15Z  timer",
        "web-2      -        -          -              -     -            -                  -",
        "worker-1   0/1 +1   1/1        off            97%   -            -                  -",
        "",
        "Problems:",
        "  the hosts run 2 releases: v4.1.0 (0123456789-89abcdef) on web-1;",
        "    v4.2.0 (3f2a1b9c0d-9f8e7d6c) on worker-1: deploy again",
        "  web-1: amy calls it draining (Target.DeregistrationInProgress)",
        "  web-2: cannot be reached: Failed to connect to the host via ssh: timed",
        "    out",
        "  worker-1: rqworker of 3f2a1b9c0d-9f8e7d6c-b2c3d4e5 is STOPPED RUNNING:",
        "    look at its log, then deploy again",
        "",
        "Warnings:",
        "  ada@laptop deploys (v4.2.0, since 2026-03-01T14:20Z)",
        "  web-1: the maintenance page is shown, by operator",
        "  worker-1: the disk is 97% full, 512 MiB are free",
        "  worker-1: 0123456789-89abcdef-b2c3d4e5 is finishing its work",
        "",
        "The fleet is not all right: 4 problems.",
    ]


def test_no_line_is_wider_than_a_terminal_or_broken_by_yaml() -> None:
    long = "amy-production-web-server-number-1"
    row = web(
        version="feature/a-branch-with-a-long-name",
        troubles=["x" * 300, "words: " * 60],
        programs=[program("gunicorn"), program("rqworker"), program("rqscheduler")],
        maintenance={"active": True, "shown_by": "operator"},
        certificate=CERTIFICATE,
        dump=DUMP,
    )
    deploy = {**HISTORY[1], "who": "o" * 60, "seconds": 35999, "result": "r" * 60, "message": "words " * 60}
    two = web(programs=[program("gunicorn"), program("rqworker")])
    fleet = {long: row, f"{long}-2": two}
    document = status_document(fleet, {"web": [*fleet]}, NOW, pools={long: pool("unhealthy")}, history=[deploy])
    shown = lines(document)
    assert max(map(len, shown)) <= WIDTH
    assert [line.split()[0] for line in shown[1:3]] == ["..eb-server-number-1", "..-server-number-1-2"]
    # As Ansible prints it.
    assert len(yaml.safe_dump({"a": {"msg": shown}}, indent=4).splitlines()) == 2 + len(shown)


def test_one_line_is_the_document_without_a_space_or_an_apostrophe() -> None:
    document = told({"web-2": {"msg": 'it\'s "quoted" \\u0020 and has\nlines'}}, history=HISTORY)
    line = status_line(document)
    assert not set(line) & set(" '\n")
    assert json.loads(line.removeprefix("STATUS=")) == document


def test_the_document_is_json() -> None:
    document = told({"web-2": UNREACHABLE}, history=HISTORY)
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize(
    ("host", "row", "problem"),
    [
        ("web-1", {"msg": "sudo: a password is required"}, "web-1: cannot be looked at: sudo: a password is required"),
        ("web-1", {}, "web-1: cannot be looked at: it gave no answer"),
        ("web-1", web(None), "web-1: no release was published here: deploy"),
        ("web-1", web(supervisor="supervisord does not run"), "web-1: supervisord does not run"),
        ("web-1", web(troubles=["releases.json is no ledger"]), "web-1: releases.json is no ledger"),
        ("web-1", web(repo=OLD), f"web-1: {NEW} serves while the link repo points at {OLD}: deploy again"),
        (
            "web-1",
            web(releases=[OLD, NEW]),
            f"web-1: processes of {OLD} run besides those of {NEW}: deploy again",
        ),
        (
            "web-1",
            web(health={**FINE, "status": 502, "healthy": False}),
            "web-1: GET http://127.0.0.1:80/ with Host amy.example.org: status 502",
        ),
        (
            "web-1",
            web(health={**FINE, "status": None, "error": "Connection refused", "healthy": False}),
            "web-1: GET http://127.0.0.1:80/ with Host amy.example.org: no answer (Connection refused)",
        ),
        (
            "web-1",
            web(health={**FINE, "expected": NEW, "healthy": False}),
            f"web-1: GET http://127.0.0.1:80/ with Host amy.example.org: status 200, but nothing in the answer says "
            f'"{NEW}"',
        ),
        (
            "web-1",
            web(certificate={**CERTIFICATE, "ends": "2026-03-01T14:29:59+00:00"}),
            "web-1: /etc/ssl/amy.pem ended at 2026-03-01T14:29Z: run playbooks/certificates.yml",
        ),
        (
            "worker-1",
            seen(program("rqscheduler")),
            "worker-1: rqworker should run here and does not: deploy again",
        ),
        (
            "builder-1",
            seen(program("rqscheduler"), release=NEW),
            "builder-1: rqscheduler runs here and should not: deploy again, which stops it",
        ),
        (
            "web-2",
            web(failed_units=[{"unit": "webapps-pg-drill-amy.service", "said": "12 rows are  missing"}]),
            "web-2: webapps-pg-drill-amy.service failed: 12 rows are missing; see `journalctl --unit "
            "webapps-pg-drill-amy.service`, then start it again",
        ),
        (
            "web-2",
            web(failed_units=[{"unit": "certbot.service", "said": ""}]),
            "web-2: certbot.service failed; see `journalctl --unit certbot.service`, then start it again",
        ),
        (
            "builder-1",
            seen(program("gunicorn"), release=NEW),
            "builder-1: gunicorn runs here and should not: deploy again, which says how to end it",
        ),
    ],
)
def test_what_is_wrong_with_a_host_is_said(host: str, row: dict[str, Any], problem: str) -> None:
    document = told({host: row})
    assert problem in problems(document)
    assert not document["ok"]


def test_a_balancer_that_cannot_be_asked_is_a_problem_also_of_a_host_that_cannot_be_reached() -> None:
    silent = {"failed": True, "msg": "Unable to locate\ncredentials"}
    document = told({"web-2": UNREACHABLE}, pools={"web-1": silent, "web-2": silent})
    said = "the balancer could not be asked: Unable to locate credentials"
    assert document["hosts"]["web-1"]["problems"] == [said]
    assert document["hosts"]["web-2"]["problems"][1:] == [said]
    assert [line.split()[-1] for line in lines(document)[2:4]] == ["?", "?"]


def test_without_a_balancer_no_host_is_asked_to_be_in_a_pool() -> None:
    assert told(pools={"web-1": {"skipped": True}})["ok"]


def test_hosts_with_different_releases_are_a_problem_of_the_fleet() -> None:
    document = told({"web-2": web(OLD)})
    assert document["release"] is None
    assert document["problems"] == [
        f"the hosts run 2 releases: v4.2.0 ({NEW}) on web-1, worker-1; v4.1.0 ({OLD}) on web-2: deploy again"
    ]


def test_what_a_builder_has_is_no_release_of_the_fleet() -> None:
    assert told({"builder-1": seen(release=OLD)})["ok"]


def test_a_page_on_some_hosts_only_is_a_problem_and_on_all_a_warning() -> None:
    shown: dict[str, Any] = {"maintenance": {"active": True, "shown_by": "deploy"}}
    assert told({"web-1": web(**shown)})["problems"] == [
        "only web-1 shows the maintenance page: switch it with playbooks/maintenance.yml, on or off"
    ]
    document = told({"web-1": web(**shown, dump=DUMP), "web-2": web(**shown)})
    assert document["ok"]
    assert warnings(document) == [f"{name}: the maintenance page is shown, by deploy" for name in ("web-1", "web-2")]


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        (
            web(dump=DUMP, certificate={**CERTIFICATE, "ends": "2026-03-15T14:30:00+00:00"}),
            "web-1: the certificate ends at 2026-03-15T14:30Z",
        ),
        (
            web(dump=DUMP, certificate={**CERTIFICATE, "self_signed": True}),
            "web-1: /etc/ssl/amy.pem is self-signed, which no browser trusts",
        ),
        (
            web(dump=DUMP, disk={"free": 2**30, "total": 2**34, "percent": 90}),
            "web-1: the disk is 90% full, 1024 MiB are free",
        ),
        (web(), "no host has a proven dump of the database: run playbooks/backup.yml"),
        (
            web(dump={**DUMP, "taken": "2026-02-27T02:15:00+00:00"}),
            "the newest dump is of 2026-02-27T02:15Z: see why the timer took none",
        ),
    ],
)
def test_what_will_become_a_problem_is_a_warning(row: dict[str, Any], warning: str) -> None:
    document = told({"web-1": row})
    assert warnings(document) == [warning]
    assert document["ok"]


def test_where_no_dumps_are_taken_none_is_missed() -> None:
    assert warnings(told({"web-1": web()}, dump_days=0)) == []


def test_an_inventory_without_hosts_is_not_all_right() -> None:
    document = status_document({}, {}, NOW)
    assert not document["ok"]
    assert "check the inventory's filters" in lines(document)[1]
