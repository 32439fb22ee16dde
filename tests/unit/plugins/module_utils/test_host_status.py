"""What is told of a host, whatever is broken there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, run_here
from ansible_collections.carpentries.webapps.plugins.module_utils.host_status import Host, disk, look
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Process, SupervisorNotRunningError

RELEASE = "0123456789-89abcdef"
GENERATION = f"{RELEASE}-a1b2c3d4"
DUMP = "amy.example.org-20260301T021500Z.dump"


def answered(status: int | None = 200, headers: dict[str, str] | None = None, body: str = "") -> Answer:
    return Answer("http://127.0.0.1:80/alive/", "amy.example.org", status, headers or {}, body)


def silent() -> list[Process]:
    raise SupervisorNotRunningError("supervisord does not run")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A web host that serves, with everything that there is to tell."""
    layout, conf_dir = Layout(tmp_path / "amy.example.org", tmp_path / "run"), tmp_path / "conf.d"
    for directory in (layout.release(RELEASE), layout.backups, layout.run_dir, conf_dir):
        directory.mkdir(parents=True)
    (conf_dir / f"amy.example.org-gunicorn-{GENERATION}.conf").write_text("; proven = yes\n")
    layout.live_socket.symlink_to(layout.run_dir / f"{GENERATION}.sock")
    layout.repo.symlink_to(layout.release(RELEASE))
    layout.maintenance_off.write_text("page")
    known = ledger.record_staged(ledger.Ledger(), RELEASE, version="v4.2.0", commit="3f2a", now="2026-03-01T10:00:00Z")
    ledger.save(layout.ledger, ledger.mark_live(known, RELEASE, now="2026-03-01T11:00:00+00:00"))
    (layout.backups / DUMP).write_bytes(b"PGDMP")
    described = {
        "domain": "amy.example.org", "database": "amy", "server": "db", "server_version": 15, "reason": "timer",
        "taken": "2026-03-01T02:15:00+00:00", "release": RELEASE, "size": 5, "tables": {},
        "sha256": hashlib.sha256(b"PGDMP").hexdigest(), "excluded": [],
    }  # fmt: skip
    (layout.backups / f"{DUMP}.json").write_text(json.dumps(described))
    return Host(
        layout=layout,
        conf_dir=conf_dir,
        processes=lambda: [Process(f"gunicorn-{GENERATION}", "gunicorn", "RUNNING", 1, start=100, now=160)],
        run=run_here,
        ask=lambda: answered(headers={"X-Release": RELEASE}, body="a secret page"),
        expect="{release}",
        systemd=tmp_path / "no systemd",
    )


def test_a_host_that_serves_is_told_whole(host: Host) -> None:
    told = look(host)
    assert (told["release"], told["version"], told["commit"]) == (RELEASE, "v4.2.0", "3f2a")
    assert told["since"] == "2026-03-01T11:00:00+00:00"
    assert (told["health"]["status"], told["health"]["healthy"]) == (200, True)
    assert told["maintenance"] == {"active": False, "shown_by": None}
    assert (told["dump"]["taken"], told["dump"]["reason"]) == ("2026-03-01T02:15:00+00:00", "timer")
    assert [program["state"] for program in told["programs"]] == ["RUNNING"]
    assert (told["supervisor"], told["certificate"], told["troubles"]) == ("", None, [])


def test_an_answers_body_is_not_told(host: Host) -> None:
    assert "a secret page" not in json.dumps(look(host))


@pytest.mark.parametrize(
    ("answer", "expect", "healthy"),
    [
        (answered(headers={"X-Release": "another"}), "{release}", False),
        (answered(), "", True),
        (answered(502), "", False),
        (answered(None), "", False),
    ],
)
def test_healthy_is_200_from_the_release_that_is_live(host: Host, answer: Answer, expect: str, healthy: bool) -> None:
    assert look(replace(host, ask=lambda: answer, expect=expect))["health"]["healthy"] is healthy


def test_a_host_without_the_application_is_told(host: Host, tmp_path: Path) -> None:
    bare = replace(host, layout=Layout(tmp_path / "none"), processes=silent, ask=None, conf_dir=tmp_path / "none")
    told = look(bare)
    nothing = ("release", "version", "since", "live", "health", "dump", "certificate")
    assert [told[key] for key in nothing] == [None] * len(nothing)
    assert (told["programs"], told["troubles"]) == ([], [])
    assert told["supervisor"] == "supervisord does not run"
    assert told["disk"]["total"] > 0


def test_a_stopped_supervisor_leaves_the_release_and_its_programs_known(host: Host) -> None:
    told = look(replace(host, processes=silent))
    assert (told["release"], told["supervisor"]) == (RELEASE, "supervisord does not run")
    assert [program["state"] for program in told["programs"]] == ["ABSENT"]


def damage_ledger(layout: Layout) -> None:
    layout.ledger.write_text("[]")


def damage_repo(layout: Layout) -> None:
    layout.repo.unlink()
    layout.repo.mkdir()


def damage_page(layout: Layout) -> None:
    layout.maintenance_on.mkdir()


def damage_dumps(layout: Layout) -> None:
    (layout.backups / f"{DUMP}.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "lost", "said"),
    [
        (damage_ledger, "version", "is no ledger of releases"),
        (damage_repo, "repo", "is not a symbolic link"),
        (damage_page, "maintenance", "it has to be a file"),
        (damage_dumps, "dump", None),
    ],
)
def test_a_part_that_is_broken_hides_no_other(host: Host, damage: Any, lost: str, said: str | None) -> None:
    damage(host.layout)
    told = look(host)
    assert told[lost] is None
    assert [said in trouble for trouble in told["troubles"] if said] == ([True] if said else [])
    assert told["health"]["status"] == 200
    assert told["disk"]["percent"] <= 100


def test_a_certificates_end_is_read_and_its_key_is_not(host: Host, tmp_path: Path) -> None:
    key, chain, bundle = (tmp_path / name for name in ("key.pem", "chain.pem", "bundle.pem"))
    names = ["-subj", "/CN=amy.example.org", "-addext", "subjectAltName=DNS:amy.example.org", "-days", "30"]
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", *names, "-keyout", str(key), "-out", str(chain)]
    made = run_here(["openssl", "req", *options])
    assert made.status == 0, made.errors
    bundle.write_bytes(key.read_bytes() + chain.read_bytes())
    asked: list[list[str]] = []

    def run(command: Any, **options: Any) -> Finished:
        asked.append(list(command))
        return run_here(command, **options)

    certificate = look(replace(host, run=run, certificate=bundle))["certificate"]
    assert (certificate["names"], certificate["self_signed"]) == (["amy.example.org"], True)
    assert certificate["ends"].endswith("+00:00")
    assert [command[1] for command in asked] == ["x509"]


def test_a_certificate_that_is_missing_is_said_with_the_remedy(host: Host, tmp_path: Path) -> None:
    told = look(replace(host, certificate=tmp_path / "none.pem"))
    assert told["certificate"] is None
    assert "none.pem is missing" in told["troubles"][0]
    assert "playbooks/site.yml" in told["troubles"][0]


def test_a_disk_is_that_of_the_nearest_directory(tmp_path: Path) -> None:
    assert disk(tmp_path / "not" / "yet")["total"] == disk(tmp_path)["total"]


def systemd(failed: str, status: int = 0) -> Any:
    """systemctl, which lists what failed, and journalctl, which knows a line of the drill."""

    def run(command: Any, **_options: Any) -> Finished:
        if command[0] == "systemctl":
            assert {"--state=failed", "webapps-*-amy.example.org.service", "certbot.service"} <= set(command)
            return Finished(status, failed, "no bus" if status else "")
        return Finished(0, "12 rows are missing\n" if command[-1].endswith("drill-amy.example.org.service") else "", "")

    return run


def test_work_of_timers_that_failed_is_told_with_its_last_line(host: Host, tmp_path: Path) -> None:
    drill = "webapps-pg-drill-amy.example.org.service"
    failed = f"{drill} loaded failed failed Restore a dump\ncertbot.service loaded failed failed Certbot\n"
    told = look(replace(host, run=systemd(failed), systemd=tmp_path))
    assert told["failed_units"] == [
        {"unit": drill, "said": "12 rows are missing"},
        {"unit": "certbot.service", "said": ""},
    ]
    assert look(replace(host, run=systemd(""), systemd=tmp_path))["failed_units"] == []


def test_a_systemd_that_does_not_answer_is_a_trouble(host: Host, tmp_path: Path) -> None:
    told = look(replace(host, run=systemd("", status=1), systemd=tmp_path))
    assert (told["failed_units"], len(told["troubles"])) == ([], 1)
    assert "no bus" in told["troubles"][0]
