# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the CloudWatch agent its one configuration, when it has another.

The agent's own command moves what it is given to a place and a name of its own, and deletes a file that lies where the
agent's documentation puts it. So the configuration lies elsewhere, and what the agent has accepted is compared with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files

HOME = Path("/opt/aws/amazon-cloudwatch-agent")
PAUSE = 0.5
# An agent that cannot use its configuration ends within its first moments.
SETTLED = 3.0


@dataclass(frozen=True)
class Seen:
    """What is there: the configurations that the agent has accepted, by file name, and whether it runs."""

    accepted: Mapping[str, Any]
    running: bool


class Agent:
    """The agent of this host. ``source``: where the configuration lies."""

    def __init__(
        self,
        run: Run,
        source: Path,
        mode: str,
        home: Path = HOME,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run = run
        self._source = source
        self._mode = mode
        self._home = home
        self._clock = clock
        self._sleep = sleep
        self._control = str(home / "bin" / "amazon-cloudwatch-agent-ctl")

    @property
    def name(self) -> str:
        """What the agent calls our configuration."""
        return f"file_{self._source.name}"

    def seen(self) -> Seen:
        """Look at the host; also where no agent is installed."""
        return Seen(
            {path.name: _read(path) for path in sorted((self._home / "etc/amazon-cloudwatch-agent.d").glob("*"))},
            self._status().get("status") == "running",
        )

    def configure(self, text: str) -> None:
        """Have the agent accept a configuration and run with it. Raises WebappsError."""
        Files().write(self._source, text)
        location = f"file:{self._source}"
        done = self._run([self._control, "-a", "fetch-config", "-m", self._mode, "-s", "-c", location])
        if done.status != 0:
            raise WebappsError(f"The CloudWatch agent refuses {self._source}: {done.last_words}")

    def start(self) -> None:
        """Raises WebappsError."""
        done = self._run([self._control, "-a", "start", "-m", self._mode])
        if done.status != 0:
            raise WebappsError(f"The CloudWatch agent does not start: {done.last_words}")

    def assert_runs(self, timeout: float) -> None:
        """Wait until the same agent has run for a while. Raises WebappsError."""
        deadline = self._clock() + timeout
        since, started = self._clock(), ""
        while True:
            status = self._status()
            if status.get("status") != "running" or status.get("starttime") != started:
                since, started = self._clock(), str(status.get("starttime"))
            elif self._clock() - since >= SETTLED:
                return
            if self._clock() >= deadline:
                raise WebappsError(
                    f"The CloudWatch agent does not keep running, after {timeout:g} s it says {json.dumps(status)}. "
                    f"See {self._home}/logs/amazon-cloudwatch-agent.log and `journalctl -u amazon-cloudwatch-agent`."
                )
            self._sleep(PAUSE)

    def _status(self) -> dict[str, Any]:
        done = self._run([self._control, "-a", "status"])
        try:
            found = json.loads(done.output)
        except ValueError:
            return {}
        return found if done.status == 0 and isinstance(found, dict) else {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def ensure(agent: Agent, configuration: Mapping[str, Any], timeout: float, check: bool) -> dict[str, Any]:
    """Have the agent run with this configuration and no other; returns the module's result. Raises WebappsError."""
    seen = agent.seen()
    fits = seen.accepted == {agent.name: configuration}
    result: dict[str, Any] = {"changed": not (fits and seen.running), "accepted": fits}
    if not check:
        if not fits:
            agent.configure(_text(configuration))
        elif not seen.running:
            agent.start()
        if result["changed"]:
            agent.assert_runs(timeout)
    result["diff"] = {
        "before": "".join(_text(value) for value in seen.accepted.values()),
        "after": _text(configuration),
    }
    return result


def _text(configuration: Any) -> str:
    return f"{json.dumps(configuration, indent=2, sort_keys=True)}\n"
