"""Who has the lock of deploys, and for how long: what moves Redis or replaces the database too, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import listing

ROOT = Path(__file__).parent.parent.parent
PLAYBOOKS = ROOT / "playbooks"
LIVE = {"restore_into": "live"}
RUNS: dict[str, dict[str, Any]] = {"move_redis": {}, "restore": LIVE}


def plays(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())
    return found


def play(name: str, title: str) -> dict[str, Any]:
    (found,) = [play for play in plays(name) if play["name"] == title]
    return found


def failing(given: dict[str, Any]) -> dict[str, Any]:
    """A play whose work fails at once."""
    (work,) = given["tasks"]
    return {**given, "tasks": [{**work, "when": True, "block": [{"ansible.builtin.fail": {"msg": "Out of luck."}}]}]}


def run(directory: Path, *given: dict[str, Any], **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run plays on hosts that are this machine; the builder is one of the web hosts."""
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "webapps_domain": "amy.example.org",
        "webapps_root": "/nonexistent",
        "webapps_release": "3f2a1b9c0d-9f8e7d6c",
        "deploy_planned": "3f2a1b9c0d-9f8e7d6c",
        "deploy_lock_directory": str(directory / "deploys"),
    }
    hosts = {"web": ["web-1", "web-2"], "worker": ["web-1"], "scheduler": ["web-1"], "builder": ["web-2"]}
    groups = {group: {"hosts": dict.fromkeys(names)} for group, names in hosts.items()}
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups, "vars": local}}))
    for name in ("group_vars", "tasks"):
        if not (directory / name).exists():
            (directory / name).symlink_to(PLAYBOOKS / name)
    book = [{**play, "become": False} for play in given]
    (directory / "play.yml").write_text(yaml.safe_dump(book, sort_keys=False))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    return subprocess.run(
        [*command, "-e", json.dumps(variables)], cwd=directory, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def held(directory: Path) -> bool:
    return (directory / "deploys/lock.json").exists()


def recorded(directory: Path) -> dict[str, Any]:
    lines = (directory / "deploys/deploys.jsonl").read_text().splitlines()
    entry: dict[str, Any] = json.loads(lines[-1])
    return entry


@pytest.mark.parametrize("name", RUNS)
def test_the_lock_says_what_it_is_for_and_is_given_back_at_the_end(tmp_path: Path, name: str) -> None:
    lock, end = play(name, "Lock | No deploy meanwhile"), play(name, "Finish | Give the lock back")
    done = run(tmp_path, lock, **RUNS[name])
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "deploys/lock.json").read_text())["reason"] == name
    # The run before is dead, as one that was killed, and this one takes its lock over.
    done = run(tmp_path, lock, end, **RUNS[name])
    assert (done.returncode, held(tmp_path)) == (0, False), done.stdout
    assert "A stale deploy lock is taken over" in done.stdout
    assert (recorded(tmp_path)["version"], recorded(tmp_path)["result"]) == (name, "success")


@pytest.mark.parametrize("name", RUNS)
def test_every_play_that_has_the_lock_gives_it_back_when_it_fails(name: str) -> None:
    between = plays(name)
    titles = [play["name"] for play in between]
    between = between[titles.index("Lock | No deploy meanwhile") + 1 : titles.index("Finish | Give the lock back")]
    imported = [play["ansible.builtin.import_playbook"] for play in between if "hosts" not in play]
    assert imported == (["roll_web.yml"] if name == "move_redis" else [])
    for found in between:
        if "hosts" in found:
            (work,) = found["tasks"]
            said = yaml.safe_dump(work["rescue"])
            assert "tasks/give_up.yml" in said or "tasks/give_lock_back.yml" in said, found["name"]
            # A host that is lost fails nothing by itself.
            assert found["ignore_unreachable"], found["name"]
            assert "tasks_from: reached" in yaml.safe_dump(work["block"]), found["name"]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("move_redis", "Stop | Scheduler and workers finish what they do"),
        ("move_redis", "Workers | Start them on the new Redis"),
        ("roll_web", "Roll web | Batch by batch"),
        ("restore", "Maintenance | Show the page"),
        ("restore", "Restore | Beside the real database, compared, then dropped or put in its place"),
    ],
)
def test_a_run_that_fails_gives_the_lock_back_and_ends_with_the_cause(tmp_path: Path, name: str, title: str) -> None:
    lock = play("restore" if name == "restore" else "move_redis", "Lock | No deploy meanwhile")
    done = run(tmp_path, lock, failing(play(name, title)), **(LIVE if name == "restore" else {}))
    assert done.returncode != 0
    assert not held(tmp_path), done.stdout
    assert (recorded(tmp_path)["result"], recorded(tmp_path)["message"]) == ("failed", "Out of luck."), done.stdout
    assert "Out of luck." in done.stdout[done.stdout.rindex("TASK [") :]
    assert ("The page stays on" in done.stdout) == title.startswith("Restore")


def test_a_drill_has_no_lock(tmp_path: Path) -> None:
    done = run(tmp_path, play("restore", "Lock | No deploy meanwhile"), play("restore", "Finish | Give the lock back"))
    assert done.returncode == 0, done.stdout
    assert not (tmp_path / "deploys").exists()


@pytest.mark.parametrize(("given", "expiry"), [({}, 86400), ({"restore_lock_expiry": 200000}, 200000)])
def test_a_restore_has_a_lock_that_lasts_as_long_as_it_may_take(
    tmp_path: Path, given: dict[str, int], expiry: int
) -> None:
    done = run(tmp_path, play("restore", "Lock | No deploy meanwhile"), **LIVE, **given)
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "deploys/lock.json").read_text())["expiry"] == expiry


@pytest.mark.parametrize(("soak", "refused"), [(3000, False), (3001, True)])
def test_a_deploy_that_would_watch_longer_than_its_lock_lasts_is_refused(
    tmp_path: Path, soak: int, refused: bool
) -> None:
    check = {"ansible.builtin.include_role": {"name": "carpentries.webapps.load_balancer", "tasks_from": "check"}}
    groups = {"load_balancer_target_groups": ["amy"], "load_balancer_soak": soak}
    done = run(tmp_path, {"hosts": "web", "gather_facts": False, "tasks": [check]}, **groups)
    # Both end here: of the target nothing is known.
    assert done.returncode != 0
    assert ("load_balancer_soak_limit 3000 s" in " ".join(done.stdout.split())) == refused, done.stdout
    assert ("let the inventory compose" in " ".join(done.stdout.split())) != refused, done.stdout


SERVED = {
    "live": "1111111111-aaaaaaaa",
    "environment": "e1",
    "releases": [{"id": "1111111111-aaaaaaaa", "state": "live", "version": "v1", "environment": "e1"}],
}
DEPLOYED = {
    "deploy_planned": "3f2a1b9c0d-9f8e7d6c",
    "deploy_version": "v2",
    "__deploy_observed": SERVED,
    "__app_release_environment": {"digest": "e2"},
}
# The plays of a deploy after its lock, which change what users see, and how deploy.yml has them.
PHASES = ("roll_workers", "roll_web", "roll_scheduler", "finish")
GOING = {
    "roll_among": "{{ ':!deploy_failed' if 'deploy_failed' in groups else '' }}",
    "deploy_at_failure": "end_play",
    "webapps_environment_digest": "e2",
}


RENEW = {"name": "Renew the lock", "ansible.builtin.import_tasks": "tasks/renew.yml"}


def renewing(given: dict[str, Any]) -> bool:
    return RENEW in given["tasks"][0].get("block", [])


def working(given: dict[str, Any]) -> dict[str, Any]:
    """A play that renews the lock as it does, and whose work is a word."""
    (work,) = given["tasks"]
    words = {"ansible.builtin.debug": {"msg": "At work."}}
    return {**given, "vars": GOING, "tasks": [{**work, "block": [RENEW, words]}]}


def lost(directory: Path) -> dict[str, Any]:
    """Another run takes the lock over."""
    lock = directory / "deploys/lock.json"
    replaced = {"path": str(lock), "regexp": '"run": ".*"', "replace": '"run": "another"'}
    return {"hosts": "builder", "gather_facts": False, "tasks": [{"ansible.builtin.replace": replaced}]}


@pytest.mark.parametrize("first", PHASES[:2])
def test_a_run_that_lost_its_lock_touches_no_host_any_more_and_leads_nobody_back(tmp_path: Path, first: str) -> None:
    phases = [working(found) for name in PHASES[PHASES.index(first) :] for found in plays(name) if renewing(found)]
    back = [found for found in plays("go_back") if "hosts" in found]
    lock = play("deploy", "Lock | One deploy at a time")
    done = run(tmp_path, lock, lost(tmp_path), *phases, *back, **DEPLOYED)
    assert done.returncode != 0
    assert "does not have the deploy lock of amy.example.org any more" in done.stdout
    assert "This run lost the deploy lock" in done.stdout, done.stdout[done.stdout.index("PLAY [Go back") :]
    for touch in ("At work.", "load_balancer : ", "condemn | "):
        assert touch not in done.stdout
    # The other one's.
    assert held(tmp_path)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("deploy", "Back up | One host, before anything is migrated"),
        ("deploy", "Migrate | Once, with the new release's code"),
        ("roll_workers", "Roll workers | Consumers before producers"),
        ("roll_workers", "Roll workers | Stop those of hosts that are no worker hosts any more"),
        ("roll_web", "Roll web | Batch by batch"),
        ("roll_scheduler", "Scheduler | Stop one that runs on another host"),
        ("roll_scheduler", "Scheduler | Stop the old one, start the new one, prove that there is one"),
        ("finish", "Finish | Prove the fleet"),
    ],
)
def test_nothing_is_migrated_or_published_before_the_lock_has_given_a_sign_of_life(name: str, title: str) -> None:
    (work,) = play(name, title)["tasks"]
    assert work["block"][0] == RENEW


BACK = {
    "roll_among": "{{ ':&deploy_goes_back' if 'deploy_goes_back' in groups else ':!all' }}",
    "webapps_release": "{{ deploy_goes_back_to.id }}",
    "deploy_at_failure": "go_on",
}


def without(host: str) -> dict[str, Any]:
    """A host is lost."""
    lost = {"ansible.builtin.set_fact": {"ansible_connection": "ssh", "ansible_port": 1}}
    return {"hosts": host, "gather_facts": False, "tasks": [lost]}


def test_a_builder_that_is_lost_is_named_and_keeps_nobody_from_going_back(tmp_path: Path) -> None:
    lock, web = play("deploy", "Lock | One deploy at a time"), play("roll_web", "Roll web | Batch by batch")
    end = [found for found in plays("go_back") if "hosts" in found and "goes_back" not in found["hosts"]]
    back = {**working(web), "name": "Back", "vars": BACK}
    done = run(tmp_path, lock, without("web-2"), working(web), back, *end, **DEPLOYED)
    forth, _, said = done.stdout.partition("PLAY [Back]")
    assert ("At work." in forth, "At work." in said) == (False, True), done.stdout
    assert "web-1: web-2 does not answer: " in said, said


@pytest.mark.parametrize(
    ("environment", "result", "message"),
    [
        ("e1", "rolled_back", "Out of luck."),
        ("e2", "failed", "web-1, web-2 did not go back to v1. Out of luck."),
    ],
)
def test_a_deploy_counts_as_rolled_back_where_every_host_serves_what_it_served(
    tmp_path: Path, environment: str, result: str, message: str
) -> None:
    (tmp_path / "repo").symlink_to(tmp_path / "releases/1111111111-aaaaaaaa")
    (tmp_path / "environment").symlink_to(tmp_path / "environments" / environment)
    lock, web = play("deploy", "Lock | One deploy at a time"), play("roll_web", "Roll web | Batch by batch")
    end = [found for found in plays("go_back") if "hosts" in found and "goes_back" not in found["hosts"]]
    roll = {**failing(web), "vars": GOING}
    done = run(tmp_path, lock, roll, *end, **DEPLOYED, webapps_root=str(tmp_path))
    assert (recorded(tmp_path)["result"], recorded(tmp_path)["message"]) == (result, message), done.stdout
    assert ("should have gone back to v1" in done.stdout) == (result == "failed")


def published(root: Path, *versions: str) -> dict[str, Any]:
    """What a host lists that has published these versions, one after the other."""
    layout, known = Layout(root), ledger.Ledger()
    layout.environments.mkdir(parents=True, exist_ok=True)
    layout.environment.unlink(missing_ok=True)
    layout.environment.symlink_to(layout.environments / "e1")
    for version in versions:
        tree = layout.release(f"{version[1:]:0>10}-aaaaaaaa")
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "RELEASE.json").write_text("{}")
        known = ledger.record_staged(known, tree.name, version=version, commit=version, now="now")
        known = ledger.mark_live(known, tree.name, now="now", environment="e1")
        layout.repo.unlink(missing_ok=True)
        layout.repo.symlink_to(tree)
    ledger.save(layout.ledger, known)
    return listing(layout)


TO_V0 = {"id": "0000000000-aaaaaaaa", "version": "v0", "environments": {"web-1": "e1", "web-2": "e1"}, "refusal": ""}


@pytest.mark.parametrize(("meanwhile", "refused"), [(("v0", "v1"), False), (("v0", "v1", "v2"), True)])
def test_a_rollback_that_waited_for_a_deploy_refuses_to_leave_what_that_has_brought(
    tmp_path: Path, meanwhile: tuple[str, ...], refused: bool
) -> None:
    root = tmp_path / "amy.example.org"
    observed = published(root, "v0", "v1")
    published(root, *meanwhile)
    lock = play("rollback", "Lock | One deploy at a time")
    again = play("rollback", "Plan | Look again, now that nobody else deploys")
    done = run(tmp_path, lock, again, webapps_root=str(root), __deploy_observed=observed, rollback_to=TO_V0)
    assert (done.returncode != 0, not held(tmp_path)) == (refused, refused), done.stdout
    text = " ".join(done.stdout.split())
    assert ("web-1 served 0000000001-aaaaaaaa, now it serves 0000000002-aaaaaaaa" in text) == refused, text
    if refused:
        assert (recorded(tmp_path)["version"], recorded(tmp_path)["result"]) == ("v0", "failed")
