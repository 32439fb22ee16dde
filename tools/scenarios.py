"""Run Molecule scenarios: the roles' side by side, then the fleets' one after the other, and print how each ended.

``python -m tools.scenarios`` runs all, ``python -m tools.scenarios nginx rolling`` those named.
Each scenario's output goes to ``out/test/<scenario>.log``; a failed one's end is printed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOGS = ROOT / "out" / "test"
# They share one network and one AWS account, so they run alone.
FLEETS = ("single", "rolling")
SIDE_BY_SIDE = 2
TAIL_LINES = 80


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


def all_scenarios() -> list[str]:
    """Every scenario, the fleets last."""
    names = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    return sorted(names - set(FLEETS)) + [name for name in FLEETS if name in names]


def chosen(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """The scenarios to run. Raises SystemExit for one that does not exist."""
    if unknown := sorted(set(asked) - set(known)):
        raise SystemExit(f"there is no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if not asked or name in asked]


def run(scenario: str) -> Outcome:
    begin = time.monotonic()
    outcome_log = LOGS / f"{scenario}.log"
    with outcome_log.open("w") as log:
        code = subprocess.call(["molecule", "test", "--scenario-name", scenario], cwd=ROOT, stdout=log, stderr=log)
    outcome = Outcome(scenario, code == 0, time.monotonic() - begin)
    print(outcome.line(), flush=True)
    return outcome


def main(asked: Sequence[str]) -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    scenarios = chosen(asked, all_scenarios())
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        outcomes = list(pool.map(run, [name for name in scenarios if name not in FLEETS]))
    outcomes += [run(name) for name in scenarios if name in FLEETS]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        tail = outcome.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        print(f"\n===== {outcome.scenario}, the end of {outcome.log.relative_to(ROOT)}", *tail, sep="\n")
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} scenarios passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
