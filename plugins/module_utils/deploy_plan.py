# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy would do, put together from what modules in check mode said of hosts, balancer and repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.roll_time import Waiting, batches, estimate, measured

Result = Mapping[str, Any]
# How exactly the pending migrations are known.
EXACT, SOURCE, UNKNOWN = "exact", "source", "unknown"
# What is stopped without a successor on the same host.
STOPPED = ("unwanted", "stopped_workers", "stopped_scheduler")


# The web hosts that were out of service when the run looked at the balancer.
OUT_OF_SERVICE = "web_out_of_service"


def roll_order(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The web hosts in the order in which a roll takes them: those out of service first, then by name.

    They have no request to lose, and once they are back those that serve have somebody to leave their users to.
    ``groups``: as Ansible has them.
    """
    out = set(groups.get(OUT_OF_SERVICE, ()))
    return sorted(groups.get("web", ()), key=lambda host: (host not in out, host))


def roll_batches(
    web: Mapping[str, Result], sizes: Sequence[object], targets: Mapping[str, Result], *, maintenance: bool = False
) -> list[dict[str, Any]]:
    """The batches of a roll, each with its hosts and the targets among them that leave. Raises WebappsError.

    ``web``: what module publish says of each web host, in the order of the roll. ``targets``: how AWS knows them, {}
    for one without balancer.
    """
    return [
        {
            "hosts": hosts,
            # The same hosts leave as in roll_web.yml: those that change what they serve.
            "leaving": []
            if maintenance
            else [
                {"name": host, **targets[host]}
                for host in hosts
                if targets.get(host) and web[host]["changed"] and web[host].get("previous_generation")
            ],
        }
        for hosts in batches(web, sizes)
    ]


def deploy_plan(seen: Result) -> dict[str, Any]:
    """The plan as data, from ``seen``: the variables of role plan without their prefix. Raises WebappsError."""
    # A builder that is nothing else counts only if something would be stopped there.
    strays = {host for kind in STOPPED for host, result in seen[kind].items() if result.get("steps")}
    hosts = {host: _host(host, seen) for host in sorted({*seen["listed"], *strays})}
    pool = [_batch(batch, number, seen) for number, batch in enumerate(seen["batches"])]
    migrations = _migrations(seen)
    refusals = [batch["refusal"] for batch in pool if batch["refusal"]]
    # Before the first deploy no code runs that a migration could break.
    if migrations["refusal"] and not seen["maintenance"] and any(each.get("live") for each in seen["listed"].values()):
        refusals.insert(0, migrations["refusal"])
    return {
        "domain": seen["domain"],
        "version": seen["version"],
        "commit": seen["release"]["commit"],
        "release": seen["release"]["release_id"],
        "maintenance": seen["maintenance"],
        "publishes": any(host["changes"] for host in hosts.values()),
        "changes": any(host["changes"] for host in hosts.values()) or any(batch["joins"] for batch in pool),
        "hosts": hosts,
        "batches": pool,
        "commits": _commits(seen),
        "migrations": migrations,
        "time": _time(seen, pool, hosts),
        "lock": dict(seen["lock"]),
        "refusals": refusals,
    }


def _host(host: str, seen: Result) -> dict[str, Any]:
    listed = seen["listed"].get(host, {"live": None, "releases": []})
    live, release = listed.get("live"), seen["release"]["release_id"]
    programs = [_program(result, host, seen) for result in _published(host, seen)]
    stops = [step for result in _stopped(host, seen) for step in result.get("steps", [])]
    return {
        "version": _version(listed, live),
        "release": live,
        "staged": release in [each["id"] for each in listed["releases"]] if host in seen["listed"] else None,
        "changes": bool(stops) or any(program["changes"] for program in programs),
        "programs": programs,
        "stops": stops,
    }


def _published(host: str, seen: Result) -> Iterator[Result]:
    """What module publish said of each program of a host, in the order of a deploy."""
    yield from seen["workers"].get(host, {}).get("results", [])
    if host in seen["web"]:
        yield seen["web"][host]
    if host in seen["scheduler"]:
        yield seen["scheduler"][host]


def _stopped(host: str, seen: Result) -> Iterator[Result]:
    for kind in STOPPED:
        yield seen[kind].get(host, {})


def _program(result: Result, host: str, seen: Result) -> dict[str, Any]:
    wanted, before = result["generation"], result.get("previous_generation")
    was, will = (result.get("diff", {}).get(side, {}).get("programs", {}) for side in ("before", "after"))
    (name,) = [group.removesuffix(f"-{wanted}") for group in will if group.endswith(f"-{wanted}")] or ["?"]
    runs = was.get(f"{name}-{wanted}") == "RUNNING"
    return {
        "program": name,
        "generation": wanted if runs and not before else before,
        "next": wanted,
        "changes": result["changed"],
        "why": _why(result, host, seen, runs=runs) if result["changed"] else [],
        "steps": list(result.get("steps", [])),
    }


def _why(result: Result, host: str, seen: Result, *, runs: bool) -> list[str]:
    if runs:
        return ["an earlier run was interrupted"]
    if not result.get("previous_generation"):
        return ["nothing of it runs yet"]
    differs = result.get("differs", {})
    why = ["code"] if differs.get("release") else []
    if differs.get("environment"):
        names = _names(seen["environments"].get(host, {}).get("differs"))
        why.append(f"environment ({names})" if names else "environment")
    if differs.get("settings"):
        why.append(f"process settings ({', '.join(differs['settings'])})")
    return why or ["what runs is to be repaired"]


def _names(differs: Mapping[str, Sequence[str]] | None) -> str:
    kinds = ("changed", "added", "removed")
    return "; ".join(f"{kind} {', '.join(differs[kind])}" for kind in kinds if differs and differs.get(kind))


def _version(listed: Result, release: str | None) -> str | None:
    found = [each.get("version") for each in listed["releases"] if each["id"] == release]
    return found[0] if found and found[0] else release


def _batch(batch: Result, number: int, seen: Result) -> dict[str, Any]:
    """A batch with its moves: who leaves, by what the balancer said to that, and who joins afterwards."""
    results = seen["foreseen"].get("results", [])
    result = results[number] if number < len(results) else {}
    leaves = [_move(each) for each in result.get("targets", []) if each["action"] == "deregister"]
    missing = [
        each for host in batch["hosts"] for each in seen["observed"].get(host, {}).get("targets", []) if _out(each)
    ]
    joins = {(move["host"], move["target_group"], move["port"]): move for move in [*leaves, *map(_move, missing)]}
    return {
        "hosts": list(batch["hosts"]),
        "leaves": leaves,
        "joins": list(joins.values()),
        "refusal": result.get("msg", ""),
    }


def _out(target: Result) -> bool:
    before = target["before"]
    return bool(before["state"] == "draining" or before["reason"] == "Target.NotRegistered")


def _move(target: Result) -> dict[str, Any]:
    return {
        "host": target["host"],
        "target_group": target["target_group"],
        "port": target["port"],
        "state": target["before"]["state"],
    }


def _commits(seen: Result) -> dict[str, Any]:
    changes = seen["changes"]
    keys = ("known", "reason", "commits", "commits_count", "dropped", "dropped_count")
    live = seen["listed"].get(seen["live_host"], {})
    return {"since": _version(live, live.get("live")), **{key: changes[key] for key in keys}}


def _migrations(seen: Result) -> dict[str, Any]:
    """Pending migrations, from the database if the release is staged, otherwise from the source."""
    pending, changes = seen["pending"].get("pending"), seen["changes"]
    if pending is not None:
        verdicts = {each["migration"]: each for each in seen["judged"].get("verdicts", [])}
        return {
            "known": EXACT,
            "pending": [
                {
                    "migration": f"{each['app']}.{each['name']}",
                    "level": verdicts.get(f"{each['app']}.{each['name']}", {}).get("level", ""),
                    "reasons": verdicts.get(f"{each['app']}.{each['name']}", {}).get("reasons", []),
                    "sql": each["sql"],
                }
                for each in pending
            ],
            "removed": [],
            "refusal": seen["judged"].get("refusal", ""),
        }
    return {
        "known": SOURCE if changes["known"] else UNKNOWN,
        "pending": [_file(each) for each in changes["migrations"]],
        "removed": [f"{each['app']}.{each['name']}" for each in changes["migrations_removed"]],
        "refusal": "",
    }


def _file(migration: Result) -> dict[str, Any]:
    return {"migration": f"{migration['app']}.{migration['name']}", "level": "", "reasons": [], "sql": []}


def _time(seen: Result, pool: Sequence[Result], hosts: Mapping[str, Result]) -> dict[str, Any]:
    groups: list[Result] = next(
        (each["target_groups"] for each in seen["observed"].values() if each.get("target_groups")), []
    )
    leaving = sum(bool(batch["leaves"]) for batch in pool)
    joining = sum(bool(batch["joins"]) for batch in pool)
    roll = estimate(Waiting(groups, seen["quiet_for"], seen["quiet_timeout"]), leaving, joining)
    published = sum(any(seen["web"][host]["changed"] for host in batch["hosts"]) for batch in pool)
    changes = any(host["changes"] for host in hosts.values())
    done = ("Build", "Stage") if all(host["staged"] is not False for host in hosts.values()) else ()
    steps = measured(seen["history"], published, done) if changes else {}
    known = sum(steps.values())
    return {
        **roll,
        "balancer": bool(groups),
        "batches_leaving": leaving,
        "batches_joining": joining,
        "measured": steps,
        "least_minutes": round((roll["least"] + known) / 60, 1),
        "most_minutes": round((roll["most"] + known) / 60, 1),
    }
