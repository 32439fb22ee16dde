"""What follows from what target groups say, without asking them."""

from __future__ import annotations

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import (
    DRAINING,
    HEALTHY,
    Health,
    Key,
    Target,
    TargetGroup,
    check_ports,
    declared_members,
    minimum_of,
    too_few,
)

UNHEALTHY = Health("unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]")


def group(name: str = "amy", target_type: str = "instance", port: int = 80) -> TargetGroup:
    return TargetGroup(name, f"arn:{name}", target_type, port, ("arn:lb",), 30, 5, 5, 300)


WEB = [Target(instance_id=f"i-{number}", ip_address=f"10.0.0.{number}", name=f"web-{number}") for number in range(1, 4)]


@pytest.mark.parametrize(
    ("rule", "total", "expected"),
    [("0", 3, 0), ("2", 1, 2), ("50%", 4, 2), ("50%", 3, 2), ("1%", 3, 1), ("0%", 3, 0), ("100%", 3, 3), (" 1 ", 3, 1)],
)
def test_a_minimum_is_a_number_or_a_percentage_rounded_up(rule: str, total: int, expected: int) -> None:
    assert minimum_of(rule, total) == expected


@pytest.mark.parametrize("rule", ["", "-1", "half", "101%", "1.5"])
def test_a_minimum_that_says_nothing_is_refused_with_the_variable_name(rule: str) -> None:
    with pytest.raises(WebappsError, match="load_balancer_minimum_healthy is"):
        minimum_of(rule, 3)


def test_the_group_decides_whether_a_host_is_an_instance_or_an_address() -> None:
    members = declared_members([group("a"), group("b", "ip")], WEB[:1])
    assert [member.id for member in members] == ["i-1", "10.0.0.1"]


def test_a_host_without_the_identity_that_a_group_needs_is_refused() -> None:
    with pytest.raises(WebappsError, match=r'type "ip", and web-9 \(i-9\) has no ip_address'):
        declared_members([group("b", "ip")], [Target(instance_id="i-9", name="web-9")])


def test_a_group_whose_targets_are_no_hosts_is_refused() -> None:
    with pytest.raises(WebappsError, match='type "lambda"'):
        declared_members([group("f", "lambda")], WEB)


def test_ports_are_the_groups_own_unless_declared() -> None:
    target = Target(instance_id="i-1", port=8000, ports={"b": 9000})
    members = declared_members([group("a"), group("b"), group("c", port=81)], [target])
    assert [member.port for member in members] == [8000, 9000, 8000]
    assert [member.port for member in declared_members([group("c", port=81)], WEB[:1])] == [81]


def test_a_host_may_be_declared_with_several_ports_of_one_group() -> None:
    members = declared_members(
        [group()], [Target("i-1", port=8001), Target("i-1", port=8002), Target("i-1", port=8001)]
    )
    assert [member.port for member in members] == [8001, 8002]


def test_a_port_given_as_text_is_a_number_and_anything_else_is_refused() -> None:
    assert Target.declared({"instance_id": "i-1", "ports": {"a": "8080"}}).ports == {"a": 8080}
    with pytest.raises(WebappsError, match='port of i-1 in a is "http"'):
        Target.declared({"instance_id": "i-1", "ports": {"a": "http"}})


def test_a_registered_port_that_is_not_declared_is_refused_with_the_words_to_declare_it() -> None:
    members = declared_members([group()], WEB[:1])
    with pytest.raises(WebappsError, match=r"on port 8080, which is not declared .* set ports: \{amy: 8080\}"):
        check_ports(members, {Key("arn:amy", "i-1", 8080): HEALTHY})


def test_an_undeclared_port_may_drain_and_other_hosts_may_have_theirs() -> None:
    members = declared_members([group()], WEB[:1])
    check_ports(members, {Key("arn:amy", "i-1", 8080): DRAINING, Key("arn:amy", "i-2", 8080): HEALTHY})


def registered(**states: Health) -> dict[Key, Health]:
    return {Key("arn:amy", id_.replace("_", "-"), 80): health for id_, health in states.items()}


def test_the_last_healthy_host_may_not_leave_and_the_numbers_say_so() -> None:
    members = declared_members([group()], WEB[:1])
    found = registered(i_1=HEALTHY, i_2=UNHEALTHY, i_3=DRAINING)
    assert too_few(members, found, "1") == [
        "amy would keep 0 healthy of 2 registered without web-1 (i-1), and load_balancer_minimum_healthy is 1"
    ]
    assert too_few(members, found, "0") == []


def test_a_host_that_is_not_healthy_may_always_leave() -> None:
    assert too_few(declared_members([group()], WEB[:1]), registered(i_1=UNHEALTHY), "1") == []


def test_a_percentage_counts_the_hosts_of_the_group_and_of_the_batch() -> None:
    found = registered(i_1=HEALTHY, i_2=HEALTHY, i_3=HEALTHY)
    assert too_few(declared_members([group()], WEB[:1]), found, "50%") == []
    assert too_few(declared_members([group()], WEB[:2]), found, "50%") == [
        "amy would keep 1 healthy of 3 registered without web-1 (i-1), web-2 (i-2), "
        "and load_balancer_minimum_healthy is 50% (of 3: 2)"
    ]


def test_a_host_with_two_ports_counts_once_and_only_when_both_are_healthy() -> None:
    members = declared_members([group()], WEB[:1])
    both = {Key("arn:amy", "i-1", 80): HEALTHY, Key("arn:amy", "i-2", 80): HEALTHY, Key("arn:amy", "i-2", 81): HEALTHY}
    assert too_few(members, both, "1") == []
    assert too_few(members, both, "2")[0].startswith("amy would keep 1 healthy of 2 registered")
    assert too_few(members, both | {Key("arn:amy", "i-2", 81): UNHEALTHY}, "1") != []


def test_each_group_keeps_its_own_minimum() -> None:
    members = declared_members([group("a"), group("b")], WEB[:1])
    found = {Key("arn:a", id_, 80): HEALTHY for id_ in ("i-1", "i-2")} | {Key("arn:b", "i-1", 80): HEALTHY}
    assert [text.split()[0] for text in too_few(members, found, "1")] == ["b"]


def test_the_deadline_for_joining_follows_from_the_health_check() -> None:
    assert group().joining_deadline == 30 * 5 + 5 + 60
