"""What visitors saw and what AWS was asked, while two of three hosts left and came back."""

from __future__ import annotations

import json
from typing import Any

import pytest


def lines(host: Any, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.file(path).content_string.splitlines()]


@pytest.fixture
def answers(host: Any) -> list[dict[str, Any]]:
    return lines(host, "/root/load.jsonl")


@pytest.fixture
def writes(host: Any) -> list[dict[str, Any]]:
    return [
        call
        for call in lines(host, "/run/webapps-aws/calls.jsonl")
        if call["service"] == "elasticloadbalancing" and "Targets" in call["action"]
    ]


def test_no_visitor_was_refused(answers: list[dict[str, Any]]) -> None:
    assert [answer for answer in answers if answer["status"] != 200] == []
    assert len(answers) > 100


def test_nobody_reached_the_hosts_between_leaving_and_joining_and_everybody_afterwards(
    host: Any, answers: list[dict[str, Any]], writes: list[dict[str, Any]]
) -> None:
    left = host.file("/root/left").mtime.timestamp()
    joined = next(call["time"] for call in writes if call["kind"] == "write" and call["time"] > left)
    assert {answer["body"] for answer in answers if left < answer["time"] < joined} == {"web-3"}
    assert {answer["body"] for answer in answers if answer["time"] < left} == {"web-1", "web-2", "web-3"}
    assert {answer["body"] for answer in answers[-40:]} == {"web-1", "web-2", "web-3"}


def test_aws_was_written_to_once_for_each_step_and_never_by_a_plan_or_a_refusal(writes: list[dict[str, Any]]) -> None:
    steps = ["RegisterTargets"] * 2 + ["DeregisterTargets"] + ["RegisterTargets"] * 2
    # By way of standby, and back.
    steps += ["DeregisterTargets", "RegisterTargets"]
    assert [call["action"] for call in writes if call["kind"] == "write"] == steps


def test_auto_scaling_was_told_once_each_way(host: Any) -> None:
    moved = [call["action"] for call in lines(host, "/run/webapps-aws/calls.jsonl") if "Standby" in call["action"]]
    assert moved == ["EnterStandby", "ExitStandby"]
