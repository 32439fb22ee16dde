"""What the playbooks' own variables decide: which batch is watched, when migrations are refused, who may stop first."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.templates.render import ROOT, trusted

# As the play takes them.
WEB = ["web-1", "web-2", "web-3"]


def watched(batch: list[str], live: str, changed: bool, **given: Any) -> bool:
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    hosts = {
        name: {"__gunicorn_published": {"changed": changed}, "__deploy_observed": {"live": live[place]}}
        for name, place in zip(WEB, range(3), strict=True)
    }
    known = shared | {
        "hostvars": hosts,
        "ansible_play_batch": batch,
        "ansible_play_hosts_all": WEB,
        "webapps_release": "n",
    }
    return decided("roll_is_watched", known | given)


def decided(name: str, known: dict[str, Any]) -> bool:
    variables = {key: trusted(value) for key, value in known.items()}
    return bool(Templar(loader=DataLoader(), variables=variables).template(trusted(f"{{{{ {name} }}}}")))


def gated(live: list[str | None], **given: Any) -> bool:
    """Whether the first of the hosts that serve these releases refuses migrations."""
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    hosts = {name: {"__deploy_observed": {"live": each}} for name, each in zip(WEB, live, strict=True)}
    known = {"hostvars": hosts, "groups": {"web": WEB}, **hosts["web-1"]}
    return decided("migration_gate_enforced", shared | known | given)


@pytest.mark.parametrize(("batch", "first"), [(["web-1"], True), (["web-2"], False), (["web-2", "web-3"], False)])
def test_the_first_batch_is_watched_and_no_other(batch: list[str], first: bool) -> None:
    assert watched(batch, live="ooo", changed=True) is first


def test_the_first_batch_of_a_run_that_was_killed_before_all_had_the_release_is_watched_again() -> None:
    assert watched(["web-1"], live="noo", changed=False)


def test_a_deploy_that_changes_nothing_waits_for_nothing() -> None:
    assert not watched(["web-1"], live="nnn", changed=False)


def test_a_changed_environment_is_watched_like_a_release() -> None:
    assert watched(["web-1"], live="nnn", changed=True)


def test_nobody_is_watched_behind_the_maintenance_page() -> None:
    assert not watched(WEB, live="ooo", changed=True, deploy_maintenance=True)


@pytest.mark.parametrize("live", [["o", "o", "o"], [None, "o", "o"], ["o", None, None]])
def test_migrations_are_judged_while_any_host_serves_a_release_whichever_host_asks(live: list[str | None]) -> None:
    assert gated(live)


def test_before_the_first_deploy_and_behind_the_page_no_code_runs_that_a_migration_could_break() -> None:
    assert not gated([None, None, None])
    assert not gated(["o", "o", "o"], deploy_maintenance=True)


def quiet(*states: str, **given: Any) -> bool:
    """Whether nobody sends requests to a host whose batch is in these states after leaving."""
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    left = {"targets": [{"after": {"state": state}} for state in states]}
    return decided("roll_is_quiet", shared | {"ansible_check_mode": False, "__load_balancer_left": left} | given)


SKIPPED = {"skipped": True, "changed": False}


def test_a_host_is_quiet_once_its_batch_has_left_and_its_last_requests_have_come() -> None:
    assert quiet("draining", __load_balancer_quiet={"quiet": True})
    assert not quiet("draining", __load_balancer_quiet={"quiet": False})
    assert not quiet("draining", "healthy", __load_balancer_quiet={"quiet": True})


def test_a_host_that_is_out_for_longer_is_quiet_and_one_that_stays_or_has_no_pool_is_not() -> None:
    assert quiet("unused", __load_balancer_quiet=SKIPPED)
    assert not quiet("healthy", __load_balancer_quiet=SKIPPED)
    assert not quiet(__load_balancer_quiet=SKIPPED)
    assert not quiet(__load_balancer_quiet=SKIPPED, __load_balancer_left=SKIPPED)


def test_behind_the_page_every_host_is_quiet_and_a_check_takes_those_that_leave_for_it() -> None:
    assert quiet(deploy_maintenance=True)
    assert quiet("draining", __load_balancer_quiet={"quiet": False}, ansible_check_mode=True)


@pytest.mark.parametrize(
    ("given", "pooled"),
    [({}, False), ({"load_balancer_target_groups": ["amy"]}, True), ({"deploy_maintenance": True}, True)],
)
def test_somebody_answers_for_a_host_in_a_pool_or_behind_the_page(given: dict[str, Any], pooled: bool) -> None:
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    assert decided("gunicorn_pooled", shared | given) is pooled
