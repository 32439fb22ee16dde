"""What a task that asks the balancer gets back, and that asking is all it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.modules import load_balancer_info

from tests.unit.plugins.fake_elbv2 import FakeAws, FakeClock, FakeGroup, client, opening

Run = Callable[..., dict[str, Any]]
WEB_1 = {"name": "web-1", "instance_id": "i-1"}
AMY, MORE = FakeGroup("amy"), FakeGroup("more", port=8080)


@pytest.fixture
def aws() -> FakeAws:
    backend = FakeAws(FakeClock(), [AMY, MORE])
    backend.add(AMY, "i-1", "i-2")
    return backend


@pytest.fixture
def run(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the module with these parameters and returns the JSON it prints."""
    with client("elbv2", aws) as elbv2:
        monkeypatch.setattr(
            load_balancer_info.AnsibleAWSModule,
            "client",
            opening({"elbv2": elbv2}),
        )

        def call(*targets: dict[str, Any], **parameters: Any) -> dict[str, Any]:
            arguments = {"target_groups": ["amy"], "targets": list(targets), "region": "eu-west-1", **parameters}
            with patch_module_args(arguments), pytest.raises(SystemExit):
                load_balancer_info.main()
            result: dict[str, Any] = json.loads(capsys.readouterr().out)
            return result

        yield call


def states(result: dict[str, Any]) -> list[tuple[str, int, str]]:
    return [(target["target_group"], target["port"], target["state"]) for target in result["targets"]]


def test_every_group_of_a_host_is_told(run: Run) -> None:
    result = run(WEB_1, target_groups=["amy", "more"])
    assert states(result) == [("amy", 80, "healthy"), ("more", 8080, "unused")]
    assert result["targets"][0] == {
        "host": "web-1 (i-1)", "target_group": "amy", "id": "i-1", "port": 80, "state": "healthy", "reason": "",
        "description": "",
    }  # fmt: skip


@pytest.mark.parametrize("check", [True, False])
def test_asking_makes_no_call_that_writes(run: Run, aws: FakeAws, check: bool) -> None:
    aws.drain(AMY, "i-1")
    result = run(WEB_1, {"instance_id": "i-3"}, _ansible_check_mode=check)
    assert states(result) == [("amy", 80, "draining"), ("amy", 80, "unused")]
    assert not result["changed"]
    assert aws.writes() == []
    assert all(operation.startswith("Describe") for operation, _arguments in aws.calls)


def test_a_port_that_nobody_declared_is_told_and_not_refused(run: Run, aws: FakeAws) -> None:
    aws.add(AMY, "i-4", port=8000)
    assert states(run({"instance_id": "i-4"})) == [("amy", 8000, "healthy")]


def test_a_group_that_no_listener_uses_is_told_and_not_refused(run: Run, aws: FakeAws) -> None:
    aws.groups = [FakeGroup("amy", in_use=False)]
    assert run(WEB_1)["targets"][0]["reason"] == "Target.NotInUse"


def test_a_group_that_does_not_exist_is_named_with_those_that_do(run: Run) -> None:
    result = run(WEB_1, target_groups=["amy-prod"])
    assert result["failed"]
    assert "amy-prod, which eu-west-1 does not have; it has: amy, more" in result["msg"]


def test_a_missing_right_is_said_in_the_words_of_aws(run: Run, aws: FakeAws) -> None:
    aws.denied = {"DescribeTargetHealth"}
    assert "not authorized to perform: DescribeTargetHealth" in run(WEB_1)["msg"]


def test_members_that_nobody_asked_for_are_told_or_fail_by_name(run: Run, aws: FakeAws) -> None:
    assert run(WEB_1)["strangers"] == []
    told = run(WEB_1, strangers="tell")
    assert [one["id"] for one in told["strangers"]] == ["i-2"]
    assert "amy: i-2 port 80 is healthy, and no host of this inventory" in str(told["warnings"])
    failed = run(WEB_1, strangers="fail")
    assert failed["failed"]
    assert "deploy again" in failed["msg"]
    assert "failed" not in run(WEB_1, {"instance_id": "i-2"}, strangers="fail")
