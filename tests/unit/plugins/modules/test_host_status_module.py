"""The module on a host where nothing is, asked in both modes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer
from ansible_collections.carpentries.webapps.plugins.modules import host_status


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("serves", [True, False])
def test_a_bare_host_is_told_and_left_bare(
    check: bool, serves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def ask(address: str, port: int, scheme: str, probe: Any, timeout: float) -> Answer:
        asked.append((address, port, scheme, probe.path, probe.host))
        return Answer("http://127.0.0.1:80/alive/", probe.host, error="Connection refused")

    monkeypatch.setattr(host_status, "over_tcp", ask)
    arguments = {
        "root": str(tmp_path / "amy.example.org"),
        "serves": serves,
        "health_path": "/alive/",
        "certificate": str(tmp_path / "none.pem"),
        "supervisor_socket": str(tmp_path / "none.sock"),
        "supervisor_directory": str(tmp_path),
        "_ansible_check_mode": check,
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        host_status.main()
    result = json.loads(capsys.readouterr().out)
    assert (result["changed"], result["release"], result["programs"]) == (False, None, [])
    assert "nobody answers" in result["supervisor"]
    assert asked == ([("127.0.0.1", 80, "http", "/alive/", "amy.example.org")] if serves else [])
    assert (result["health"] is not None) == serves
    assert [trouble.split()[0] for trouble in result["troubles"]] == ([f"{tmp_path}/none.pem"] if serves else [])
    assert list(tmp_path.iterdir()) == []
