"""What the module deploy_lock returns, in both modes, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.modules import deploy_lock

ALICE = {"owner": "alice@laptop", "run": "r1", "controller": "here", "pid": 4711, "started": "99"}
BOB = {"owner": "bob@ci", "run": "r2"}


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(state: str, *, check: bool = False, **given: Any) -> dict[str, Any]:
        arguments = {
            "directory": str(tmp_path), "domain": "amy.example.org", "state": state, **given,
            "_ansible_check_mode": check,
        }  # fmt: skip
        with patch_module_args(arguments), pytest.raises(SystemExit):
            deploy_lock.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def test_a_deploy_takes_the_lock_gives_a_sign_of_life_and_gives_it_back(call: Any) -> None:
    held = call("held", owner=ALICE, version="v2", reason="deploy")
    assert (held["changed"], held["lock"]["version"], held["stale"]) == (True, "v2", "")
    assert held["diff"]["before"] == ""
    assert json.loads(held["diff"]["after"]) == held["lock"]
    assert call("renewed", owner=ALICE)["lock"]["heartbeat"] >= held["lock"]["heartbeat"]
    released = call("released", owner=ALICE, result="success", message="all\nwell", release="3f2a")
    assert (released["changed"], released["lock"], released["diff"]["after"]) == (True, None, "")
    assert released["history"][0]["message"] == "all well"
    assert not call("released", owner=ALICE, result="success")["changed"]


def test_a_lock_that_is_held_refuses_with_its_holder_for_who_can_tell_whether_that_still_runs(call: Any) -> None:
    call("held", owner=ALICE)
    refused = call("held", owner=BOB, unlock="unlock it")
    assert refused["failed"]
    assert refused["refused"] == "held"
    assert {name: refused["lock"][name] for name in ALICE} == ALICE
    assert refused["msg"].endswith("unlock it -e unlock_run=r1")
    assert "process 4711" in json.dumps(call("held", owner=BOB, ended_runs=["r1"])["warnings"])


def test_check_mode_warns_where_the_deploy_would_be_refused(call: Any, tmp_path: Path) -> None:
    call("held", owner=ALICE)
    call("frozen", owner=BOB, reason="workshop week")
    before = sorted(path.name for path in tmp_path.iterdir())
    told = call("held", owner=BOB, check=True)
    assert not told.get("failed")
    assert (told["changed"], told["refused"]) == (False, "frozen")
    assert "frozen by bob@ci" in json.dumps(told["warnings"])
    assert call("unfrozen", check=True)["changed"]
    assert call("broken", check=True, owner=BOB, broken_run="r1")["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_check_mode_works_on_a_bare_host(call: Any, tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    assert call("held", owner=ALICE, check=True, directory=none)["changed"]
    assert call("observed", directory=none)["summary"] == ["Nobody holds the deploy lock of amy.example.org."]
    assert not call("released", owner=ALICE, result="failed", directory=none)["changed"]
    assert not (tmp_path / "none").exists()
    assert call("held", owner=ALICE, directory=none)["changed"]


def test_a_directory_that_cannot_be_used_is_named_with_the_remedy(call: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = call("observed", directory=str(tmp_path / "file"))
    assert refused["failed"]
    assert f"{tmp_path}/file cannot be read or changed" in refused["msg"]


@pytest.mark.parametrize(
    ("state", "given"), [("held", {}), ("released", {"owner": ALICE}), ("broken", {"owner": ALICE}), ("frozen", {})]
)
def test_what_a_state_needs_is_required(call: Any, state: str, given: dict[str, Any]) -> None:
    assert "missing" in call(state, **given)["msg"]
