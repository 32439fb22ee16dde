"""The modules that adopt a server, called as Ansible calls them."""

from __future__ import annotations

import grp
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.modules import (
    legacy_import,
    legacy_info,
    legacy_program,
    legacy_site,
)

from tests.unit.plugins.legacy_host import CERTIFICATE, COMMANDS, SECRET, LegacyHost

GROUP = grp.getgrgid(os.getegid()).gr_name


class Called:
    """Calls a module's main() on a host in a temporary directory and returns all that it prints."""

    def __init__(self, host: LegacyHost, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.printed = ""
        self._capsys = capsys
        for module in (legacy_import, legacy_info, legacy_program, legacy_site):
            patch.setattr(module, "look", lambda *_arguments: (host.layout, host.look()))
            if hasattr(module, "Places"):
                patch.setattr(module, "Places", lambda: host.places)

    def __call__(self, module: Any, *, check: bool = False, **arguments: object) -> dict[str, Any]:
        told = {"root": str(self.host.layout.root), "programs": list(COMMANDS), "certificate": CERTIFICATE, **arguments}
        with patch_module_args({**told, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        self.printed = self._capsys.readouterr().out
        result: dict[str, Any] = json.loads(self.printed)
        return result


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Called:
    return Called(LegacyHost(tmp_path), capsys, monkeypatch)


def test_the_survey_names_programs_site_and_variables_but_no_value(call: Called) -> None:
    seen = call(legacy_info)
    assert not seen["changed"]
    assert not seen["adopted"]
    assert [program["kind"] for program in seen["programs"]] == sorted(COMMANDS)
    assert seen["site"].endswith("sites-enabled/amy")
    assert seen["variables"] == ["SECRET_KEY"]
    assert str(call.host.layout.root / "releases") in [each["path"] for each in seen["directories"]]
    assert SECRET not in call.printed


def test_a_refusal_has_problems_for_programs_too(call: Called) -> None:
    (call.host.layout.repo / "manage.py").unlink()
    refused = call(legacy_info)
    assert refused["failed"]
    assert [sorted(problem) for problem in refused["problems"]] == [["expected", "found"]]


def test_a_redis_that_would_lock_the_programs_out_is_refused(call: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = {"here": True, "user": "webapps", "digests": ["0" * 64]}
    for open_today in (True, False):
        monkeypatch.setattr(legacy_info, "is_open", lambda _port, answer=open_today: answer)
        seen = call(legacy_info, redis=planned)
        assert seen.get("failed", False) is open_today
    monkeypatch.setattr(legacy_info, "is_open", lambda _port: True)
    assert "redis_without_password" in call(legacy_info, redis=planned)["msg"]
    assert "0" * 64 not in call.printed
    assert not call(legacy_info, redis={**planned, "without_password": True}).get("failed")


def test_an_import_is_foreseen_done_and_not_done_again(call: Called) -> None:
    foreseen = call(legacy_import, check=True, group=GROUP)
    assert foreseen["changed"]
    assert not call.host.layout.repo.is_symlink()
    done = call(legacy_import, group=GROUP)
    assert (done["changed"], done["steps"]) == (True, foreseen["steps"])
    assert SECRET not in call.printed
    again = call(legacy_import, group=GROUP)
    assert (again["changed"], again["release"]) == (False, done["release"])


def test_a_missing_group_is_named_with_the_remedy(call: Called) -> None:
    refused = call(legacy_import, group="nobody-has-this")
    assert refused["failed"]
    assert "app_directory" in refused["msg"]


def test_the_virtual_host_is_moved_only_once_and_back(call: Called) -> None:
    path = call.host.places.nginx / "sites-enabled/amy"
    assert call(legacy_site, check=True)["changed"]
    assert path.exists()
    assert call(legacy_site)["changed"]
    assert not path.exists()
    assert not call(legacy_site)["changed"]
    assert call(legacy_site, state="enabled")["changed"]
    assert path.exists()
    assert not call(legacy_site, state="enabled")["changed"]


def test_check_mode_foresees_which_programs_retire(call: Called) -> None:
    foreseen = call(legacy_program, kind="rqworker", check=True)
    assert foreseen["changed"]
    assert [step for step in foreseen["steps"] if "rqworker" not in step] == []
    assert (call.host.places.programs / "rqworker.conf").exists()


def test_a_program_that_was_never_retired_is_not_started(call: Called) -> None:
    assert not call(legacy_program, kind="rqscheduler", state="started")["changed"]
