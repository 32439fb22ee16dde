"""What the modules maintenance_page and maintenance_info return, in both modes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer
from ansible_collections.carpentries.webapps.plugins.modules import maintenance_info, maintenance_page

PAGE = "new\n<!-- shown by: operator -->\n"
HEADERS = {"Retry-After": "300", "Cache-Control": "no-store"}


def call(main: Any, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("check", [True, False])
def test_check_mode_returns_the_same_and_leaves_the_files(
    check: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"root": str(tmp_path), "active": True, "content": "new", "_ansible_check_mode": check}
    result = call(maintenance_page.main, given, capsys)
    assert (result["changed"], result["active"], result["shown_by"]) == (True, True, "operator")
    assert result["diff"] == {"before": "", "after": f"{tmp_path}/maintenance_on.html\n{PAGE}"}
    assert (tmp_path / "maintenance_on.html").exists() is not check


def test_the_second_call_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"root": str(tmp_path), "active": False, "content": "new"}
    assert call(maintenance_page.main, given, capsys)["changed"]
    assert not call(maintenance_page.main, given, capsys)["changed"]


@pytest.mark.parametrize(("given", "said"), [({"content": "new"}, "Run role app_directory"), ({}, "role maintenance")])
def test_a_page_that_cannot_be_shown_names_the_remedy(
    given: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(maintenance_page.main, {"root": str(tmp_path / "none"), "active": True, **given}, capsys)
    assert result["failed"]
    assert said in result["msg"]


def info(
    root: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **given: Any
) -> dict[str, Any]:
    """The module's result where nginx answers everything so, and asked from where."""
    asked: list[str] = []

    def ask(*arguments: Any) -> Answer:
        asked.append(arguments[-1])
        return answer

    monkeypatch.setattr(maintenance_info, "over_tcp", ask)
    arguments = {"root": str(root), "domain": "amy.example.org", "health_path": "/alive/", "timeout": 0, **given}
    result = call(maintenance_info.main, arguments, capsys)
    assert set(asked) == {"127.0.0.2"}
    return result


def test_what_users_get_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "maintenance_on.html").write_text(PAGE)
    result = info(tmp_path, Answer("/", "amy", 503, HEADERS, PAGE), monkeypatch, capsys)
    assert not result["changed"]
    assert (result["active"], result["page"], result["status"], result["retry_after"]) == (True, True, 503, "300")
    assert (result["health"], result["under_way"]) == (503, None)


@pytest.mark.parametrize("check", [True, False])
def test_what_users_should_get_is_proven_but_in_check_mode(
    check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Answer("/", "amy", 200, {}, "<h1>AMY</h1>")
    result = info(tmp_path, site, monkeypatch, capsys, active=True, _ansible_check_mode=check)
    assert result.get("failed", False) is not check
    assert check or "Users should get the page" in result["msg"]


def test_requests_are_counted_at_the_live_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    layout.live_socket.symlink_to("/run/webapps/amy/one.sock")
    (tmp_path / "unix").write_text("0: 00000003 00000000 00000000 0001 03 101 /run/webapps/amy/one.sock\n")
    monkeypatch.setattr(maintenance_info, "UNIX_SOCKETS", tmp_path / "unix")
    assert maintenance_info.front_of(layout, {}).under_way() == 1
