"""The module publish: what its parameters become, and what it returns."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import HttpProbe
from ansible_collections.carpentries.webapps.plugins.module_utils.program import STOP_SIGNALS, Program
from ansible_collections.carpentries.webapps.plugins.modules import generation_info, publish

from tests.unit.plugins.fake_host import Behaviour, Host

RELEASE = "1111111111-aaaaaaaa"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with a staged release, in the place of the one that the tests run on."""
    with tempfile.TemporaryDirectory() as directory:
        conf_dir = Path(directory) / "conf.d"
        conf_dir.mkdir()
        made = Host(Path(directory), Path(directory) / "run", conf_dir)
        made.stage(RELEASE)
        made.environment("0a0a0a0a")
        requested = publish.requested

        def elsewhere(parameters: dict[str, Any]) -> object:
            return replace(requested(parameters), layout=made.layout, launcher=made.launcher)

        monkeypatch.setattr(publish, "requested", elsewhere)
        monkeypatch.setattr(publish, "host_tools", lambda _supervisor: made.tools())
        yield made


def arguments(host: Host, **changes: Any) -> dict[str, Any]:
    return {
        "root": str(host.layout.root),
        "release": RELEASE,
        "environment_digest": "0a0a0a0a",
        "program": {
            "name": "gunicorn",
            "command": ".venv/bin/gunicorn --bind unix:{socket} app",
            "user": "amy",
            "stdout_logfile": str(host.log),
        },
        "serves": True,
        "proof": {"http": {"path": "/healthz/", "host": "amy.example.org", "expect": RELEASE}},
        "front": {"port": 80},
        "supervisor_directory": str(host.conf_dir),
        **changes,
    }


def call(given: dict[str, Any], capsys: pytest.CaptureFixture[str], main: Any = publish.main) -> dict[str, Any]:
    with patch_module_args(given), pytest.raises(SystemExit):
        main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_publish_returns_its_generation_its_steps_and_the_difference(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(arguments(host), capsys)
    assert result["changed"]
    assert result["generation"].startswith(RELEASE)
    assert result["previous_generation"] is None
    assert result["retiring"] == []
    assert result["diff"]["before"]["generation"] is None
    assert result["diff"]["after"]["generation"] == result["generation"]
    assert not call(arguments(host), capsys)["changed"]


def test_check_mode_returns_the_same_and_writes_nothing_not_even_a_lock(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted = call({**arguments(host), "_ansible_check_mode": True}, capsys)
    assert not list(host.layout.root.glob(".publish*"))
    done = call(arguments(host), capsys)
    keys = ("changed", "generation", "previous_generation", "steps", "retiring", "diff")
    assert {key: predicted[key] for key in keys} == {key: done[key] for key in keys}


def test_what_is_missing_becomes_a_warning_in_check_mode_and_an_error_otherwise(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(host, release="9999999999-ffffffff")
    assert "stage it first" in str(call({**given, "_ansible_check_mode": True}, capsys)["warnings"])
    result = call(given, capsys)
    assert result["failed"]
    assert "stage it first" in result["msg"]


def test_a_failure_carries_the_evidence(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.behaviours[RELEASE] = Behaviour(status=500)
    result = call(arguments(host), capsys)
    assert result["failed"]
    assert (result["probe"]["status"], result["probe"]["body"]) == (500, "body")
    assert result["log"] == [f"booting {RELEASE}"]


def test_parameters_become_a_request_in_which_front_asks_for_what_the_proof_does(host: Host) -> None:
    given = dict.fromkeys(publish.ARGUMENTS)
    given |= {name: option["default"] for name, option in publish.ARGUMENTS.items() if "default" in option}
    given |= arguments(host)
    given["front"] = {"scheme": "https", "port": 443, "host": None, "path": "/alive/", "timeout": 5}
    request = publish.requested(given)
    assert request.front is not None
    assert request.front.probe == HttpProbe("/alive/", "amy.example.org", "https", RELEASE)
    assert (request.moves_links, request.proof.timeout) == (True, 60)
    given |= {"serves": False, "proof": {"command": ["check"]}, "front": None}
    assert not publish.requested(given).moves_links
    with pytest.raises(WebappsError, match=r"front is given without proof\.http"):
        publish.requested({**given, "front": {"port": 80}})


def test_the_documentation_and_the_program_have_the_same_defaults() -> None:
    program = publish.ARGUMENTS["program"]["options"]
    example = Program("p", "c", "u", "/l")
    defaults = {name: option["default"] for name, option in program.items() if "default" in option}
    assert defaults == {name: getattr(example, name) for name in defaults}
    assert tuple(program["stop_signal"]["choices"]) == STOP_SIGNALS
    documented = yaml.safe_load(publish.DOCUMENTATION)["options"]
    assert set(documented) == set(publish.ARGUMENTS)


def test_generation_info_describes_a_host_without_supervisord(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "root": str(Layout(tmp_path / "amy.example.org").root),
        "supervisor_socket": str(tmp_path / "none.sock"),
        "supervisor_directory": str(tmp_path),
    }
    result = call(given, capsys, generation_info.main)
    assert "supervisord does not run" in result["supervisor"]
    assert (result["changed"], result["releases"], result["live"]) == (False, [], None)
