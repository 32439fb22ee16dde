# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a roll that failed leaves behind, why it failed, and the commands that lead out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
PLAYBOOK = "ansible-playbook playbooks/{}.yml -i INVENTORY"
# What became of the fleet: it went back, it stays as it is because it was told so, users get the page meanwhile, or
# another run may be changing it.
WENT_BACK, STOPPED, IN_MAINTENANCE, LOST_LOCK = ENDINGS = ("went_back", "stopped", "in_maintenance", "lost_lock")


@dataclass(frozen=True)
class Roll:
    """The roll that failed. ``release``: the id of the one that was published. ``target``: what hosts went back to, {}
    where none did. ``migrated``: the result of module migrations, {} if it was not called.
    """

    release: str
    ending: str
    target: Result
    migrated: Result


def failure_report(states: Iterable[Result], roll: Roll) -> str:
    """The message.

    ``states``: of each host its name (``host``), the ``causes``, and, where it answers, what modules release (``left``)
    and, of a web host, maintenance_page (``page``) say of it.
    """
    fleet = {str(state["host"]): state for state in states}
    lines = [f"{host}: {cause}" for host, found in sorted(fleet.items()) for cause in found["causes"]]
    lines += ["", *_endings(fleet, roll)]
    lines += [_runs(host, found) for host, found in sorted(fleet.items())]
    lines += [f"Migrations of {roll.release}: {_migrations(roll.migrated)}", *_remedies(fleet, roll)]
    return "\n".join(lines).strip()


def left_behind(states: Iterable[Result], target: Result) -> list[str]:
    """The hosts that should serve a target, its release with its environment, and do not, or do not answer."""
    return _left_behind({str(state["host"]): state for state in states}, target)


def _left_behind(fleet: Mapping[str, Result], target: Result) -> list[str]:
    return [host for host in target["hosts"] if not _serves(fleet.get(host, {}).get("left", {}), host, target)]


def _serves(left: Result, host: str, target: Result) -> bool:
    wanted = target.get("environments", {}).get(host)
    return left.get("live") == target["id"] and (not wanted or left.get("environment") == wanted)


def _endings(fleet: Mapping[str, Result], roll: Roll) -> Iterator[str]:
    if roll.ending == LOST_LOCK:
        yield "This run lost the deploy lock and touched nothing from then on: another run may be changing these hosts."
    elif roll.ending == IN_MAINTENANCE:
        yield "The maintenance page stays on, and nothing was taken back."
    elif roll.ending == STOPPED:
        yield "Nothing was taken back (deploy_on_failure is stop, or there was nothing to go back to)."
    else:
        target = roll.target
        name = f"{target['version']} ({target['id']})"
        elsewhere = _left_behind(fleet, target)
        if elsewhere:
            yield f"The fleet should have gone back to {name}, and {', '.join(elsewhere)} did not."
        else:
            yield f"The fleet went back to {name}."
        if new := sorted(set(fleet) - set(target["hosts"])):
            yield f"Without a release to go back to: {', '.join(new)}. Unless a cause above says otherwise,"
            yield "these are out of the target groups, and workers and scheduler are stopped there."
        if target["id"] != roll.release:
            yield f"{_version_of(fleet, roll.release)} is marked bad: nothing goes back to it."


def _remedies(fleet: Mapping[str, Result], roll: Roll) -> Iterator[str]:
    again = "To go on: correct the cause, then run the same command again; a deploy repairs what it finds."
    before = _before(fleet, roll.release)
    if roll.ending == LOST_LOCK:
        yield f"To see who deploys: {PLAYBOOK.format('status')}"
        yield "When nobody does, run the same command again; a deploy repairs what it finds."
    elif roll.ending == WENT_BACK:
        yield "Migrations stay applied; the code that serves now survives them, or the gate was told so."
        yield again
    elif roll.ending == STOPPED:
        yield again
        if before:
            yield f"To go back to {before}: {PLAYBOOK.format('rollback')} -e rollback_release={before}"
    else:
        yield "Workers and scheduler may be stopped until a deploy succeeds."
        yield again
        if before:
            yield f"To go back to {before}: where migrations were applied that it cannot live with, restore the dump"
            yield "that was made before them (playbooks/restore.yml). Then"
            yield f"  {PLAYBOOK.format('deploy')} -e deploy_version={before} -e deploy_maintenance=true"
            yield "Either way the page goes off once every host is proven."
        else:
            yield "There is no earlier release to go back to. The page alone goes off with"
            yield f"  {PLAYBOOK.format('maintenance')} --tags off"


def _runs(host: str, found: Result) -> str:
    left, page = found["left"], found["page"]
    if not left:
        return f"{host} does not answer: what it runs is unknown, and it is kept out of the pool."
    live = left.get("live")
    runs = f"runs {_version(left, live)} ({live})" if live else "runs nothing"
    shows = " and shows the page" if page.get("active") else " and does not show the page" if page else ""
    return f"{host} {runs}{shows}."


def _before(fleet: Mapping[str, Result], release: str) -> str:
    """The version to go back to: what a host still runs, or ran last before the release; "" for none."""
    for _host, found in sorted(fleet.items()):
        left = found["left"]
        for candidate in (left.get("live"), left.get("last_good")):
            if candidate and candidate != release:
                return _version(left, candidate)
    return ""


def _version(left: Result, release: str) -> str:
    versions = [str(each["version"]) for each in left["releases"] if each["id"] == release and each.get("version")]
    return versions[0] if versions else release


def _version_of(fleet: Mapping[str, Result], release: str) -> str:
    """A release by the version that any host knows it by."""
    names = (_version(found["left"], release) for found in fleet.values() if found["left"])
    return next((f"{name} ({release})" for name in names if name != release), release)


def _migrations(migrated: Result) -> str:
    if not migrated:
        return "none was applied by this run."
    if migrated.get("failed"):
        return "one failed; those before it stay applied."
    names = ", ".join(migrated.get("pending") or [])
    return f"this run applied {names}." if names else "all are applied, none of them by this run."
