"""A fleet goes back to the release that served last on every host, whatever failed in between."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger as books
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.ledger import Ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.rollback import (
    Fleet,
    Generation,
    Host,
    Release,
    fleet_of,
    generation_before,
    generation_to_return_to,
    rollback_target,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = "2026-03-01T12:00:00Z"
HOSTS = ("web-1", "web-2", "worker-1")


class Hosts:
    """Hosts with real ledgers, to which deploys happen as the playbooks have them happen."""

    def __init__(self, *names: str) -> None:
        self.ledgers = {name: Ledger() for name in names or HOSTS}
        self.live: dict[str, str | None] = dict.fromkeys(self.ledgers)

    def stage(self, release: str) -> None:
        for name, ledger in self.ledgers.items():
            self.ledgers[name] = books.record_staged(ledger, release, version=f"v{release}", commit="c", now=NOW)

    def publish(self, release: str, *names: str) -> None:
        for name in names or self.ledgers:
            self.ledgers[name] = books.mark_live(self.ledgers[name], release, now=NOW)
            self.live[name] = release

    def deploy(self, *releases: str) -> Hosts:
        for release in releases:
            self.stage(release)
            self.publish(release)
        return self

    def fail(self, release: str, name: str) -> None:
        self.ledgers[name] = books.mark_bad(self.ledgers[name], release, reason="answers 500")

    def condemn(self, release: str) -> None:
        for name in self.ledgers:
            self.fail(release, name)

    def fleet(self) -> Fleet:
        return {
            name: Host(
                self.live[name],
                [
                    Release(release, entry.state, entry.version)
                    for release, entry in sorted(ledger.releases.items(), key=lambda item: item[1].sequence)
                ],
            )
            for name, ledger in self.ledgers.items()
        }


def target(hosts: Hosts, wanted: str = "") -> str:
    return rollback_target(hosts.fleet(), wanted).id


def test_it_goes_back_to_what_served_before() -> None:
    assert target(Hosts().deploy("a", "b", "c")) == "b"


def test_deploying_the_same_release_again_does_not_make_it_its_own_predecessor() -> None:
    assert target(Hosts().deploy("a", "b", "b", "b")) == "a"


def test_a_release_that_failed_in_between_is_never_the_way_back() -> None:
    hosts = Hosts().deploy("a", "b")
    hosts.stage("broken")
    hosts.fail("broken", "web-1")
    hosts.deploy("c")
    assert target(hosts) == "b"


def test_a_release_that_failed_before_anything_was_published_changes_nothing() -> None:
    hosts = Hosts().deploy("a", "b")
    hosts.stage("broken")
    hosts.fail("broken", "web-1")
    assert target(hosts) == "a"


def test_hosts_that_a_killed_roll_left_on_two_releases_go_back_to_the_one_all_have_had() -> None:
    hosts = Hosts().deploy("a", "b")
    hosts.stage("c")
    hosts.publish("c", "worker-1", "web-1")
    assert target(hosts) == "b"


def test_a_rollback_that_was_killed_halfway_is_continued_and_not_turned_back() -> None:
    hosts = Hosts().deploy("a", "b")
    hosts.condemn("b")
    hosts.publish("a", "web-1")
    assert target(hosts) == "a"


def test_a_second_rollback_goes_further_back() -> None:
    hosts = Hosts().deploy("a", "b", "c")
    hosts.condemn("c")
    hosts.publish("b")
    assert target(hosts) == "a"


def test_a_release_is_named_by_id_or_version() -> None:
    hosts = Hosts().deploy("a", "b", "c")
    assert target(hosts, "a") == target(hosts, "va") == "a"


def test_a_release_that_no_host_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(WebappsError, match=r'"v9", and no host has .* Every host has had b \(vb\), a \(va\)'):
        target(Hosts().deploy("a", "b"), "v9")


def test_a_release_that_a_new_host_never_had_is_refused_by_that_host() -> None:
    hosts = Hosts("web-1").deploy("a")
    hosts.ledgers["web-9"], hosts.live["web-9"] = Ledger(), None
    hosts.deploy("b")
    with pytest.raises(WebappsError, match=r"a \(va\) is not on web-9"):
        target(hosts, "a")
    with pytest.raises(WebappsError, match=r"no release to go back to.*web-9 has b live, and serves b"):
        target(hosts)


def test_a_bad_release_is_refused_by_the_host_that_found_it_bad() -> None:
    hosts = Hosts().deploy("a", "b")
    hosts.stage("c")
    hosts.fail("c", "web-2")
    with pytest.raises(WebappsError, match=r"c \(vc\) was found bad on web-2"):
        target(hosts, "c")


def test_a_fleet_with_one_release_has_nowhere_to_go() -> None:
    with pytest.raises(WebappsError, match="no release to go back to"):
        target(Hosts().deploy("a"))


def test_an_inventory_without_hosts_is_refused() -> None:
    with pytest.raises(WebappsError, match="no host to roll back"):
        rollback_target({})


def listed(live: str | None, environment: str | None, *releases: tuple[str, str, str | None]) -> dict[str, Any]:
    """What module release returns: of each release its id, state and environment."""
    return {
        "live": live,
        "environment": environment,
        "releases": [
            {"id": name, "state": state, "version": f"v{name}", "environment": env} for name, state, env in releases
        ],
    }


def test_what_hosts_serve_is_a_release_with_the_environment_of_each() -> None:
    fleet = fleet_of({"web-1": listed("a", "e1", ("a", "live", "e1")), "web-2": listed("a", "e2", ("a", "live", None))})
    assert generation_before(fleet) == Generation("a", "va", {"web-1": "e1", "web-2": "e2"})


def test_a_release_comes_back_with_the_environment_it_served_well_with() -> None:
    fleet = fleet_of({"web-1": listed("b", "e2", ("a", "good", "e1"), ("b", "live", "e2"))})
    assert generation_to_return_to(fleet).environments == {"web-1": "e1"}


def test_where_that_was_not_recorded_it_takes_the_one_of_today() -> None:
    fleet = fleet_of({"web-1": listed("b", "e2", ("a", "good", None), ("b", "live", "e2"))})
    assert generation_to_return_to(fleet).environments == {"web-1": "e2"}


def test_a_host_that_serves_nothing_yet_does_not_keep_the_others_from_going_back() -> None:
    fleet = fleet_of(
        {"web-1": listed("a", "e1", ("a", "live", "e1")), "web-2": listed(None, None, ("b", "staged", None))}
    )
    assert generation_before(fleet) == Generation("a", "va", {"web-1": "e1"})
    assert generation_before(fleet_of({"web-1": listed(None, None)})) is None


def test_hosts_on_two_releases_had_before_what_all_know_as_good() -> None:
    fleet = fleet_of(
        {
            "web-1": listed("b", "e1", ("a", "good", "e1"), ("b", "live", "e1")),
            "web-2": listed("a", "e1", ("a", "live", "e1"), ("b", "staged", None)),
        }
    )
    assert generation_before(fleet) == Generation("a", "va", {"web-1": "e1", "web-2": "e1"})


EVENTS = st.lists(st.tuples(st.sampled_from(["deploy", "fail", "half"]), st.sampled_from("abcdef")), max_size=12)


@given(EVENTS)
def test_whatever_happened_the_way_back_is_good_everywhere_and_not_what_all_serve(
    events: list[tuple[str, str]],
) -> None:
    hosts = Hosts()
    for kind, release in events:
        hosts.stage(release)
        if kind == "deploy":
            hosts.publish(release)
        elif kind == "half":
            hosts.publish(release, "web-1")
        elif hosts.live["web-1"] != release:
            hosts.fail(release, "web-1")
    try:
        back = target(hosts)
    except WebappsError:
        return
    assert {host.state(back) for host in hosts.fleet().values()} <= {books.LIVE, books.GOOD}
    assert set(hosts.live.values()) != {back}


@given(EVENTS)
def test_retention_never_takes_the_live_release_or_the_way_back(events: list[tuple[str, str]]) -> None:
    hosts = Hosts("web-1").deploy("first", "second")
    for kind, release in events:
        hosts.stage(release)
        if kind == "deploy":
            hosts.publish(release)
        elif hosts.live["web-1"] != release:
            hosts.fail(release, "web-1")
        gone = books.prunable(hosts.ledgers["web-1"], keep=1, keep_failed=0)
        kept = {hosts.live["web-1"], books.last_good(hosts.ledgers["web-1"])}
        assert kept.isdisjoint(gone)
        hosts.ledgers["web-1"] = books.forget(hosts.ledgers["web-1"], gone)
        if back := books.last_good(hosts.ledgers["web-1"]):
            assert target(hosts) == back
