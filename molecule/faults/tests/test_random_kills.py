"""Wherever the controller is killed, no request fails, and the next plain deploy converges.

The moments are random and reproducible: WEBAPPS_KILLS says how many (50), WEBAPPS_KILLS_SEED which (1).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest

from sandbox.faults import DEPLOY_V2, OUT, assert_whole, users
from sandbox.fleet import BESIDE_THE_FLEET, ROOT, Fleet, Run

SEED = int(os.environ.get("WEBAPPS_KILLS_SEED", "1"))
KILLS = int(os.environ.get("WEBAPPS_KILLS", "50"))
# Parts of a roll's whole duration.
MOMENTS = [random.Random(f"{SEED}/{number}").random() for number in range(KILLS)]


@pytest.fixture(scope="module")
def duration(fleet: Fleet) -> float:
    """Seconds that a roll takes here and today."""
    return fleet.deploy("v2", "-e", "sandbox_banner=measured").seconds


@pytest.mark.parametrize("number", range(KILLS), ids=[f"{moment:.0%}" for moment in MOMENTS])
def test_a_controller_killed_at_a_random_moment_of_a_roll_fails_no_request(
    fleet: Fleet, duration: float, number: int
) -> None:
    changed = ("-e", f"sandbox_banner=kill-{number}")
    command = [*BESIDE_THE_FLEET, "ansible-playbook", "-i", fleet.inventory, *DEPLOY_V2, *changed]
    name = f"kill_{number}"
    with users(fleet, name) as seen:
        with (OUT / name / "killed.log").open("w") as log:
            begin = time.monotonic()
            running = subprocess.Popen(
                command, cwd=ROOT, env=fleet.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        time.sleep(MOMENTS[number] * duration)
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        fleet.journal.append(Run(running.returncode, (OUT / name / "killed.log").read_text(), time.monotonic() - begin))
        assert_whole(fleet, *changed)
    assert seen.summary["failures"] == []
