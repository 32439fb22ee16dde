"""A right that is missing is told before it is needed, where AWS tells; where it does not, nothing is claimed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_rights import Needed, Rights
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

from tests.unit.plugins.fake_elbv2 import FakeAws, FakeClock, client

LEAVE = "elasticloadbalancing:DeregisterTargets"
NEEDED: Needed = [([LEAVE, "elasticloadbalancing:RegisterTargets"], ["arn:group"]), (["autoscaling:EnterStandby"], [])]


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(FakeClock(), [])


@pytest.fixture
def rights(aws: FakeAws) -> Iterator[Rights]:
    with ExitStack() as stack:
        clients = {service: stack.enter_context(client(service, aws)) for service in ("sts", "iam")}
        yield Rights(lambda service: clients[service])


def test_what_iam_would_deny_is_named_with_who_and_the_statement(aws: FakeAws, rights: Rights) -> None:
    aws.simulated = {LEAVE: "explicitDeny"}
    with pytest.raises(WebappsError) as raised:
        rights.check(NEEDED)
    assert raised.value.message == (
        f"arn:aws:iam::123456789012:user/deployer may not {LEAVE} (explicitDeny), as IAM simulates its policies. "
        f'Add to them: {{"Effect": "Allow", "Action": "{LEAVE}", "Resource": "arn:group"}}'
    )


def test_what_iam_allows_is_asked_for_once(aws: FakeAws, rights: Rights) -> None:
    rights.check(NEEDED)
    assert aws.count("SimulatePrincipalPolicy") == 1


def test_of_an_assumed_role_the_role_is_asked_about_with_its_path(aws: FakeAws, rights: Rights) -> None:
    aws.caller = "arn:aws:sts::123456789012:assumed-role/deployer/ci"
    aws.simulated = {LEAVE: "implicitDeny"}
    with pytest.raises(WebappsError, match="role/deploys/deployer may not"):
        rights.check(NEEDED)


def test_a_condition_on_what_the_simulation_does_not_know_proves_nothing(aws: FakeAws, rights: Rights) -> None:
    aws.simulated, aws.conditions = {LEAVE: "implicitDeny"}, ["aws:ResourceTag/Stage"]
    rights.check(NEEDED)


@pytest.mark.parametrize("operation", ["GetCallerIdentity", "SimulatePrincipalPolicy"])
def test_who_may_not_ask_iam_is_told_nothing_and_does_not_wait(aws: FakeAws, rights: Rights, operation: str) -> None:
    aws.simulated = {LEAVE: "implicitDeny"}
    aws.denied = {operation}
    rights.check(NEEDED)
    assert aws.clock.sleeps == []


def test_a_caller_without_policies_of_its_own_is_not_asked_about(aws: FakeAws, rights: Rights) -> None:
    aws.caller = "arn:aws:iam::123456789012:root"
    rights.check(NEEDED)
    assert aws.count("SimulatePrincipalPolicy") == 0
