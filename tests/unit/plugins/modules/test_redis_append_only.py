"""What the module reports and does, in both modes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.module_utils import redis_server
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.modules import redis_append_only
from ansible_collections.carpentries.webapps.plugins.modules.redis_append_only import run


class FakeRedis:
    def __init__(self, append_only: bool) -> None:
        self.append_only = append_only
        self.password = ""

    def command(self, *words: str) -> str:
        if words[0] == "AUTH":
            self.password = words[1]
        if words[0] == "CONFIG":
            self.append_only = True
        if words[0] == "INFO":
            return f"aof_enabled:{int(self.append_only)}\r\naof_last_bgrewrite_status:ok\r\n"
        return "OK"


@pytest.mark.parametrize("check", [True, False])
def test_a_redis_with_its_file_is_left_alone(check: bool, tmp_path: Path) -> None:
    assert run(FakeRedis(append_only=True), [], tmp_path, 5, check) == {"changed": False, "running": True}


@pytest.mark.parametrize("check", [True, False])
def test_a_redis_without_one_writes_it_but_not_in_check_mode(check: bool, tmp_path: Path) -> None:
    redis = FakeRedis(append_only=False)
    result = run(redis, [], tmp_path, 5, check)
    assert result["changed"]
    assert result["diff"] == {"before": "appendonly no\n", "after": "appendonly yes\n"}
    assert redis.append_only is not check


@pytest.mark.parametrize("check", [True, False])
def test_a_host_without_redis_needs_nothing(check: bool, tmp_path: Path) -> None:
    assert run(None, [], tmp_path, 5, check) == {"changed": False, "running": False}


@pytest.mark.parametrize("check", [True, False])
def test_a_stopped_redis_with_data_is_an_error_in_both_modes(check: bool, tmp_path: Path) -> None:
    (tmp_path / "dump.rdb").touch()
    with pytest.raises(WebappsError, match="does not run"):
        run(None, [], tmp_path, 5, check)


def call(arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        redis_append_only.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_main_finds_the_password_that_is_in_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "password.conf").write_text('requirepass "before"\n')
    tried: list[list[str]] = []
    monkeypatch.setattr(redis_server, "SocketConnection", lambda *_: FakeRedis(append_only=True))
    monkeypatch.setattr(redis_server, "log_in", lambda _, passwords, __: tried.append(passwords) or True)
    call({"password": "after", "password_file": str(tmp_path / "password.conf")}, capsys)
    call({"password_file": str(tmp_path / "missing")}, capsys)
    assert tried == [["after", "before"], []]


def test_main_fails_with_the_errors_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(redis_server, "SocketConnection", refuse)
    (tmp_path / "dump.rdb").touch()
    assert "does not run" in call({"directory": str(tmp_path)}, capsys)["msg"]
