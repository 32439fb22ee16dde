"""A plan says, host by host and batch by batch, what a deploy would do, and why."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.carpentries.webapps.plugins.filter.deploy_plan import FilterModule as PlanFilter
from ansible_collections.carpentries.webapps.plugins.filter.plan_text import FilterModule as TextFilter
from ansible_collections.carpentries.webapps.plugins.filter.roll_batches import FilterModule as BatchFilter
from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_plan import (
    deploy_plan,
    roll_batches,
    roll_order,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_plan_text import WIDTH, plan_text

from tests.unit.plugins.plan_support import COMMIT, NEW, OLD, kept, listed, member, published, seen

TARGETS = {"web-1": {"instance_id": "i-1"}, "web-2": {"name": "second", "instance_id": "i-2"}}
PENDING = {
    "app": "workshops",
    "name": "0262_membership",
    "operations": ["RemoveField"],
    "sql": ["BEGIN;", 'ALTER TABLE "workshops_person" DROP COLUMN "may_contact" CASCADE;', "COMMIT;"],
}
VERDICT = {
    "migration": "workshops.0262_membership",
    "level": "incompatible",
    "reasons": ['ban-drop-column: ALTER TABLE "workshops_person" DROP COLUMN "may_contact" CASCADE;'],
}
REFUSAL = "1 of 1 pending migrations may break the code that serves now:\n  workshops.0262_membership incompatible"


def text(**changes: Any) -> str:
    return "\n".join(plan_text(deploy_plan(seen(**changes))))


def idle() -> dict[str, Any]:
    """The same fleet where everything runs already."""
    hosts = ("web-1", "web-2", "worker-1")
    return seen(
        listed={host: listed(NEW) for host in hosts},
        web={"web-1": kept("gunicorn"), "web-2": kept("gunicorn")},
        workers={"worker-1": {"results": [kept("rqworker")]}},
        scheduler={"worker-1": kept("rqscheduler")},
        unwanted={"worker-1": {"steps": []}},
        observed={},
        foreseen={"results": []},
        changes={**seen()["changes"], "commits": [], "commits_count": 0, "migrations": []},
        pending={"pending": []},
        history=[{"step": "Build", "seconds": 100}],
    )


def test_the_whole_text() -> None:
    assert text().splitlines() == [
        "What a deploy of v4.2.0 to amy.example.org would do; nothing was changed.",
        f"It would publish release {NEW} (commit {COMMIT[:12]}).",
        "It would be built unless the builder has it, and staged on web-1, web-2, worker-1.",
        "",
        "HOSTS",
        f"web-1 runs v4.1.0 ({OLD})",
        f"  gunicorn {OLD}-0a0a0a0a -> {NEW}-0b0b0b0b",
        "    why: code, environment (changed SECRET_KEY; added SENTRY_DSN), process settings (command --workers,",
        "      stopwaitsecs)",
        f"web-2 runs v4.1.0 ({OLD})",
        f"  gunicorn {OLD}-0a0a0a0a -> {NEW}-0b0b0b0b",
        "    why: code",
        f"worker-1 runs v4.1.0 ({OLD})",
        f"  rqworker {OLD}-0a0a0a0a -> {NEW}-0b0b0b0b",
        "    why: code",
        f"  rqscheduler {OLD}-0a0a0a0a -> {NEW}-0b0b0b0b",
        "    why: code",
        "  Let rqworker_mail-x finish its work and stop",
        "",
        "ROLL",
        "Batch 1 of 2: web-1",
        "  web-1 (i-1) leaves amy port 80, now healthy",
        "  web-1 (i-1) joins amy port 80 again",
        "Batch 2 of 2: web-2",
        "  web-2 (i-2) joins amy port 80, now unused",
        "",
        "COMMITS",
        "2 new since v4.1.0:",
        "  2222222222 Ask instructors for their availability",
        "  3333333333 Store memberships",
        "",
        "MIGRATIONS",
        "1 new, as far as the source tells: verdict and SQL once it is built",
        "  workshops.0262_membership",
        "",
        "TIME",
        "1.2 to 10.0 minutes",
        "  1 x leaving, 15 to 300 s each; 2 x joining, 30 to 150 s each",
        "  costs most: deregistration_delay.timeout_seconds of amy, 300; 30 would save up to 4.5 minutes",
        "  building, staging, migrations, starts and proofs come on top: no earlier deploy was measured",
        "",
        "LOCK",
        "Nobody looked for one.",
    ]


def test_where_everything_runs_already_nothing_would_happen() -> None:
    plan = deploy_plan(idle())
    assert not plan["changes"]
    assert plan_text(plan) == [
        "What a deploy of v4.2.0 to amy.example.org would do; nothing was changed.",
        f"It would publish nothing: every host runs release {NEW} (commit {COMMIT[:12]}) as it should.",
        "",
        "HOSTS",
        f"web-1 keeps v4.2.0 ({NEW}): nothing changes",
        f"web-2 keeps v4.2.0 ({NEW}): nothing changes",
        f"worker-1 keeps v4.2.0 ({NEW}): nothing changes",
        "",
        "COMMITS",
        "None new since v4.2.0",
        "",
        "MIGRATIONS",
        "None is pending.",
        "",
        "LOCK",
        "Nobody looked for one.",
    ]


def test_a_host_that_is_out_joins_though_nothing_is_published() -> None:
    plan = deploy_plan({**idle(), "observed": seen()["observed"]})
    assert (plan["publishes"], plan["changes"]) == (False, True)
    assert "  web-2 (i-2) joins amy port 80, now unused" in plan_text(plan)


def test_without_a_balancer_nothing_is_waited_for() -> None:
    said = text(observed={}, foreseen={"skipped": True})
    assert "  nobody leaves or joins a target group" in said
    assert "TIME\nNo batch leaves or joins a target group, so nothing is waited for." in said


def test_no_line_is_longer_than_a_terminal() -> None:
    long = {**PENDING, "sql": ["SELECT " + ", ".join(["a_rather_long_column_name"] * 40)]}
    said = text(pending={"pending": [long]}, judged={"verdicts": [VERDICT], "refusal": REFUSAL})
    assert max(map(len, said.splitlines())) <= WIDTH


def test_a_staged_release_is_judged_exactly_and_a_refusal_is_told() -> None:
    said = text(pending={"pending": [PENDING]}, judged={"verdicts": [VERDICT], "refusal": REFUSAL})
    assert "1 pending, asked of the database by the staged release:\n  workshops.0262_membership incompatible" in said
    assert '    | ALTER TABLE "workshops_person" DROP COLUMN "may_contact" CASCADE;' in said
    assert "REFUSALS\nThis deploy would be refused: 1 of 1 pending migrations may break" in said


@pytest.mark.parametrize("live", [{}, {"web-2": "o"}])
def test_migrations_refuse_while_any_host_serves_and_nothing_before_the_first_deploy(live: dict[str, str]) -> None:
    listed = {host: {"live": live.get(host), "releases": []} for host in ("web-1", "web-2", "worker-1")}
    judged = {"verdicts": [VERDICT], "refusal": REFUSAL}
    plan = deploy_plan(seen(pending={"pending": [PENDING]}, judged=judged, listed=listed))
    assert plan["refusals"] == ([REFUSAL] if live else [])


def test_behind_the_page_migrations_refuse_nothing() -> None:
    judged = {"verdicts": [VERDICT], "refusal": REFUSAL}
    plan = deploy_plan(seen(pending={"pending": [PENDING]}, judged=judged, maintenance=True))
    assert plan["refusals"] == []
    assert f"It would publish release {NEW} (commit {COMMIT[:12]}) behind the maintenance page." in "\n".join(
        plan_text(plan)
    )


def test_what_the_source_cannot_tell_is_said_to_be_unknown() -> None:
    unknown = {**seen()["changes"], "known": False, "reason": "Nobody knows the commit that serves.", "migrations": []}
    said = text(changes=unknown)
    assert "Unknown, between v4.1.0 and v4.2.0: Nobody knows the commit that serves." in said
    assert "Unknown until the release is built and staged: the source could not be compared." in said


def test_the_way_back_says_what_would_be_gone() -> None:
    back = {"commits": [], "commits_count": 0, "dropped": ["3333333333 Store memberships"], "dropped_count": 9}
    gone = [{"app": "workshops", "name": "0262_membership", "path": "x"}]
    said = text(changes={**seen()["changes"], **back, "migrations": [], "migrations_removed": gone})
    assert "None new since v4.1.0\n9 served now and gone then:\n  3333333333 Store memberships\n  and 8 more" in said
    assert "gone then, though the database may have them: workshops.0262_membership" in said


def test_a_batch_that_may_not_leave_is_a_refusal() -> None:
    refused = {"results": [{"msg": "Refused to leave: amy would keep 0 healthy.", "failed": False}, {"targets": []}]}
    plan = deploy_plan(seen(foreseen=refused))
    assert plan["refusals"] == ["Refused to leave: amy would keep 0 healthy."]


def test_a_host_that_is_draining_joins_again() -> None:
    draining = {"web-1": {"targets": [member("web-1 (i-1)", "none", "draining")], "target_groups": []}}
    (first, _second) = deploy_plan(seen(observed=draining, foreseen={"results": []}))["batches"]
    assert [move["state"] for move in first["joins"]] == ["draining"]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (published("gunicorn", None, NEW), "nothing of it runs yet"),
        (published("gunicorn", NEW, NEW, differs={}), "what runs is to be repaired"),
        (
            {**kept("gunicorn"), "changed": True, "previous_generation": f"{OLD}-0a0a0a0a"},
            "an earlier run was interrupted",
        ),
    ],
)
def test_other_reasons_than_differences_are_told(result: dict[str, Any], why: str) -> None:
    web = {**seen()["web"], "web-2": result}
    (program,) = deploy_plan(seen(web=web))["hosts"]["web-2"]["programs"]
    assert program["why"] == [why]


def test_a_program_that_stays_is_said_to() -> None:
    said = text(scheduler={"worker-1": kept("rqscheduler")})
    assert f"  rqscheduler keeps {NEW}-0b0b0b0b" in said


def test_an_environment_that_cannot_be_compared_is_still_a_reason() -> None:
    assert "why: code, environment, process" in text(environments={"web-1": {"differs": None}})


def test_a_release_that_some_hosts_have_is_staged_on_the_others() -> None:
    hosts = {"web-1": listed(OLD, NEW), "web-2": listed(), "worker-1": listed(OLD, NEW)}
    assert "and staged on web-2; on web-1, worker-1 it is already." in text(listed=hosts)
    assert "It would be built" not in text(listed={host: listed(OLD, NEW) for host in hosts})


def test_a_host_that_serves_nothing_yet_is_told() -> None:
    said = text(listed={**seen()["listed"], "web-2": listed(None)})
    assert "web-2 runs nothing" in said


def test_what_earlier_deploys_took_is_included() -> None:
    history = [{"step": "Build", "seconds": 60}, {"step": "Publish", "seconds": 30}]
    plan = deploy_plan(seen(history=history))
    assert plan["time"]["measured"] == {"Build": 60, "Publish": 60}
    assert plan["time"]["least_minutes"] == 3.2
    assert "measured in earlier deploys and included: Build 60 s, Publish 60 s" in "\n".join(plan_text(plan))


def test_slow_start_is_said_not_to_be_waited_for() -> None:
    observed = seen()["observed"]
    groups = [{**group, "slow_start": 40} for group in observed["web-1"]["target_groups"]]
    slow = {host: {**each, "target_groups": groups} for host, each in observed.items()}
    assert "slow start (40 s) is not waited for" in text(observed=slow)


def test_a_lock_is_told_with_its_owner() -> None:
    assert "LOCK\nHeld: owner maria, reason a workshop is on" in text(
        lock={"held": True, "owner": "maria", "reason": "a workshop is on"}
    )
    assert "LOCK\nNone is held." in text(lock={"held": False})
    assert "LOCK\nHeld." in text(lock={"held": True})


def test_the_same_hosts_leave_as_in_a_deploy() -> None:
    web = {
        "web-1": published("gunicorn", OLD, NEW),
        "web-2": kept("gunicorn"),
        "web-3": published("gunicorn", OLD, NEW),
    }
    assert roll_batches(web, [2], TARGETS) == [
        {"hosts": ["web-1", "web-2"], "leaving": [{"name": "web-1", "instance_id": "i-1"}]},
        {"hosts": ["web-3"], "leaving": []},
    ]
    first = {"web-2": published("gunicorn", None, NEW)}
    assert roll_batches(first, [1], TARGETS) == [{"hosts": ["web-2"], "leaving": []}]


def test_hosts_that_are_out_of_service_come_first() -> None:
    groups = {"web": ["web-3", "web-2", "web-1"], "web_out_of_service": ["web-2"], "worker": ["worker-1"]}
    assert roll_order(groups) == ["web-2", "web-1", "web-3"]
    assert roll_order({"web": ["web-2", "web-1"]}) == ["web-1", "web-2"]
    assert roll_order({}) == []


def test_behind_the_page_nobody_leaves() -> None:
    (batch,) = roll_batches(seen()["web"], ["100%"], TARGETS, maintenance=True)
    assert batch == {"hosts": ["web-1", "web-2"], "leaving": []}


def test_filters_say_what_is_wrong_as_ansible_shows_it() -> None:
    with pytest.raises(AnsibleFilterError, match="deploy_batches"):
        BatchFilter().filters()["roll_batches"]({"web-1": {}}, ["half"], {})
    with pytest.raises(AnsibleFilterError, match="plan_history"):
        PlanFilter().filters()["deploy_plan"](seen(history=[{}]))
    assert BatchFilter().filters()["roll_batches"]({}, [1], {}) == []
    assert TextFilter().filters()["plan_text"](PlanFilter().filters()["deploy_plan"](idle()))


def test_workers_that_were_left_on_the_builder_are_told() -> None:
    said = text(stopped_workers={"builder-1": {"steps": ["Let rqworker-x finish its work and stop"]}})
    assert "builder-1 runs nothing\n  Let rqworker-x finish its work and stop" in said
    assert "staged on web-1, web-2, worker-1." in said
