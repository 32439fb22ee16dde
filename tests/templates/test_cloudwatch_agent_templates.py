"""Which logs the agent is told to send unless an inventory says otherwise."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.cloudwatch_agent import configuration
from jsonschema import Draft4Validator

from tests.templates.render import ROOT, value
from tests.unit.plugins.module_utils.test_cloudwatch_agent import SCHEMA

# One line of each component as it writes it, with the part that is its time; None where a line has none.
LINES = {
    "server": ("2026-11-25 09:00:00,123 ERROR notes: boom", "2026-11-25 09:00:00"),
    "debug": ("2026-11-25 09:00:00,123 DEBUG notes: x", "2026-11-25 09:00:00"),
    "worker": ("2026-11-25 09:00:00,123 INFO notes: x", "2026-11-25 09:00:00"),
    "gunicorn": ("[2026-11-25 09:00:00 +0000] [7] [INFO] Booting worker", "2026-11-25 09:00:00"),
    "rqworker": ("09:00:00 default: notes.jobs.run(42) (7b1c)", None),
    "rqscheduler": ("2026-11-25 09:00:00 INFO rq_scheduler: x", "2026-11-25 09:00:00"),
    "cron": ("2026-11-25T09:00:00+0000 clearsessions: INFO starts", "2026-11-25T09:00:00+0000"),
    "nginx_access": (
        '203.0.113.9 - - [25/Nov/2026:09:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"',
        "25/Nov/2026:09:00:00 +0000",
    ),
    "nginx_error": ("2026/11/25 09:00:00 [error] 7#7: *1 connect() failed", "2026/11/25 09:00:00"),
    "pg_backup": ("2026-11-25T09:00:00+00:00 pg_backup: dumped /x, 5 bytes, 7 rows", "2026-11-25T09:00:00"),
    "certbot": ("2026-11-25 09:00:00,123:DEBUG:certbot._internal.main:certbot version", "2026-11-25 09:00:00"),
    "redis": ("123:M 25 Nov 2026 09:00:00.123 * Ready to accept connections", "25 Nov 2026 09:00:00"),
    "supervisor": ("2026-11-25 09:00:00,123 INFO spawned: 'gunicorn' with pid 7", "2026-11-25 09:00:00"),
}
CONTINUATIONS = ["Traceback (most recent call last):", '  File "x.py", line 1', "ValueError: boom at 09:00:00", ""]


def logs() -> dict[str, dict[str, Any]]:
    return {log["name"]: log for log in value("cloudwatch_agent", "cloudwatch_agent_logs")}


def test_every_log_of_the_layout_is_sent() -> None:
    paths = {name: log["path"] for name, log in logs().items()}
    own = "/webapps/amy.example.org/logs"
    assert paths == {
        **{name: f"{own}/{name}.log" for name in ("server", "debug", "worker", "rqworker", "rqscheduler", "cron")},
        **{name: f"{own}/{name}.log" for name in ("nginx_access", "nginx_error", "pg_backup")},
        "gunicorn": f"{own}/gunicorn_supervisor.log",
        "certbot": "/var/log/letsencrypt/letsencrypt.log",
        "redis": "/var/log/redis/redis-server.log",
        "supervisor": "/var/log/supervisor/supervisord.log",
    }


@pytest.mark.parametrize("name", LINES)
def test_a_line_begins_an_event_and_its_time_is_read(name: str) -> None:
    log = logs()[name]
    line, time = LINES[name]
    assert re.search(log.get("start", r"^[\S]"), line)
    if time:
        datetime.strptime(time, log["timestamp"])
        assert time in line


@pytest.mark.parametrize("name", [name for name in LINES if name != "nginx_access"])
@pytest.mark.parametrize("line", CONTINUATIONS)
def test_a_traceback_belongs_to_the_line_before_it(name: str, line: str) -> None:
    assert not re.search(logs()[name]["start"], line)


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"{SCHEMA} is not at hand; CLOUDWATCH_AGENT_SCHEMA names it")
def test_the_agents_own_schema_accepts_the_roles_configuration() -> None:
    settings = {
        name: value("cloudwatch_agent", f"cloudwatch_agent_{name}")
        for name in ("user", "group", "host", "retention", "namespace", "dimensions", "disks", "interval")
    }
    made = configuration(list(logs().values()), **settings)
    assert [error.message for error in Draft4Validator(json.loads(SCHEMA.read_text())).iter_errors(made)] == []


def test_the_policy_in_the_readme_is_json_and_grants_no_deletion() -> None:
    readme = (ROOT / "roles/cloudwatch_agent/README.md").read_text()
    (text,) = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    actions = [action for statement in json.loads(text)["Statement"] for action in [statement["Action"]]]
    assert not [action for action in json.dumps(actions).split('"') if "Delete" in action or "*" in action]
