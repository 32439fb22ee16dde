"""The agent gets its configuration when it has another, and is left alone when it has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.cloudwatch_agent_control import Agent, ensure
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

WANTED = {"agent": {"run_as_user": "cwagent"}}


class FakeAgent:
    """The agent's control program, as it treats files; time passes when somebody sleeps."""

    def __init__(self, home: Path) -> None:
        self.fragments = home / "etc/amazon-cloudwatch-agent.d"
        self.fragments.mkdir(parents=True)
        self.running = False
        self.refuses = False
        self.dies = False
        self.now = 0.0
        self.started = 0
        self.actions: list[str] = []

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        action = command[2]
        if action == "status":
            status = {"status": "running" if self.running else "stopped", "starttime": str(self.started)}
            return Finished(0, json.dumps(status), "")
        self.actions.append(action)
        if self.refuses:
            return Finished(1, "Configuration validation second phase failed", "")
        if action == "fetch-config":
            source = Path(command[-1].removeprefix("file:"))
            for path in self.fragments.iterdir():
                path.unlink()
            (self.fragments / f"file_{source.name}").write_text(source.read_text())
        self.running = not self.dies
        self.started += 1
        return Finished(0, "", "")

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def fake(tmp_path: Path) -> FakeAgent:
    return FakeAgent(tmp_path / "home")


@pytest.fixture
def agent(fake: FakeAgent, tmp_path: Path) -> Agent:
    return Agent(fake, tmp_path / "agent.json", "ec2", tmp_path / "home", lambda: fake.now, fake.sleep)


def run(agent: Agent, check: bool = False) -> dict[str, Any]:
    return ensure(agent, WANTED, 30, check)


def test_the_first_run_configures_and_starts_it(agent: Agent, fake: FakeAgent) -> None:
    assert run(agent)["changed"] is True
    assert (fake.actions, fake.running) == (["fetch-config"], True)


def test_the_second_run_does_nothing(agent: Agent, fake: FakeAgent) -> None:
    run(agent)
    assert run(agent)["changed"] is False
    assert fake.actions == ["fetch-config"]


def test_an_agent_that_was_stopped_is_started(agent: Agent, fake: FakeAgent) -> None:
    run(agent)
    fake.running = False
    assert run(agent)["changed"] is True
    assert fake.actions == ["fetch-config", "start"]


@pytest.mark.parametrize("name", ["file_agent.json", "default", "file_agent.json.tmp"])
def test_configurations_from_elsewhere_are_replaced(agent: Agent, fake: FakeAgent, name: str) -> None:
    run(agent)
    (fake.fragments / name).write_text("{}")
    assert run(agent)["changed"] is True
    assert run(agent)["changed"] is False


def test_check_mode_foresees_it_and_does_nothing(agent: Agent, fake: FakeAgent, tmp_path: Path) -> None:
    assert run(agent, check=True)["changed"] is True
    assert fake.actions == []
    assert not (tmp_path / "agent.json").exists()
    run(agent)
    assert run(agent, check=True)["changed"] is False


def test_a_refused_configuration_is_an_error_with_the_agents_words(agent: Agent, fake: FakeAgent) -> None:
    fake.refuses = True
    with pytest.raises(WebappsError, match=r"refuses .*second phase failed"):
        run(agent)


def test_an_agent_that_does_not_stay_is_an_error(agent: Agent, fake: FakeAgent) -> None:
    fake.dies = True
    with pytest.raises(WebappsError, match="does not keep running"):
        run(agent)


def test_the_difference_is_shown(agent: Agent) -> None:
    assert run(agent)["diff"]["before"] == ""
    assert json.loads(run(agent)["diff"]["before"]) == WANTED
