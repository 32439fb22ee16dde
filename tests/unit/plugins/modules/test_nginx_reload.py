"""What the module reports and does, in both modes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.module_utils import nginx
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.modules import nginx_reload
from ansible_collections.carpentries.webapps.plugins.modules.nginx_reload import Request, run


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a look at the host finds, to be changed by tests; `reloads` counts."""
    state: dict[str, Any] = {"master": 100, "workers": (101,), "not_loaded": (), "reloads": 0}

    def observe(host: object) -> nginx.Observation:
        parts = {name: state[name] for name in ("master", "workers", "not_loaded")}
        return nginx.Observation(nginx.Configuration((), ()), **parts)

    def reload(host: object, before: nginx.Observation, timeout: float) -> tuple[int, ...]:
        if not before.running:
            raise WebappsError("nginx does not run")
        state["reloads"] += 1
        return (201,)

    monkeypatch.setattr(nginx, "observe", observe)
    monkeypatch.setattr(nginx, "reload", reload)
    return state


HOST: Any = object()
CHECK = Request(timeout=30, pending=False, check=True)
REAL = Request(timeout=30, pending=False, check=False)


@pytest.mark.parametrize("request_", [CHECK, REAL, Request(30, pending=True, check=False)])
def test_nothing_happens_when_everything_is_loaded(seen: dict[str, Any], request_: Request) -> None:
    assert run(HOST, request_) == {"changed": False, "running": True, "not_loaded": [], "workers": [101]}
    assert seen["reloads"] == 0


@pytest.mark.parametrize(("request_", "workers"), [(CHECK, [101]), (REAL, [201])])
def test_a_changed_file_is_loaded_but_not_in_check_mode(
    seen: dict[str, Any], request_: Request, workers: list[int]
) -> None:
    seen["not_loaded"] = ("/etc/nginx/nginx.conf",)
    result = run(HOST, request_)
    assert (result["changed"], result["workers"]) == (True, workers)
    assert result["diff"] == {"before": "", "after": "nginx loads /etc/nginx/nginx.conf\n"}
    assert seen["reloads"] == (not request_.check)


def test_check_mode_counts_what_it_kept_from_being_written(seen: dict[str, Any]) -> None:
    assert run(HOST, Request(30, pending=True, check=True))["changed"]


def test_an_nginx_that_would_be_started_needs_no_reload(seen: dict[str, Any]) -> None:
    seen["master"] = None
    assert not run(HOST, Request(30, pending=True, check=True))["changed"]
    assert not run(None, Request(30, pending=True, check=True))["running"]


def test_an_nginx_that_is_down_or_missing_is_an_error(seen: dict[str, Any]) -> None:
    seen["master"] = None
    with pytest.raises(WebappsError, match="does not run"):
        run(HOST, REAL)
    with pytest.raises(WebappsError, match="not installed"):
        run(None, REAL)


def call(check: bool, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    with patch_module_args({"_ansible_check_mode": check}), pytest.raises(SystemExit):
        nginx_reload.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_main_reports_in_both_modes(
    seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda *_: "/usr/sbin/nginx")
    seen["not_loaded"] = ("/etc/nginx/nginx.conf",)
    assert call(True, capsys)["changed"]
    assert seen["reloads"] == 0
    assert call(False, capsys)["changed"]
    assert seen["reloads"] == 1


def test_main_fails_with_the_errors_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda *_: None)
    result = call(False, capsys)
    assert result["failed"]
    assert "not installed" in result["msg"]
