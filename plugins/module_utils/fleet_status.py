# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the matter with a fleet: judges what was seen on its hosts, and says it as one document and as lines of text.

A *problem* means that the fleet is not all right: a host that cannot be seen, that does not run the release of the
others, or whose application or balancer says that it is not healthy. A *warning* is what will become one, or what a
person wanted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.text_table import aligned

Seen = Mapping[str, Any]
WEB, WORKER, SCHEDULER = RUNS = ("web", "worker", "scheduler")
DOES = (*RUNS, "builder")
# What runs where, by the name of its program; pools of workers have names of their own behind the first.
PROGRAMS = {WEB: "gunicorn", WORKER: "rqworker", SCHEDULER: "rqscheduler"}
# A terminal's 120 columns without what Ansible puts around a line; and the column behind which its YAML breaks lines at
# single spaces, so that no cell there has one.
WIDTH, UNBROKEN = 114, 72
# The widest a cell may be, so that a line stays within WIDTH.
HOST, VERSION, OWNER = 20, 13, 24
DEPLOYS = 5
# What is told of each host, and is null for one that was not seen.
PARTS = (
    "release", "version", "commit", "since", "repo", "live", "environment", "generations", "healthy", "health",
    "supervisor", "programs", "workers", "scheduler", "maintenance", "disk", "certificate", "dump", "failed_units",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """From when on there is a warning.

    ``certificate_days`` before its end; ``disk_percent`` used; ``dump_days`` since the newest dump, 0 for no dumps.
    """

    certificate_days: int = 14
    disk_percent: int = 90
    dump_days: int = 2


# Judging


def document(
    fleet: Mapping[str, Seen],
    hosts: Mapping[str, Sequence[str]],
    pools: Mapping[str, Seen],
    now: str,
    *,
    limits: Limits,
    lock: Seen,
    history: Sequence[Seen],
) -> dict[str, Any]:
    """The state of the fleet as plain data.

    ``fleet``: the result of module host_status for each host, whatever became of it. ``hosts``: which hosts do what.
    ``pools``: the result of load_balancer_info for hosts that have a balancer. ``now``: ISO 8601.
    ``lock``, ``history``: who deploys, and who did.
    """
    at = _instant(now)
    rows = {
        name: _host(seen, _does(name, hosts), pools.get(name, {}), at, limits) for name, seen in sorted(fleet.items())
    }
    problems, warnings = _of_the_fleet(rows, at, limits, lock)
    releases = sorted({str(row["release"]) for row in rows.values() if _counts(row)})
    return {
        "observed": now,
        "ok": not problems and not any(row["problems"] for row in rows.values()),
        "release": releases[0] if len(releases) == 1 else None,
        "version": _version(rows, releases[0]) if len(releases) == 1 else None,
        "hosts": rows,
        "problems": problems,
        "warnings": warnings,
        "lock": dict(lock),
        "history": sorted(map(dict, history), key=lambda deploy: str(deploy.get("began") or ""), reverse=True),
    }


def _does(name: str, hosts: Mapping[str, Sequence[str]]) -> list[str]:
    return [what for what in DOES if name in (hosts.get(what) or [])]


def _host(seen: Seen, does: Sequence[str], pool: Seen, now: datetime, limits: Limits) -> dict[str, Any]:
    """One host: what was seen, what follows from it, and what is wrong with that."""
    if "programs" not in seen:
        why = _line(seen.get("msg") or "it gave no answer").removeprefix("Task failed: ")
        reached = "cannot be reached" if seen.get("unreachable") else "cannot be looked at"
        told = _said([f"{reached}: {why}", *_of_pool(pool)])
        return {**dict.fromkeys(PARTS), "seen": False, "does": list(does), "pool": _pool(pool), **told}
    row = {key: seen.get(key) for key in PARTS} | {"seen": True, "does": list(does), "pool": _pool(pool)}
    row["healthy"] = seen["health"]["healthy"] if seen["health"] else None
    row["generations"] = _generations(seen)
    row["workers"] = _count(seen, PROGRAMS[WORKER])
    row["scheduler"] = _count(seen, PROGRAMS[SCHEDULER])
    problems = [
        *_of_releases(seen, does),
        *_of_programs(seen, does),
        *_of_serving(seen, now),
        *_of_pool(pool),
        *_of_units(seen),
        *seen["troubles"],
    ]
    return {**row, **_said(problems, _warnings(seen, now, limits))}


def _said(problems: Iterable[str], warnings: Iterable[str] = ()) -> dict[str, list[str]]:
    return {"problems": list(problems), "warnings": list(warnings)}


def _staying(seen: Seen) -> list[Seen]:
    return [program for program in seen["programs"] if not program["retiring"]]


def _generations(seen: Seen) -> list[str]:
    """The ids, without those that retire, the one that serves first."""
    live = [seen["live"]["generation"]] if seen["live"] else []
    return list(dict.fromkeys([*live, *sorted(program["generation"] for program in _staying(seen))]))


def _count(seen: Seen, program: str) -> dict[str, int]:
    """How many processes of a program run, should run, and finish their work."""
    counted = {"running": 0, "processes": 0, "finishing": 0}
    for each in seen["programs"]:
        if not each["program"].startswith(program):
            continue
        states = [process["state"] for process in each["processes"]]
        if each["retiring"]:
            counted["finishing"] += sum(state == "STOPPING" for state in states)
        else:
            counted["processes"] += max(len(states), 1)
            counted["running"] += states.count("RUNNING")
    return counted


def _pool(pool: Seen) -> list[dict[str, Any]] | None:
    """What each target group says; None without a balancer, nothing of one that could not be asked."""
    if "targets" in pool:
        return [dict(target) for target in pool["targets"]]
    return [] if pool.get("msg") else None


def _of_releases(seen: Seen, does: Sequence[str]) -> list[str]:
    """What is wrong with the releases that a host runs."""
    if not set(does) & set(RUNS):
        return []
    if seen["release"] is None:
        return ["no release was published here: deploy"]
    problems = []
    if seen["live"] and seen["repo"] != seen["live"]["release"]:
        problems.append(
            f"{seen['live']['release']} serves while the link repo points at {seen['repo'] or 'nothing'}: deploy again"
        )
    others = [release for release in seen["releases"] if release != seen["release"]]
    if others:
        problems.append(f"processes of {', '.join(others)} run besides those of {seen['release']}: deploy again")
    return problems


def _of_programs(seen: Seen, does: Sequence[str]) -> list[str]:
    if seen["supervisor"]:
        return [str(seen["supervisor"])] if set(does) & set(RUNS) else []
    problems = []
    for what, program in PROGRAMS.items():
        found = [each for each in _staying(seen) if each["program"].startswith(program)]
        if what in does and not found and seen["release"]:
            problems.append(f"{program} should run here and does not: deploy again")
        if what not in does and found:
            remedy = "which says how to end it" if what == WEB else "which stops it"
            problems.append(f"{program} runs here and should not: deploy again, {remedy}")
        problems += [
            f"{each['program']} of {each['generation']} is {each['state']}: look at its log, then deploy again"
            for each in found
            if each["state"] != "RUNNING"
        ]
    return problems


def _of_pool(pool: Seen) -> list[str]:
    """What the balancer says against a host."""
    if _pool(pool) == []:
        return [f"the balancer could not be asked: {_line(pool['msg'])}"]
    problems = []
    for target in _pool(pool) or []:
        if target["state"] != "healthy":
            why = ": ".join(filter(None, [target["reason"], target["description"]]))
            problems.append(f"{target['target_group']} calls it {target['state']}{f' ({why})' if why else ''}")
    return problems


def _of_serving(seen: Seen, now: datetime) -> list[str]:
    """What users get from a web host."""
    problems = []
    health = seen["health"]
    if health and not health["healthy"]:
        problems.append(f"GET {health['url']} with Host {health['host']}: {_answer(health)}")
    ends = seen["certificate"] and _instant(seen["certificate"]["ends"])
    if ends and ends <= now:
        problems.append(f"{seen['certificate']['path']} ended at {_minute(ends)}: run playbooks/certificates.yml")
    return problems


def _of_units(seen: Seen) -> list[str]:
    """What timers started and what failed, which nobody is told otherwise."""
    return [
        f"{each['unit']} failed{': ' if each['said'] else ''}{_line(each['said'])}; "
        f"see `journalctl --unit {each['unit']}`, then start it again"
        for each in seen["failed_units"]
    ]


def _answer(health: Seen) -> str:
    if health["status"] is None:
        return f"no answer ({health['error']})"
    if health["status"] != 200:
        return f"status {health['status']}"
    return f'status 200, but nothing in the answer says "{health["expected"]}"'


def _warnings(seen: Seen, now: datetime, limits: Limits) -> list[str]:
    warnings = []
    page, disk, certificate = seen["maintenance"], seen["disk"], seen["certificate"]
    if page and page["active"]:
        warnings.append(f"the maintenance page is shown, by {page['shown_by']}")
    if disk and disk["percent"] >= limits.disk_percent:
        warnings.append(f"the disk is {disk['percent']}% full, {disk['free'] // 2**20} MiB are free")
    if certificate and certificate["self_signed"]:
        warnings.append(f"{certificate['path']} is self-signed, which no browser trusts")
    elif certificate and now < _instant(certificate["ends"]) <= now + timedelta(days=limits.certificate_days):
        warnings.append(f"the certificate ends at {_minute(_instant(certificate['ends']))}")
    finishing = sorted(program["generation"] for program in seen["programs"] if program["retiring"])
    if finishing:
        warnings.append(f"{', '.join(finishing)} is finishing its work")
    return warnings


def _counts(row: Seen) -> bool:
    return bool(row["seen"] and row["release"] and set(row["does"]) & set(RUNS))


def _version(rows: Mapping[str, Seen], release: str) -> str | None:
    return next((row["version"] for row in rows.values() if row["release"] == release and row["version"]), None)


def _of_the_fleet(rows: Mapping[str, Seen], now: datetime, limits: Limits, lock: Seen) -> tuple[list[str], list[str]]:
    """Problems and warnings that no host has by itself."""
    problems, warnings = [], []
    if not any(set(row["does"]) & set(RUNS) for row in rows.values()):
        problems.append("no host runs the application: check the inventory's filters and the instances' tags")
    on: dict[str, list[str]] = {}
    for name, row in rows.items():
        if _counts(row):
            on.setdefault(str(row["release"]), []).append(name)
    if len(on) > 1:
        told = [
            f"{_version(rows, release) or 'unknown'} ({release}) on {', '.join(names)}" for release, names in on.items()
        ]
        problems.append(f"the hosts run {len(on)} releases: {'; '.join(told)}: deploy again")
    pages = {
        name: row["maintenance"]["active"] for name, row in rows.items() if WEB in row["does"] and row["maintenance"]
    }
    if len(set(pages.values())) > 1:
        shown = ", ".join(name for name, active in pages.items() if active)
        problems.append(f"only {shown} shows the maintenance page: switch it with playbooks/maintenance.yml, on or off")
    if limits.dump_days and any(row["seen"] for row in rows.values()):
        taken = [_instant(row["dump"]["taken"]) for row in rows.values() if row["dump"]]
        if not taken:
            warnings.append("no host has a proven dump of the database: run playbooks/backup.yml")
        elif max(taken) < now - timedelta(days=limits.dump_days):
            warnings.append(f"the newest dump is of {_minute(max(taken))}: see why the timer took none")
    if lock:
        version = f"{lock['version']}, " if lock.get("version") else ""
        warnings.append(f"{lock.get('owner') or 'somebody'} deploys ({version}since {_time(lock.get('acquired_at'))})")
    return problems, warnings


# Telling


def lines(told: Mapping[str, Any]) -> list[str]:
    """The document for people, no line longer than WIDTH."""
    rows = told["hosts"]
    blocks = [
        aligned([_runs(name, row) for name, row in rows.items()]),
        aligned([_rests_on(name, row) for name, row in rows.items()]),
        _listed("Problems", told, "problems"),
        _listed("Warnings", told, "warnings"),
        _deploys(told["history"]),
        [_verdict(told)],
    ]
    text: list[str] = []
    for block in blocks:
        text += [""] if text and block else []
        text += block
    return text


def _runs(name: str, row: Seen) -> dict[str, object]:
    return {
        "host": _named(name),
        "version": _clipped(row["version"], VERSION),
        "release": row["release"],
        "generation": _short(row["generations"] or []),
        "since": _time(row["since"]),
        "healthy": _yes(row["healthy"]) if row["seen"] else "?",
        "pool": _states(row),
    }


def _rests_on(name: str, row: Seen) -> dict[str, object]:
    page, disk, certificate, dump = row["maintenance"], row["disk"], row["certificate"], row["dump"]
    return {
        "host": _named(name),
        "workers": _of(row["workers"]),
        "scheduler": _of(row["scheduler"]),
        "maintenance": page and (f"on ({page['shown_by']})" if page["active"] else "off"),
        "disk": disk and f"{disk['percent']}%",
        "certificate": certificate and certificate["ends"][:10],
        "dumped": dump and _time(dump["taken"]),
        "for": dump and dump["reason"],
    }


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _of(counted: Mapping[str, int] | None) -> str | None:
    if not counted or not any(counted.values()):
        return None
    return f"{counted['running']}/{counted['processes']}" + (
        f" +{counted['finishing']}" if counted["finishing"] else ""
    )


def _states(row: Seen) -> str | None:
    """The balancer's one word for a host, as long as all of its target groups have the same."""
    if row["pool"] is None:
        return None
    states = {target["state"] for target in row["pool"]}
    return states.pop() if len(states) == 1 else "mixed" if states else "?"


def _short(generations: Sequence[str]) -> str:
    """The part of each id that comes after its release; of more than two the first."""
    ends = [generation.rpartition("-")[2] for generation in generations]
    return " ".join(ends) if len(ends) <= 2 else f"{ends[0]} +{len(ends) - 1}"


def _clipped(value: object, width: int) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= width else f"{text[: width - 2]}.."


def _named(host: str) -> str:
    """Hosts differ at the end of their names."""
    return host if len(host) <= HOST else f"..{host[2 - HOST :]}"


def _listed(title: str, told: Mapping[str, Any], key: str) -> list[str]:
    said = [*told[key], *(f"{name}: {text}" for name, row in told["hosts"].items() for text in row[key])]
    return [f"{title}:", *(line for text in said for line in _wrapped(text))] if said else []


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, UNBROKEN, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _deploys(history: Sequence[Seen]) -> list[str]:
    """The last deploys, each with its message, if it has one, on lines of its own."""
    heading, *rows = aligned(
        [
            {
                "deploy": _time(deploy.get("began")),
                "by": _clipped(deploy.get("who"), OWNER),
                "version": _clipped(deploy.get("version"), VERSION),
                "took": _duration(deploy.get("seconds")),
                "result": _clipped(deploy.get("result"), VERSION),
            }
            for deploy in history[:DEPLOYS]
        ]
    ) or [""]
    told = zip(rows, history, strict=False)
    lines_of = [line for row, deploy in told for line in [row, *_wrapped(_line(deploy.get("message")))]]
    return [heading, *lines_of] if rows else []


def _line(text: object) -> str:
    return " ".join(str(text or "").split())


def _verdict(told: Mapping[str, Any]) -> str:
    if told["ok"]:
        running = sum(_counts(row) for row in told["hosts"].values())
        hosts = "1 host runs" if running == 1 else f"{running} hosts run"
        return f"The fleet is all right: {hosts} {told['version'] or 'an unknown version'} ({told['release']})."
    count = len(told["problems"]) + sum(len(row["problems"]) for row in told["hosts"].values())
    return f"The fleet is not all right: {count} problem{'s' if count > 1 else ''}."


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _minute(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _time(text: str | None) -> str | None:
    """A time to the minute; one that is none as it was written, because a table is no place to fail."""
    if not text:
        return None
    try:
        return _minute(_instant(text))
    except ValueError:
        return _clipped(text, VERSION)


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
