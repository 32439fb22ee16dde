"""What playbooks/status.yml says of a host that serves, and of one on which something is broken.

Each test puts back what it breaks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testinfra.host import Host

from sandbox.scenario import DOMAIN, ROOT, running, staged, wait_until

PROJECT = Path(__file__).parent.parent.parent.parent
WEB = "webapps-status"
# Nobody listens there.
UNREACHABLE = {
    "web": {"hosts": {"web-2": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"}}}
}
STATE = f"ls -lAR --time-style=full-iso --ignore=logs {ROOT} /etc/supervisor /etc/nginx"


@dataclass(frozen=True)
class Status:
    """One run of the playbook: its exit code, its output and the document that it wrote."""

    code: int
    output: str
    document: dict[str, Any]

    @property
    def row(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["hosts"][WEB]
        return found


def status(directory: Path, *options: str, **variables: object) -> Status:
    written = directory / "status.json"
    written.unlink(missing_ok=True)
    given = {"status_file": str(written), "pg_backup_enabled": False, **variables}
    command = [
        "ansible-playbook",
        f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
        "--extra-vars=@molecule/shared/vars.yml",
        f"--extra-vars={json.dumps(given)}",
        *options,
        "playbooks/status.yml",
    ]
    done = subprocess.run(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert written.exists(), done.stdout
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}, done.stdout
    return Status(done.returncode, done.stdout, json.loads(written.read_text()))


@contextmanager
def broken(host: Host, breaks: str, mends: str) -> Iterator[None]:
    host.check_output(breaks)
    try:
        yield
    finally:
        host.check_output(mends)
        ask = f"curl --silent --fail --output /dev/null --header 'Host: {DOMAIN}' http://127.0.0.1/"
        wait_until(lambda: host.run(ask).rc == 0, "the application did not come back")
        wait_until(lambda: running(host)[0]["state"] == "RUNNING", "supervisor does not call it running")


def test_a_host_that_serves_is_all_right(tmp_path: Path) -> None:
    seen = status(tmp_path)
    assert seen.code == 0, seen.output
    assert (seen.document["ok"], seen.document["release"], seen.document["version"]) == (True, staged("v1"), "v1")
    assert (seen.row["healthy"], seen.row["health"]["status"], seen.row["problems"]) == (True, 200, [])
    assert re.search(rf"{WEB} +v1 +{staged('v1')} +[0-9a-f]{{8}} +20\S+Z +yes +-$", seen.output, re.MULTILINE), (
        seen.output
    )
    assert "The fleet is all right: 1 host runs v1" in seen.output


def test_looking_changes_nothing(host: Host, tmp_path: Path) -> None:
    before = host.check_output(STATE)
    status(tmp_path)
    assert host.check_output(STATE) == before


def test_the_document_can_be_cut_out_of_the_output(tmp_path: Path) -> None:
    seen = status(tmp_path, status_format="json")
    (line,) = re.findall(r"^ *msg: STATUS=(.*)$", seen.output, re.MULTILINE)
    told = json.loads(line)
    # The disk and the seconds go on between the two.
    assert told["hosts"][WEB]["generations"] == seen.row["generations"]
    assert (told["ok"], told["problems"], told["warnings"]) == (True, [], [])


def test_a_host_whose_supervisor_is_stopped_says_so_and_what_it_should_run(host: Host, tmp_path: Path) -> None:
    with broken(host, "systemctl stop supervisor", "systemctl start supervisor"):
        seen = status(tmp_path)
    assert seen.code == 2
    assert (seen.row["release"], seen.row["healthy"], seen.row["health"]["status"]) == (staged("v1"), False, 502)
    assert "systemctl start supervisor" in seen.row["supervisor"]
    assert "The fleet is not all right: 2 problems." in seen.output


def test_work_of_a_timer_that_failed_is_a_problem_with_its_last_line(host: Host, tmp_path: Path) -> None:
    unit = f"webapps-try-{DOMAIN}.service"
    fail = f"systemd-run --quiet --wait --unit={unit} sh -c 'echo 12 rows are missing; exit 3' || true"
    with broken(host, fail, f"systemctl reset-failed {unit}"):
        seen = status(tmp_path)
    assert (seen.code, seen.row["healthy"]) == (2, True)
    assert seen.row["problems"] == [
        f"{unit} failed: 12 rows are missing; see `journalctl --unit {unit}`, then start it again"
    ]


def test_a_host_in_maintenance_is_healthy_and_warns(host: Host, tmp_path: Path) -> None:
    on, off = f"{ROOT}/maintenance_on.html", f"{ROOT}/maintenance_off.html"
    with broken(host, f"mv {off} {on}", f"mv {on} {off}"):
        seen = status(tmp_path)
    assert (seen.code, seen.row["healthy"], seen.row["maintenance"]["active"]) == (0, True, True)
    assert f"{WEB}: the maintenance page is shown, by operator" in seen.output


def test_a_host_on_which_nothing_was_published_says_so(host: Host, tmp_path: Path) -> None:
    with broken(host, f"mv {ROOT}/repo {ROOT}/live.sock /root/", f"mv /root/repo /root/live.sock {ROOT}/"):
        seen = status(tmp_path)
    assert (seen.code, seen.row["release"]) == (2, None)
    assert "no release was published here: deploy" in seen.row["problems"]


def test_files_that_cannot_be_read_hide_nothing_else(host: Host, tmp_path: Path) -> None:
    ledger = f"{ROOT}/releases.json"
    with broken(host, f"mv {ledger} /root/ && echo broken > {ledger}", f"mv /root/releases.json {ledger}"):
        seen = status(tmp_path)
    assert (seen.code, seen.row["release"], seen.row["healthy"]) == (2, staged("v1"), True)
    assert f"{ledger} is no ledger of releases" in seen.row["problems"][0]


def test_a_host_that_cannot_be_reached_has_a_row_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "more.json").write_text(json.dumps({"all": {"children": UNREACHABLE}}))
    seen = status(tmp_path, f"--inventory={tmp_path}/more.json")
    assert (seen.code, seen.row["healthy"]) == (2, True)
    assert "cannot be reached" in seen.document["hosts"]["web-2"]["problems"][0]


def test_a_host_without_the_application_is_described(host: Host, tmp_path: Path) -> None:
    assert status(tmp_path, webapps_root="/webapps/other.example.org").row["problems"][0] == (
        "no release was published here: deploy"
    )
