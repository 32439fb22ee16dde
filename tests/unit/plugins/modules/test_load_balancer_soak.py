"""What a task that watches a release gets back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.modules import load_balancer_soak

from tests.unit.plugins.fake_elbv2 import FakeAws, FakeClock, FakeGroup, client, opening

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def aws() -> FakeAws:
    group = FakeGroup("amy")
    backend = FakeAws(FakeClock(), [group], alarms={"5xx": "OK"})
    backend.add(group, "i-1", "i-2")
    return backend


@pytest.fixture
def run(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the module with these parameters and returns the JSON it prints."""
    with ExitStack() as stack:
        clients = {service: stack.enter_context(client(service, aws)) for service in ("elbv2", "cloudwatch")}
        monkeypatch.setattr(
            load_balancer_soak.AnsibleAWSModule,
            "client",
            opening(clients),
        )
        clock = SimpleNamespace(monotonic=aws.clock, sleep=aws.clock.sleep)
        monkeypatch.setattr(load_balancer_soak, "time", clock)

        def call(**parameters: Any) -> dict[str, Any]:
            arguments = {"target_groups": ["amy"], "seconds": 300, "alarms": ["5xx"], "region": "eu-west-1"}
            with patch_module_args(arguments | parameters), pytest.raises(SystemExit):
                load_balancer_soak.main()
            result: dict[str, Any] = json.loads(capsys.readouterr().out)
            return result

        yield call


def test_a_quiet_time_is_told_and_is_no_change(run: Run, aws: FakeAws) -> None:
    aws.metrics = {"RequestCount": [100.0]}
    told = run(targets=[{"name": "web-1", "instance_id": "i-1"}], error_percent=0)
    assert (told["changed"], told["waited"], told["alarms"][0]["state"]) == (False, 300, "OK")
    assert told["figures"][0]["requests"] == 100


def test_what_is_out_of_bounds_is_a_message_with_the_figures(run: Run, aws: FakeAws) -> None:
    aws.metrics = {"RequestCount": [100.0], "HTTPCode_Target_5XX_Count": [5.0]}
    told = run(error_percent="0.5")
    assert told["failed"]
    assert "5 of 100 requests" in told["msg"]
    assert (told["figures"][0]["error_percent"], "exception" in told) == (5.0, False)


def test_an_alarm_without_data_is_a_warning(run: Run, aws: FakeAws) -> None:
    aws.alarms["5xx"] = "INSUFFICIENT_DATA"
    assert "5xx is INSUFFICIENT_DATA" in str(run()["warnings"])


@pytest.mark.parametrize("how", [{"_ansible_check_mode": True}, {"state": "checked"}])
def test_neither_a_check_nor_check_mode_waits(run: Run, aws: FakeAws, how: dict[str, Any]) -> None:
    assert run(**how)["waited"] == 0
    assert aws.clock.sleeps == []
