"""A roll that failed says why, where everything stands, and what to type."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.failure_report import (
    IN_MAINTENANCE,
    LOST_LOCK,
    STOPPED,
    WENT_BACK,
    Roll,
    failure_report,
    left_behind,
)

OLD, NEW = "1111111111-aaaaaaaa", "3333333333-cccccccc"
VERSIONS = [{"id": OLD, "version": "v2"}, {"id": NEW, "version": "v3"}]
ON, OFF = {"active": True}, {"active": False}
TARGET = {"id": OLD, "version": "v2", "hosts": ["web-1", "web-2"]}


def listed(live: str | None, last_good: str | None = OLD) -> dict[str, Any]:
    return {"live": live, "last_good": last_good, "releases": VERSIONS}


def state(
    host: str, live: str | None = OLD, page: Any = OFF, causes: tuple[str, ...] = (), **other: Any
) -> dict[str, Any]:
    return {"host": host, "causes": list(causes), "left": listed(live), "page": page, **other}


def said(*states: dict[str, Any], ending: str = IN_MAINTENANCE, migrated: Any = None) -> str:
    target = TARGET if ending == WENT_BACK else {}
    return failure_report(states, Roll(NEW, ending, target, migrated or {}))


def test_a_fleet_that_went_back_is_told_with_the_cause_first() -> None:
    assert said(
        state("web-1"), state("web-2", causes=["GET /healthz/ answered 500"]), ending=WENT_BACK
    ).splitlines() == [
        "web-2: GET /healthz/ answered 500",
        "",
        f"The fleet went back to v2 ({OLD}).",
        f"v3 ({NEW}) is marked bad: nothing goes back to it.",
        f"web-1 runs v2 ({OLD}) and does not show the page.",
        f"web-2 runs v2 ({OLD}) and does not show the page.",
        f"Migrations of {NEW}: none was applied by this run.",
        "Migrations stay applied; the code that serves now survives them, or the gate was told so.",
        "To go on: correct the cause, then run the same command again; a deploy repairs what it finds.",
    ]


def test_a_host_that_did_not_come_back_is_named() -> None:
    lost = {"host": "web-2", "causes": ["it does not answer: timed out"], "left": {}, "page": {}}
    text = said(state("web-1"), lost, ending=WENT_BACK)
    assert f"should have gone back to v2 ({OLD}), and web-2 did not." in text
    assert "web-2 does not answer: what it runs is unknown, and it is kept out of the pool." in text


def test_a_host_that_served_nothing_before_is_named_with_what_became_of_it() -> None:
    text = said(state("web-1"), state("web-2"), state("worker-9", NEW), ending=WENT_BACK)
    assert f"The fleet went back to v2 ({OLD})." in text
    assert "Without a release to go back to: worker-9." in text
    assert "Without a release" not in said(state("web-1"), state("web-2"), ending=WENT_BACK)


def test_a_host_with_another_environment_than_it_served_with_did_not_come_back() -> None:
    target = {**TARGET, "environments": {"web-1": "e1", "web-2": "e1"}}
    states = [state(host) for host in ("web-1", "web-2")]
    for found, environment in zip(states, ("e1", "e2"), strict=True):
        found["left"]["environment"] = environment
    assert left_behind(states, target) == ["web-2"]
    # Nobody knows with which it served.
    assert left_behind(states, {**target, "environments": {"web-1": "e1", "web-2": ""}}) == []


def test_where_only_the_environment_was_new_no_release_is_bad() -> None:
    text = failure_report([state("web-1"), state("web-2")], Roll(OLD, WENT_BACK, TARGET, {}))
    assert "marked bad" not in text


def test_what_was_left_as_it_is_comes_with_the_command_that_leads_back() -> None:
    text = said(state("web-1", NEW), state("web-2", causes=["boom"]), ending=STOPPED)
    assert "Nothing was taken back" in text
    assert f"web-1 runs v3 ({NEW})" in text
    assert f"web-2 runs v2 ({OLD})" in text
    assert "playbooks/rollback.yml -i INVENTORY -e rollback_release=v2" in text


def test_a_run_that_lost_its_lock_offers_no_way_back_while_another_may_be_at_work() -> None:
    text = said(state("web-1", NEW), state("web-2", causes=["boom"]), ending=LOST_LOCK)
    assert "lost the deploy lock and touched nothing from then on" in text
    assert "playbooks/status.yml -i INVENTORY" in text
    assert "rollback" not in text


def test_behind_the_page_it_says_what_each_host_runs_and_shows() -> None:
    assert f"web-1 runs v2 ({OLD}) and shows the page." in said(state("web-1", page=ON))
    assert f"web-1 runs v3 ({NEW}) and does not show the page." in said(state("web-1", NEW))
    assert f"worker-1 runs v2 ({OLD})." in said(state("worker-1", page={}))


@pytest.mark.parametrize("live", [OLD, NEW])
def test_behind_the_page_the_command_leads_back_to_what_ran_before(live: str) -> None:
    text = said(state("web-1", live, ON))
    assert "-e deploy_version=v2 -e deploy_maintenance=true" in text
    assert "run the same command again" in text


def test_a_release_without_a_version_is_named_by_its_id() -> None:
    nameless = {"live": OLD, "last_good": None, "releases": []}
    assert f"-e deploy_version={OLD} " in said({"host": "web-1", "causes": [], "left": nameless, "page": ON})


def test_before_the_first_release_there_is_nothing_to_go_back_to() -> None:
    text = said({"host": "web-1", "causes": [], "left": listed(None, None), "page": ON})
    assert "web-1 runs nothing and shows the page." in text
    assert "no earlier release" in text
    assert "--tags off" in text


@pytest.mark.parametrize(
    ("migrated", "told"),
    [
        ({}, "none was applied by this run."),
        ({"pending": ["notes.0003"]}, "this run applied notes.0003."),
        ({"pending": []}, "all are applied, none of them by this run."),
        ({"failed": True, "msg": "lock"}, "one failed; those before it stay applied."),
    ],
)
def test_it_says_what_became_of_the_migrations(migrated: dict[str, Any], told: str) -> None:
    assert f"Migrations of {NEW}: {told}" in said(state("web-1", page=ON), migrated=migrated)
