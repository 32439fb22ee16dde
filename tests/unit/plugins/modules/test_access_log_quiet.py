"""What a task that uses access_log_quiet gets back."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.modules import access_log_quiet

from tests.unit.plugins.fake_elbv2 import FakeClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(access_log_quiet, "time", SimpleNamespace(monotonic=clock, sleep=clock.sleep))
    return clock


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        access_log_quiet.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_quiet_log_is_reported_as_quiet(tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text("GET / 200\n")
    result = run(capsys, path=str(tmp_path / "log"), quiet_for=4)
    assert (result["changed"], result["quiet"], result["waited"], result["writes"]) == (False, True, 4, 0)


def test_a_busy_log_is_no_failure(tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, path=str(tmp_path / "log"), quiet_for=9, timeout=3)
    assert ("failed" in result, result["quiet"], result["waited"]) == (False, False, 3)


def test_check_mode_does_not_wait(tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, path=str(tmp_path / "log"), _ansible_check_mode=True)
    assert (result["quiet"], clock.sleeps) == (False, [])


def test_a_log_that_cannot_be_seen_names_the_variable(
    tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert "load_balancer_access_log" in run(capsys, path=str(tmp_path / "file" / "log"))["msg"]
