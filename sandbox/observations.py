"""What became of the fleet when something went wrong: a row for each test of the fault table, in Markdown."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sandbox.fleet import Load, Run

WIDTH = 200
HEADINGS = ("What went wrong", "Requests", "Failed", "The run ended", "The fleet then", "Next deploy", "Message")
# Ansible puts its own words before a module's, and once more before those of a failure that is told again.
ERROR = re.compile(r"^\[ERROR\]: (?:Task failed: |Module failed: |Action failed: )*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Standing:
    """How a fleet stands. ``releases``: what each web host answers with; ``targets``: the health of each target."""

    releases: Mapping[str, str]
    targets: Mapping[str, str]

    def __str__(self) -> str:
        hosts = ", ".join(f"{host} {release}" for host, release in sorted(self.releases.items()))
        return f"{hosts}; {counted(sorted(self.targets.values()))}"


@dataclass(frozen=True)
class Observation:
    """A row. ``requests`` is None where nobody asked; ``standing`` and ``then``, where no deploy followed."""

    row: str
    requests: int | None
    failed: int | None
    ended: str
    message: str
    standing: Standing | None
    then: str | None


def counted(words: Iterable[str]) -> str:
    """Words, and how often each follows itself: ``killed (3 times), exit 0``."""
    rows = ((word, len(list(same))) for word, same in groupby(words))
    return ", ".join(word if times == 1 else f"{word} ({times} times)" for word, times in rows)


def ending(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def message(output: str) -> str:
    """The last error that a run printed, its first line; nothing if it printed none."""
    errors: list[str] = ERROR.findall(output)
    return errors[-1] if errors else ""


def observed(row: str, journal: Sequence[object]) -> Observation:
    """A test's observation from what happened to the fleet meanwhile (Fleet.journal).

    What ran before the fleet's last Standing was entered is the fault; what ran after it, the next plain deploy.
    """
    loads = [entry.summary for entry in journal if isinstance(entry, Load) and entry.summary]
    places = [place for place, entry in enumerate(journal) if isinstance(entry, Standing)]
    end = places[-1] if places else len(journal)
    runs = [entry for entry in journal[:end] if isinstance(entry, Run)]
    after = [entry for entry in journal[end:] if isinstance(entry, Run)]
    standing = journal[end] if places else None
    assert standing is None or isinstance(standing, Standing)
    return Observation(
        row=row,
        requests=sum(load["requests"] for load in loads) if loads else None,
        failed=sum(load["failed"] for load in loads) if loads else None,
        ended=counted(ending(run.code) for run in runs),
        message=next((said for run in reversed(runs) if run.code and (said := message(run.output))), ""),
        standing=standing,
        then=counted(ending(run.code) for run in after) or None,
    )


def sentence(test: str) -> str:
    """A test's name as words: ``test_a_lock_is_torn[twice]`` is ``a lock is torn (twice)``."""
    name, _bracket, parameter = test.removeprefix("test_").rstrip("]").partition("[")
    return name.replace("_", " ") + (f" ({parameter})" if parameter else "")


def table(observations: Iterable[Observation]) -> str:
    """A table in Markdown."""
    lines = [_row(HEADINGS), _row(["---"] * len(HEADINGS))]
    for seen in observations:
        cells = (sentence(seen.row), seen.requests, seen.failed, seen.ended, seen.standing, seen.then, seen.message)
        lines.append(_row(["-" if cell is None or cell == "" else str(cell) for cell in cells]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell[:WIDTH].replace('|', '&#124;').replace('<', '&lt;') for cell in cells)} |"
