"""How long a roll takes follows from the target groups' own attributes, and the one that costs most is named."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ansible.executor.playbook_executor import PlaybookExecutor
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.roll_time import (
    Waiting,
    batches,
    estimate,
    measured,
)

HOSTS = ["web-1", "web-2", "web-3", "web-4", "web-5"]


def group(name: str = "amy", **changes: int) -> dict[str, Any]:
    usual = {"deregistration_delay": 300, "interval": 30, "health_timeout": 5, "healthy_threshold": 5, "slow_start": 0}
    return {"name": name, **usual, **changes}


def waiting(*groups: dict[str, Any]) -> Waiting:
    return Waiting(list(groups), quiet_for=15, quiet_timeout=300)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1], [1, 1, 1, 1, 1]),
        ([1, "50%"], [1, 2, 2]),
        (["100%"], [5]),
        (["10%"], [1, 1, 1, 1, 1]),
        ([2, 0], [2, 3]),
        (["2"], [2, 2, 1]),
        ([], [5]),
    ],
)
def test_hosts_are_divided_as_a_play_divides_them(sizes: list[object], expected: list[int]) -> None:
    assert [len(batch) for batch in batches(HOSTS, sizes)] == expected
    assert [host for batch in batches(HOSTS, sizes) for host in batch] == HOSTS


def test_ansible_itself_divides_them_so() -> None:
    chosen = random.Random(1)
    for _ in range(200):
        hosts = HOSTS[: chosen.randint(1, 5)]
        sizes = [chosen.choice([0, 1, 2, 3, "10%", "34%", "50%", "100%"]) for _ in range(chosen.randint(1, 3))]
        assert batches(hosts, sizes) == serialized(hosts, sizes), (hosts, sizes)


def serialized(hosts: list[str], sizes: list[object]) -> list[list[str]]:
    class Play:
        hosts = None
        order = None
        serial = sizes

    class Inventory:
        @staticmethod
        def get_hosts(_pattern: object, order: object) -> list[str]:
            return list(hosts)

    executor = PlaybookExecutor.__new__(PlaybookExecutor)
    executor._inventory = Inventory()
    found: list[list[str]] = executor._get_serialized_batches(Play())
    return found


def test_a_size_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(WebappsError, match='deploy_batches has "half"'):
        batches(HOSTS, ["half"])


def test_a_batch_leaves_once_it_is_quiet_and_joins_after_one_check_at_best() -> None:
    found = estimate(waiting(group()), leaving=3, joining=3)
    assert (found["leave"], found["join"]) == ([15, 300], [30, 150])
    assert (found["least"], found["most"]) == (3 * 45, 3 * 450)


def test_nobody_waits_longer_than_the_deregistration_delay() -> None:
    assert estimate(waiting(group(deregistration_delay=10)), 1, 1)["leave"] == [10, 10]


def test_the_slowest_of_several_groups_counts() -> None:
    fast = group("fast", deregistration_delay=5, interval=5, healthy_threshold=2)
    assert estimate(waiting(fast, group("slow")), 1, 1)["most"] == 450


def test_the_attribute_that_costs_most_is_named_with_what_another_value_saves() -> None:
    found = estimate(waiting(group("amy"), group("admin", deregistration_delay=20)), 3, 3)["costliest"]
    assert found == {
        "attribute": "deregistration_delay.timeout_seconds",
        "groups": ["amy"],
        "value": 300,
        "better": 30,
        "saves": 810,
    }


@pytest.mark.parametrize(
    ("changes", "attribute", "better"),
    [
        ({"deregistration_delay": 30}, "HealthCheckIntervalSeconds", 10),
        ({"deregistration_delay": 30, "health_timeout": 20}, "HealthyThresholdCount", 2),
        ({"deregistration_delay": 30, "interval": 10}, "HealthyThresholdCount", 2),
    ],
)
def test_of_a_slow_health_check_the_half_that_saves_more_is_named(
    changes: dict[str, int], attribute: str, better: int
) -> None:
    found = estimate(waiting(group(**changes)), 2, 2)["costliest"]
    assert (found["attribute"], found["better"]) == (attribute, better)


def test_where_nothing_is_to_be_saved_nothing_is_named() -> None:
    good = group(deregistration_delay=30, interval=10, healthy_threshold=2)
    assert estimate(waiting(good), 3, 3)["costliest"] is None
    assert estimate(waiting(), 0, 0)["costliest"] is None
    assert estimate(waiting(group()), 0, 0)["costliest"] is None


def test_the_median_of_earlier_deploys_counts_and_a_publish_once_a_batch() -> None:
    history = [{"step": "Build", "seconds": seconds} for seconds in (80, 100, 600)]
    history += [{"step": "Publish", "seconds": 12}, {"step": "Stage", "seconds": 9}]
    assert measured(history, 3) == {"Build": 100, "Publish": 36, "Stage": 9}
    assert measured(history, 3, skipped=["Build", "Stage"]) == {"Publish": 36}


def test_a_history_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(WebappsError, match=r"plan_history has .*step: Build, seconds: 95"):
        measured([{"step": "Build"}], 1)
