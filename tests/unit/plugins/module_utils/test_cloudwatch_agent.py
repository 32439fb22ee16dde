"""What the agent is told, and what it is spared."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.cloudwatch_agent import configuration, problems
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

ROOT = Path(__file__).parents[4]
# Amazon publishes the schema with the agent's sources; it is not part of this project.
SCHEMA = Path(os.environ.get("CLOUDWATCH_AGENT_SCHEMA") or ROOT.parent / "shared" / "cwagent-schema.json")
GROUP = "/webapps/amy.example.org/test"
LOG = {"name": "server", "path": "/webapps/amy.example.org/logs/server.log"}
TIMED = {"timestamp": "%Y-%m-%d %H:%M:%S", "timezone": "UTC"}


def found(*logs: Any, retention: object = 90) -> list[str]:
    return problems(list(logs), GROUP, retention, "{instance_id}")


def configured(*logs: dict[str, Any], **settings: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "user": "cwagent",
        "group": GROUP,
        "host": "{instance_id}",
        "retention": 90,
        "namespace": "webapps",
        "dimensions": {"InstanceId": "${aws:InstanceId}"},
        "disks": ["/"],
        "interval": 60,
    }
    return configuration(logs, **(given | settings))


def entry(log: dict[str, Any]) -> dict[str, Any]:
    (made,) = configured(log)["logs"]["logs_collected"]["files"]["collect_list"]
    result: dict[str, Any] = made
    return result


def test_a_log_has_the_applications_group_and_a_stream_of_host_and_component() -> None:
    assert entry(LOG) == {
        "file_path": "/webapps/amy.example.org/logs/server.log",
        "log_group_name": GROUP,
        "log_stream_name": "{instance_id}/server",
        "retention_in_days": 90,
    }


def test_a_log_may_differ_in_everything() -> None:
    made = entry({**LOG, **TIMED, "group": "/other", "stream": "one", "retention": 7, "start": r"^\d{4}"})
    assert made["log_group_name"] == "/other"
    assert made["log_stream_name"] == "one"
    assert made["retention_in_days"] == 7
    assert made["multi_line_start_pattern"] == r"^\d{4}"
    assert (made["timestamp_format"], made["timezone"]) == ("%Y-%m-%d %H:%M:%S", "UTC")


def test_the_agent_runs_as_its_user_and_measures_memory_and_disks() -> None:
    made = configured(LOG, disks=["/", "/webapps"])
    assert made["agent"]["run_as_user"] == "cwagent"
    assert made["metrics"]["metrics_collected"]["disk"]["resources"] == ["/", "/webapps"]
    assert made["metrics"]["metrics_collected"]["mem"]["measurement"]
    assert made["metrics"]["append_dimensions"] == {"InstanceId": "${aws:InstanceId}"}


def test_an_endpoint_is_for_logs_and_metrics() -> None:
    made = configured(LOG, endpoint="http://127.0.0.1:5000", region="eu-west-1")
    assert {made[part]["endpoint_override"] for part in ("logs", "metrics")} == {"http://127.0.0.1:5000"}
    assert made["agent"]["region"] == "eu-west-1"


def test_no_logs_are_metrics_alone() -> None:
    assert set(configured()) == {"agent", "metrics"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": "Server Log"}, "is no name of a log"),
        ({"path": "logs/server.log"}, "give an absolute one"),
        ({"path": "/logs/*.log"}, "the newest match only"),
        ({"file_path": "/x"}, "has file_path, which mean nothing"),
        ({"group": "a group"}, "CloudWatch takes letters"),
        ({"stream": "a:b"}, 'takes no ":"'),
        ({"retention": 10}, "retention of log server is 10"),
        ({"retention": "30"}, "retention of log server is '30'"),
        ({"retention": True}, "retention of log server is True"),
        ({"timestamp": "%Y-%m-%d %T", "timezone": "UTC"}, "uses %T, which the agent does not know"),
        ({"timestamp": "%H:%M:%S", "timezone": "UTC"}, "it needs day, hour and minute"),
        ({"timestamp": "%Y-%m-%d %H:%M"}, "have no zone"),
        ({"timestamp": "%Y-%m-%d %H:%M", "timezone": "CET"}, "knows UTC and Local"),
        ({"timezone": "UTC"}, "without a timestamp"),
        ({"start": "[0-9"}, "no regular expression"),
        ({"start": r"^(?=\d)"}, "neither lookaround"),
        ({"start": r"^(\d)\1"}, "nor back references"),
        ({"start": r"\d{4}"}, "begin it with ^"),
    ],
)
def test_what_the_agent_could_not_use_is_refused_with_the_remedy(changed: dict[str, Any], expected: str) -> None:
    assert any(expected in problem for problem in found({**LOG, **changed})), found({**LOG, **changed})


def test_times_with_a_zone_need_none_besides() -> None:
    assert found({**LOG, "timestamp": "%d/%b/%Y:%H:%M:%S %z"}) == []


def test_two_logs_cannot_have_one_name_or_one_path() -> None:
    assert found(LOG, LOG) == [
        '2 logs have the name "server": each needs one of its own.',
        '2 logs have the path "/webapps/amy.example.org/logs/server.log": each needs one of its own.',
    ]


def test_one_group_has_one_retention() -> None:
    (problem,) = found(LOG, {"name": "b", "path": "/b", "retention": 7})
    assert problem.startswith(f"The logs of group {GROUP} have the retentions 7, 90")
    assert found(LOG, {"name": "b", "path": "/b", "retention": 7, "group": "/other"}) == []


def test_what_is_no_list_of_logs_is_refused() -> None:
    assert problems({"server": "x"}, GROUP, 90, "h") == ["cloudwatch_agent_logs must be a list of logs, not a dict."]
    assert found("server.log") == ["'server.log' is no log: give name and path."]


def test_a_configuration_with_problems_names_them_all() -> None:
    with pytest.raises(WebappsError, match=r"absolute one.*have no zone") as raised:
        configured({"name": "x", "path": "x", "timestamp": "%d %H:%M"})
    assert "cloudwatch_agent_logs cannot be used" in raised.value.message


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"{SCHEMA} is not at hand; CLOUDWATCH_AGENT_SCHEMA names it")
def test_the_agents_own_schema_accepts_what_it_is_told() -> None:
    from jsonschema import Draft4Validator

    validator = Draft4Validator(json.loads(SCHEMA.read_text()))
    full = {**LOG, **TIMED, "start": r"^\[?\d{4}", "retention": 30}
    for made in (
        configured(full),
        configured(),
        configured(full, endpoint="http://x", region="eu-west-1", dimensions={}),
    ):
        assert [error.message for error in validator.iter_errors(made)] == []
    made = configured(full)
    made["logs"]["logs_collected"]["files"]["collect_list"][0]["retention_in_days"] = 10
    assert list(validator.iter_errors(made)), "the schema accepts anything"
