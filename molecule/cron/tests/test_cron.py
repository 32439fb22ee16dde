"""Jobs run in what is live when they start, and the log says how they ended.

The tests share one host and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from testinfra.host import Host

from sandbox.scenario import ROOT, staged, wait_until

LOG = f"{ROOT}/logs/cron.log"
RUN = "/usr/local/lib/webapps/cron-job /etc/webapps/cron-amy.example.org.json"
CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ")
MINUTE = 75


def apply(**variables: object) -> None:
    """Apply the role once more."""
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    command = ["ansible-playbook", f"--inventory={inventory}", f"--extra-vars={json.dumps(variables)}", str(CONVERGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def go_live(host: Host, version: str) -> str:
    """Switch as a publish does: new links, each renamed over the old one. Returns the release's directory."""
    (environment,) = host.check_output(f"ls {ROOT}/environments").split()
    release = f"{ROOT}/releases/{staged(version)}"
    for link, target in (("repo", release), ("environment", f"{ROOT}/environments/{environment}")):
        host.check_output(f"ln -s {target} {ROOT}/.new && mv -T {ROOT}/.new {ROOT}/{link}")
    return release


def lines(host: Host, job: str) -> list[str]:
    """What a job has logged so far, without times; every line that begins an event has one."""
    found = []
    for line in host.check_output(f"cat {LOG}").splitlines():
        stamp = STAMP.match(line)
        if stamp and line[stamp.end() :].startswith(f"{job}: "):
            found.append(line[stamp.end() + len(job) + 2 :])
    return found


def test_before_the_first_deploy_jobs_are_skipped_and_the_log_says_so(host: Host) -> None:
    assert host.run(f"{RUN} crash").rc == 0
    assert lines(host, "crash") == ["WARNING skipped: no release is live on this host"]


def test_cron_runs_a_job_in_the_live_release_with_its_environment(host: Host) -> None:
    release = go_live(host, "v1")
    assert host.service("cron").is_enabled
    wait_until(lambda: f"serves amy.example.org at {release}" in lines(host, "version"), "cron did not run it", MINUTE)


def test_after_a_switch_cron_runs_it_in_the_new_release(host: Host) -> None:
    release = go_live(host, "v2")
    wait_until(lambda: f"serves amy.example.org at {release}" in lines(host, "version"), "cron did not run it", MINUTE)
    assert f"INFO starts in release {staged('v2')}" in lines(host, "version")


def test_a_job_under_way_stays_in_its_release_through_a_switch_and_does_not_overlap_itself(host: Host) -> None:
    old = go_live(host, "v1")
    host.check_output(f"systemd-run --unit slow {RUN} slow")
    wait_until(lambda: f"began in {old}" in lines(host, "slow"), "the job did not start")
    go_live(host, "v2")
    assert host.run(f"{RUN} slow").rc == 0
    assert lines(host, "slow")[-1] == "WARNING skipped: the run before it has not ended"
    host.check_output("touch /run/webapps/amy.example.org/go")
    wait_until(lambda: f"ended in {old}" in lines(host, "slow"), "the job did not end")
    wait_until(lambda: "INFO ended after" in lines(host, "slow")[-1], "the end is not logged")


def test_cleaning_up_spares_the_release_in_which_a_job_runs(host: Host) -> None:
    old = go_live(host, "v1")
    host.check_output("rm /run/webapps/amy.example.org/go")
    host.check_output(f"systemd-run --unit spared {RUN} slow")
    wait_until(lambda: lines(host, "slow")[-1] == f"began in {old}", "the job did not start")
    go_live(host, "v2")
    pruned = host.ansible("carpentries.webapps.release", f"root={ROOT} state=pruned keep=0 keep_failed=0", become=True)
    assert not [step for step in pruned["steps"] if old in step]
    host.check_output("touch /run/webapps/amy.example.org/go")


def test_a_job_that_may_overlap_itself_does(host: Host) -> None:
    host.check_output(f"{RUN} many & {RUN} many; wait")
    assert [line.split(" after")[0] for line in lines(host, "many")] == [
        f"INFO starts in release {staged('v2')}",
        f"INFO starts in release {staged('v2')}",
        "INFO ended",
        "INFO ended",
    ]


def test_a_failure_is_logged_with_its_traceback_as_one_event(host: Host) -> None:
    assert host.run(f"{RUN} crash").rc == 1
    text = host.check_output(f"cat {LOG}")
    events = re.split(rf"^(?={STAMP.pattern})", text, flags=re.MULTILINE)
    (traceback,) = [event for event in events if "Traceback" in event]
    assert traceback.rstrip().endswith("ValueError: boom")
    assert lines(host, "crash")[-1].startswith("ERROR ended with exit status 1 after ")


def test_a_job_runs_as_the_user_it_names_and_others_as_the_applications(host: Host) -> None:
    for job in ("fleet", "whoami"):
        assert host.run(f"{RUN} {job}").rc == 0
    assert "nobody" in lines(host, "fleet")
    assert "amy" in lines(host, "whoami")


def test_the_log_is_for_the_applications_group_and_the_jobs_for_root(host: Host) -> None:
    log = host.file(LOG)
    assert (log.user, log.group, log.mode) == ("root", "amy", 0o640)
    assert host.file("/etc/webapps/cron-amy.example.org.json").mode == 0o600


def test_the_log_may_be_rotated_by_renaming_at_any_time(host: Host) -> None:
    host.check_output(f"mv {LOG} {LOG}.1 && {RUN} many")
    assert [line.split(" after")[0] for line in lines(host, "many")][-1] == "INFO ended"
    again = host.file(LOG)
    assert (again.user, again.group, again.mode) == ("root", "amy", 0o640)


def test_one_host_of_the_fleet_has_the_jobs_that_run_once(host: Host) -> None:
    table = "/etc/cron.d/webapps-amy_example_org"
    assert " fleet\n" in host.file(table).content_string
    apply(cron_runs_once_per_fleet=False)
    assert " fleet\n" not in host.file(table).content_string
    assert " crash\n" in host.file(table).content_string


def test_a_job_that_is_no_longer_wanted_is_gone(host: Host) -> None:
    apply(cron_jobs=[{"name": "other", "schedule": "@daily", "command": "true"}])
    assert "version" not in host.file("/etc/cron.d/webapps-amy_example_org").content_string
    assert host.run(f"{RUN} version").rc != 0
    assert lines(host, "version")[-1].startswith("ERROR did not run: it is not among this host's jobs")
