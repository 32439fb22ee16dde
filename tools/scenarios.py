"""Run Molecule scenarios, three side by side but never two fleets of one place, and print how each ended.

While a fleet measures how long its users wait, nothing else runs (sandbox/quiet.py).

``python -m tools.scenarios`` runs those of `make test`, ``--all`` those of `make test-all`, ``--roles`` the roles',
``python -m tools.scenarios nginx`` one by its name; with WEBAPPS_DISTRIBUTION=trixie they run on another Debian. Each
scenario's output goes to
``out/test/<distribution>/<scenario>.log``; a failed one's end is printed, and last of all why each failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from sandbox.quiet import beside_others

ROOT = Path(__file__).parent.parent
LOGS = ROOT / "out" / "test" / (os.environ.get("WEBAPPS_DISTRIBUTION") or "bookworm")
FLEET_PLAYBOOK = "sandbox/up.yml"
# The other fleets share a network and an AWS account, and run one after the other (sandbox/vars/fleet.yml).
PLACE_OF_ITS_OWN = "single"
# What the scenarios of one run have made for each other: releases, and packed modules. Of an earlier run they may be
# another code's.
KEPT = (ROOT / ".cache" / "artifacts", ROOT / ".cache" / "modules")
# The same of whole machines, as images (molecule/shared/prepare_releases.yml).
PREPARED, PREPARED_LABEL = f"webapps-prepared-{LOGS.name}", "org.carpentries.webapps.prepared"
# Two for two processors, and one because each waits now and then.
SIDE_BY_SIDE = 3
# A fleet has users, who must not wait for a role's scenario: that one takes what time they leave, as do its machines
# (molecule/shared/create.yml).
BESIDE_A_FLEET = ("nice", "-n", "19")
# The fleet that measures waits for what runs beside it, which had better be short; what takes longer comes after two
# thirds of the others. At the end it would run on alone.
MEASURES = "rolling"
LONGER = (
    PLACE_OF_ITS_OWN,
    "adopt",
    "move_redis",
    "cloudwatch_agent",
    "migration_gate",
    "app_release_locks",
    "certbot",
    "gunicorn",
)
# Each takes as long as the other fleets together. `make test-all` runs the first, `make faults` the second.
LONG = frozenset({"operations"})
BY_NAME = frozenset({"faults"})
TAIL_LINES = 40
# Why a scenario failed, in the words of pytest or Ansible; Molecule's frame and colours stand around them.
FRAME = re.compile(r"\x1b\[[0-9;]*m|^\s*│ ?")
CAUSE = re.compile(r"E   |FAILED |ERROR at |fatal: |failed: |\[ERROR\]|_{3,} test_")
CAUSE_LINES, CAUSE_WIDTH = 24, 200
ALL, ROLES = "--all", "--roles"


@dataclass(frozen=True)
class Outcome:
    scenario: str
    passed: bool
    seconds: float

    @property
    def log(self) -> Path:
        return LOGS / f"{self.scenario}.log"

    def line(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.seconds:6.0f} s  {self.scenario}"


def is_fleet(scenario: Path) -> bool:
    """Whether a scenario, by its molecule.yml, boots the local fleet."""
    described = yaml.safe_load(scenario.read_text()) or {}
    playbooks = described.get("ansible", {}).get("playbooks", {})
    return str(playbooks.get("create", "")).endswith(FLEET_PLAYBOOK)


def all_scenarios(directory: Path = ROOT / "molecule") -> tuple[list[str], list[str]]:
    """The names of the roles' scenarios and those of the fleets'."""
    found = sorted(directory.glob("*/molecule.yml"))
    fleets = [path.parent.name for path in found if is_fleet(path)]
    return [path.parent.name for path in found if path.parent.name not in fleets], fleets


def chosen(asked: Sequence[str], roles: Sequence[str], fleets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those asked for by name, by `--all`, by `--roles` or by nothing: what runs side by side, and what one by one."""
    wanted = set(asked)
    if not asked:
        wanted |= {*roles, *fleets} - LONG - BY_NAME
    elif ALL in asked:
        wanted |= {*roles, *fleets} - BY_NAME
    elif ROLES in asked:
        wanted |= {*roles}
    shorter = [name for name in roles if name in wanted.difference(LONGER)]
    begun = len(shorter) * 2 // 3
    longer = [name for name in LONGER if name in wanted]
    one_by_one = [name for name in fleets if name in wanted - {PLACE_OF_ITS_OWN}]
    return (
        [*shorter[:begun], *longer, *shorter[begun:]],
        sorted(one_by_one, key=lambda name: (name != MEASURES, name)),
    )


def causes(log: str) -> list[str]:
    """The lines of a scenario's output that tell why it failed, the last of them."""
    lines = (FRAME.sub("", FRAME.sub("", line)) for line in log.splitlines())
    return [line[:CAUSE_WIDTH] for line in lines if CAUSE.match(line)][-CAUSE_LINES:]


def run(scenario: str, priority: Sequence[str] = ()) -> Outcome:
    begin = time.monotonic()
    outcome_log = LOGS / f"{scenario}.log"
    command = [*priority, "molecule", "test", "--scenario-name", scenario]
    with outcome_log.open("w") as log:
        code = subprocess.call(
            command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "WEBAPPS_PREPARED": PREPARED}
        )
    outcome = Outcome(scenario, code == 0, time.monotonic() - begin)
    print(outcome.line(), flush=True)
    return outcome


def forget_prepared() -> None:
    command = ["docker", "images", "--quiet", "--filter", f"label={PREPARED_LABEL}"]
    images = subprocess.check_output(command, text=True).split()
    if images:
        subprocess.check_call(["docker", "rmi", "--force", *images], stdout=subprocess.DEVNULL)


def main(asked: Sequence[str]) -> int:
    known_roles, known_fleets = all_scenarios()
    if unknown := sorted(set(asked) - {ALL, ROLES, *known_roles, *known_fleets}):
        known = ", ".join(known_roles + known_fleets)
        raise SystemExit(f"there is no scenario {', '.join(unknown)}; there are {known}, and {ALL} and {ROLES}")
    side_by_side, one_by_one = chosen(asked, known_roles, known_fleets)

    def run_beside_others(scenario: str) -> Outcome:
        with beside_others():
            return run(scenario, BESIDE_A_FLEET if scenario in known_roles else ())

    LOGS.mkdir(parents=True, exist_ok=True)
    for directory in KEPT:
        shutil.rmtree(directory, ignore_errors=True)
    forget_prepared()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        in_one_place = pool.submit(lambda: [run(name) for name in one_by_one])
        outcomes = [*pool.map(run_beside_others, side_by_side), *in_one_place.result()]
    forget_prepared()
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        tail = outcome.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        print(f"\n===== {outcome.scenario}, the end of {outcome.log.relative_to(ROOT)}", *tail, sep="\n")
    for outcome in failed:
        print(f"\n===== why {outcome.scenario} failed", *causes(outcome.log.read_text(errors="replace")), sep="\n")
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} scenarios passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
