"""A fleet as modules in check mode describe it before a deploy."""

from __future__ import annotations

from typing import Any

OLD, NEW = "1111111111-aaaaaaaa", "2222222222-bbbbbbbb"
COMMIT = "2" * 40


def listed(live: str | None = OLD, *staged: str) -> dict[str, Any]:
    versions = {OLD: "v4.1.0", NEW: "v4.2.0"}
    known = [*([live] if live else []), *staged]
    return {
        "live": live,
        "releases": [{"id": each, "version": versions[each], "commit": each[0] * 40} for each in known],
    }


def published(program: str, before: str | None, after: str, **changes: Any) -> dict[str, Any]:
    """What module publish says. ``before``, ``after``: releases."""
    wanted = f"{after}-0b0b0b0b"
    previous = f"{before}-0a0a0a0a" if before else None
    was = {f"{program}-{previous}": "RUNNING"} if previous else {}
    usual = {
        "changed": True,
        "generation": wanted,
        "previous_generation": previous,
        "differs": {"release": before != after, "environment": False, "settings": []},
        "steps": [f"Prove generation {wanted}"],
        "diff": {"before": {"programs": was}, "after": {"programs": {f"{program}-{wanted}": "RUNNING"}}},
    }
    return {**usual, **changes}


def kept(program: str, release: str = NEW) -> dict[str, Any]:
    wanted = f"{program}-{release}-0b0b0b0b"
    same = {"programs": {wanted: "RUNNING"}}
    return published(program, None, release, changed=False, steps=[], diff={"before": same, "after": same})


def member(host: str, action: str, state: str = "healthy", reason: str = "") -> dict[str, Any]:
    before = {"state": state, "reason": reason, "description": ""}
    return {"host": host, "target_group": "amy", "port": 80, "before": before, "after": before, "action": action}


def group(**changes: int) -> dict[str, Any]:
    usual = {"deregistration_delay": 300, "interval": 30, "health_timeout": 5, "healthy_threshold": 5, "slow_start": 0}
    return {"name": "amy", **usual, **changes}


def seen(**changes: Any) -> dict[str, Any]:
    """Two web hosts and a worker host with the scheduler, on which v4.2.0 would follow v4.1.0."""
    usual = {
        "version": "v4.2.0",
        "domain": "amy.example.org",
        "release": {"release_id": NEW, "commit": COMMIT},
        "maintenance": False,
        "listed": {"web-1": listed(), "web-2": listed(), "worker-1": listed()},
        "live_host": "web-1",
        "environments": {"web-1": {"differs": {"added": ["SENTRY_DSN"], "removed": [], "changed": ["SECRET_KEY"]}}},
        "web": {
            "web-1": published(
                "gunicorn",
                OLD,
                NEW,
                differs={"release": True, "environment": True, "settings": ["command --workers", "stopwaitsecs"]},
            ),
            "web-2": published("gunicorn", OLD, NEW),
        },
        "workers": {"worker-1": {"results": [published("rqworker", OLD, NEW)]}},
        "unwanted": {"worker-1": {"steps": ["Let rqworker_mail-x finish its work and stop"]}},
        "scheduler": {"worker-1": published("rqscheduler", OLD, NEW)},
        "stopped_workers": {"web-1": {"steps": []}, "web-2": {"steps": []}},
        "stopped_scheduler": {},
        "observed": {
            "web-1": {"targets": [member("web-1 (i-1)", "none")], "target_groups": [group()]},
            "web-2": {
                "targets": [member("web-2 (i-2)", "none", "unused", "Target.NotRegistered")],
                "target_groups": [group()],
            },
        },
        "batches": [{"hosts": ["web-1"], "leaving": []}, {"hosts": ["web-2"], "leaving": []}],
        "foreseen": {
            "results": [
                {"targets": [member("web-1 (i-1)", "deregister")]},
                {"targets": [member("web-2 (i-2)", "none", "unused", "Target.NotRegistered")]},
            ]
        },
        "quiet_for": 15,
        "quiet_timeout": 300,
        "changes": {
            "known": True,
            "reason": "",
            "commits": ["2222222222 Ask instructors for their availability", "3333333333 Store memberships"],
            "commits_count": 2,
            "dropped": [],
            "dropped_count": 0,
            "migrations": [{"app": "workshops", "name": "0262_membership", "path": "x"}],
            "migrations_removed": [],
        },
        "pending": {"pending": None},
        "judged": {"skipped": True},
        "history": [],
        "lock": {},
    }
    return {**usual, **changes}
