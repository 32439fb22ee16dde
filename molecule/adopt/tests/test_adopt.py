"""A server laid out by hand becomes a managed one while users keep clicking and jobs run.

The tests share one host and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from sandbox.fleet import Load
from sandbox.scenario import DOMAIN, ROOT, wait_until

PROJECT = Path(__file__).parent.parent.parent.parent
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
MACHINE = "webapps-adopt-visited"
OUT = PROJECT / "out" / "test" / "adopt"
# Requests a second: what the old server's three workers answer on a machine that runs other scenarios too.
RATE = 15
CANARY = "canary"
testinfra_hosts = [f"ansible://{MACHINE}"]
LONG_JOB_SECONDS = 40
FAR_AWAY_SECONDS, SOON_SECONDS = 86400, 60
# Where a run is killed: seconds after its task began. Each next run begins where that one left the host.
KILLS = {
    "import | Import what runs": 2.0,
    "retire | Let the programs of before": 3.0,
    "publish | Stop the old scheduler": 2.0,
    "reload | Load what nginx has not loaded": 0.5,
}
# A browser sends a request again whose connection, kept from an earlier one, was closed before an answer began.
SENT_AGAIN = ("Server disconnected without sending a response", "ReadError", "WriteError", "ConnectionResetError")


def inventory() -> Path:
    """What an administrator of the other server would write: the same, with this machine in all groups."""
    variables = yaml.safe_load((PROJECT / "molecule/adopt/inventory/group_vars/all/main.yml").read_text())
    connection = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
    groups = ("web", "worker", "scheduler", "redis", "builder")
    described = {
        "all": {
            "hosts": {MACHINE: connection},
            "vars": variables,
            "children": {group: {"hosts": {MACHINE: {}}} for group in groups},
        }
    }
    path = EPHEMERAL / "visited.yml"
    path.write_text(yaml.safe_dump(described))
    return path


def command(playbook: str, *options: str, **variables: object) -> list[str]:
    return [
        "ansible-playbook",
        f"--inventory={inventory()}",
        f"--extra-vars={json.dumps(variables)}",
        *options,
        str(PROJECT / playbook),
    ]


def play(playbook: str, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(playbook, *options, **variables),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
    )
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "playbooks.log").open("a") as log:
        log.write(done.stdout + done.stderr)
    return done


def played(playbook: str, *options: str, **variables: object) -> str:
    done = play(playbook, *options, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kill_at(host: Host, task: str, seconds: float) -> None:
    """Adopt, and end the run without warning a moment after a task began, on the controller and on the host."""
    with subprocess.Popen(
        command("playbooks/adopt.yml"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        lines = []
        for line in run.stdout:
            lines.append(line)
            if line.startswith("TASK") and task in line:
                time.sleep(seconds)
                os.killpg(run.pid, signal.SIGKILL)
                host.run("pkill -KILL -f AnsiballZ_")
                return
    raise AssertionError(f"the run ended before {task}:\n{''.join(lines)}")


def address(host: Host) -> str:
    return str(host.check_output("hostname --ip-address")).split()[0]


@contextmanager
def users(host: Host, name: str) -> Iterator[Load]:
    out = OUT / name
    out.mkdir(parents=True, exist_ok=True)
    arguments = [
        *["--url", f"https://{DOMAIN}", "--connect", f"{address(host)}:443", "--ca", str(EPHEMERAL / f"{MACHINE}.pem")],
        *["--rate", str(RATE), "--out", str(out)],
    ]
    with (out / "load.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.load", *arguments], cwd=PROJECT, stdout=log, stderr=log
        )
        running = Load(out, process)
        try:
            running.await_start()
            time.sleep(5)
            yield running
            time.sleep(5)
        finally:
            running.stop()


def requests(load: Load) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (load.out / "requests.jsonl").read_text().splitlines()]


def django(host: Host, program: str) -> str:
    """What a program prints that runs inside the application, whoever laid it out."""
    shell = ". .venv/bin/postactivate && exec .venv/bin/python manage.py shell --verbosity 0"
    return str(host.check_output(f"cd {ROOT}/repo/ && runuser -u amy -- sh -c '{shell}' << 'END'\n{program}\nEND"))


def job(host: Host, number: int) -> dict[str, Any]:
    program = f"""
import json
from notes.models import Job
job = Job.objects.get(pk={number})
print(json.dumps({{"state": job.state, "runs": job.runs}}))
"""
    found: dict[str, Any] = json.loads(django(host, program))
    return found


def enqueue(host: Host, seconds: float) -> int:
    program = f"""
from notes.jobs import enqueue
from notes.models import Job
job = Job.objects.create(seconds={seconds})
enqueue(job)
print(job.pk)
"""
    return int(django(host, program))


def schedule(host: Host, seconds: int) -> int:
    """Have a job run once, later."""
    program = f"""
import datetime, django_rq
from notes.jobs import run_job
from notes.models import Job
job = Job.objects.create(seconds=0)
django_rq.get_scheduler("default").enqueue_in(datetime.timedelta(seconds={seconds}), run_job, job.pk)
print(job.pk)
"""
    return int(django(host, program))


def scheduled(host: Host) -> list[int]:
    """The jobs that wait for their time, besides the periodic ones."""
    program = """
import django_rq
jobs = django_rq.get_scheduler("default").get_jobs()
print(*[job.args[0] for job in jobs if job.func_name == "notes.jobs.run_job"])
"""
    return [int(number) for number in django(host, program).split()]


def schedulers(host: Host) -> int:
    program = """
from django_rq import get_connection
from rq_scheduler import Scheduler
connection = get_connection("default")
keys = connection.scan_iter(Scheduler.redis_scheduler_namespace_prefix + "*")
print(sum(not connection.hexists(key, "death") for key in keys))
"""
    return int(django(host, program))


def files(host: Host) -> str:
    """Every file of the host that a person laid down or a role would write: owner, mode, target, size, last change."""
    places = f"{ROOT} /etc/nginx /etc/supervisor /etc/letsencrypt /etc/redis /etc/systemd/system"
    skipped = "-name logs -o -name __pycache__"
    shown = "-type d -printf '%p %u:%g %m\\n' -o -printf '%p %u:%g %m %l %s %C@\\n'"
    return str(host.check_output(f"find {places} \\( {skipped} \\) -prune -o {shown} | sort"))


def release(host: Host) -> str:
    return str(json.loads(host.check_output(f"cat {ROOT}/adopted/adoption.json"))["release"])


def answering(host: Host) -> str:
    ask = f"curl --silent --insecure --max-time 20 --output /dev/null --header 'Host: {DOMAIN}' https://127.0.0.1/"
    return str(host.check_output(f"{ask} --write-out '%{{http_code}} %header{{x-release}}'"))


def logged(text: str) -> str:
    return " ".join(text.split())


def test_it_is_a_server_that_knows_nothing_of_the_collection(host: Host) -> None:
    assert answering(host) == "200 unreleased"
    assert not host.file(f"{ROOT}/repo").is_symlink
    assert not host.file(f"{ROOT}/releases.json").exists


def test_check_mode_lists_what_is_found_and_what_would_be_done_and_does_nothing(host: Host) -> None:
    before = files(host)
    output = played("playbooks/adopt.yml", "--check", "--diff")
    said = logged(output)
    assert "The program gunicorn of supervisor runs gunicorn (RUNNING)." in said
    assert f"move {ROOT}/repo to {ROOT}/adopted/repo" in said
    assert "keep /etc/nginx/sites-enabled/amy" in said
    assert "SECRET_KEY" in said
    assert CANARY not in output
    assert "changed=0 " in output
    assert files(host) == before


def test_a_password_that_would_lock_the_programs_out_of_redis_is_refused(host: Host) -> None:
    refused = play("playbooks/adopt.yml", "--check", redis_password="letmein0123456789")
    assert refused.returncode != 0
    assert "redis_password would lock them out" in logged(refused.stdout + refused.stderr)
    assert "letmein0123456789" not in refused.stdout + refused.stderr
    played("playbooks/adopt.yml", "--check", redis_password="letmein0123456789", redis_without_password=True)


def test_an_unknown_layout_is_refused_whole_before_anything_changes(host: Host) -> None:
    conf = "/etc/supervisor/conf.d/flower.conf"
    host.check_output(f"printf '[program:flower]\\ncommand={ROOT}/repo/.venv/bin/flower\\nautostart=false\\n' > {conf}")
    host.check_output(
        f"systemd-run --unit=stray --uid=amy --working-directory={ROOT}/repo "
        f"{ROOT}/repo/.venv/bin/python -c 'import time; time.sleep(600)'"
    )
    before = files(host)
    done = play("playbooks/adopt.yml", gunicorn_app="amy.wsgi:application", nginx_tls_certificate="")
    host.check_output(f"systemctl stop stray; rm {conf}")
    assert done.returncode != 0
    # The message of a failure is on standard error.
    said = logged(done.stdout + done.stderr)
    assert "nothing was changed" in said
    assert f"the program flower runs `{ROOT}/repo/.venv/bin/flower`" in said
    assert "which supervisor did not start, runs from" in said
    assert "gunicorn serves sandboxapp.wsgi:application" in said
    assert "has the certificate /etc/letsencrypt/live" in said
    assert f"{ROOT}/repo/manage.py is there." in said
    assert CANARY not in done.stdout + done.stderr
    assert f"{conf} " in before
    assert files(host) == "\n".join(line for line in before.split("\n") if not line.startswith(f"{conf} "))


@pytest.fixture(scope="module")
def promised(host: Host) -> dict[str, int]:
    """Jobs that were given to the old server: one for a year's end, one for soon."""
    return {"far": schedule(host, FAR_AWAY_SECONDS), "soon": schedule(host, SOON_SECONDS)}


@pytest.fixture(scope="module")
def adopted(host: Host, promised: dict[str, int]) -> Load:
    """The adoption under load, killed again and again; the job under way is added to those promised."""
    with users(host, "adoption") as load, load.roll():
        for task, seconds in KILLS.items():
            if task.startswith("retire"):
                promised["long"] = enqueue(host, LONG_JOB_SECONDS)
                wait_until(lambda: job(host, promised["long"])["state"] == "started", "the long job did not start")
            kill_at(host, task, seconds)
        refused = play("playbooks/adopt.yml", adopt_health_expect="what nobody says", adopt_health_timeout=2)
        assert refused.returncode != 0
        assert answering(host) == "200 unreleased"
        output = played("playbooks/adopt.yml", "--diff", "-vvv")
    assert CANARY not in output
    return load


def test_no_request_fails_while_the_server_is_adopted_and_the_adoption_killed(adopted: Load) -> None:
    """Of all runs one did not see release 0 through nginx, and put the old virtual host back.

    Each reload of nginx closes connections that are kept and idle: those are told apart, and counted.
    """
    everything = requests(adopted)
    failed = [request for request in everything if request["error"]]
    cut = [
        request
        for request in failed
        if request["connection"] == "keep-alive" and any(words in request["error"] for words in SENT_AGAIN)
    ]
    assert [request for request in failed if request not in cut] == []
    # A few: there were up to four reloads, and a request meets one only if it is on its way at that moment.
    assert len(cut) <= 4, cut
    print(f"{len(everything)} requests, {len(failed)} failed, of which a browser sends {len(cut)} again")


def test_release_0_serves_and_is_a_release_like_any_other(host: Host, adopted: Load) -> None:
    assert answering(host) == f"200 {release(host)}"
    assert set(adopted.summary["releases"]) == {"unreleased", release(host)}
    assert host.file(f"{ROOT}/repo").linked_to == f"{ROOT}/releases/{release(host)}"
    (entry,) = json.loads(host.check_output(f"cat {ROOT}/releases.json"))["releases"].values()
    assert (entry["state"], entry["version"]) == ("live", "v1")


def test_it_runs_from_its_own_environment_and_nothing_else_runs(host: Host) -> None:
    status = host.run("supervisorctl status").stdout
    assert sorted(line.split()[0].split("-")[0] for line in status.splitlines()) == [
        "gunicorn",
        "other",
        "rqscheduler",
        "rqworker",
    ]
    own = f"{ROOT}/releases/{release(host)}"
    executable = f"{own}/.venv/bin/python -c 'import sys; print(sys.prefix)'"
    assert host.check_output(f"runuser -u amy -- {executable}") == f"{own}/.venv"
    assert host.run(f"grep -rIl '{ROOT}/repo/' {own}/.venv/bin --exclude=postactivate").stdout == ""
    # In brackets, so that it does not find the shell that asks.
    assert host.run(f"pgrep -f '{ROOT}/[r]epo/'").stdout == ""


def test_jobs_are_neither_lost_nor_doubled_and_there_is_one_scheduler(host: Host, promised: dict[str, int]) -> None:
    wait_until(lambda: job(host, promised["long"])["state"] == "finished", "the long job did not finish")
    wait_until(lambda: job(host, promised["soon"])["state"] == "finished", "the scheduled job did not run", patience=90)
    assert job(host, promised["long"])["runs"] == 1
    assert job(host, promised["soon"])["runs"] == 1
    assert scheduled(host) == [promised["far"]]
    wait_until(lambda: schedulers(host) == 1, "there is not one scheduler")


def test_nothing_that_was_there_is_gone(host: Host) -> None:
    for path in (
        f"{ROOT}/DB_backups/amy-2025-12-24.dump",
        f"{ROOT}/logs/gunicorn.log.1",
        f"{ROOT}/adopted/repo/manage.py",
        f"{ROOT}/adopted/repo/.git/HEAD",
        f"{ROOT}/adopted/supervisor/gunicorn.conf",
        f"{ROOT}/adopted/nginx/sites-enabled/amy",
        "/etc/nginx/sites-available/amy",
        f"/etc/letsencrypt/live/{DOMAIN}/privkey.pem",
        f"/etc/letsencrypt/renewal/{DOMAIN}.conf",
    ):
        assert host.file(path).exists, path
    owners = {
        each["path"]: each["owner"] for each in json.loads(host.check_output(f"cat {ROOT}/adopted/directories.json"))
    }
    assert owners[f"{ROOT}/DB_backups"] == "amy"


def test_the_other_application_was_left_alone(host: Host) -> None:
    assert "RUNNING" in host.run("supervisorctl status other").stdout
    # It was not restarted: the record of the adoption is younger than its process.
    adopted_for = host.check_output(f"echo $(($(date +%s) - $(stat -c %Y {ROOT}/adopted/directories.json)))")
    assert int(host.check_output("ps -o etimes= -p $(supervisorctl pid other)")) > int(adopted_for)
    ask = "curl --silent --output /dev/null --write-out '%{http_code}' --header 'Host: other.example.org'"
    assert host.check_output(f"{ask} http://127.0.0.1/") == "200"


def test_secrets_are_in_no_file_that_all_can_read(host: Host) -> None:
    found = host.run(f"find {ROOT} /etc/supervisor /etc/nginx -type f -perm -o=r -exec grep -l {CANARY} {{}} +").stdout
    assert [path for path in found.split() if not path.startswith(f"{ROOT}/adopted/repo/")] == []


def test_static_files_are_there_and_the_release_is_closed_again(host: Host) -> None:
    name = host.check_output(f"cd {ROOT}/static && ls notes/site.*.css | head -1")
    ask = f"curl --silent --insecure --output /dev/null --write-out '%{{http_code}}' --header 'Host: {DOMAIN}'"
    assert host.check_output(f"{ask} https://127.0.0.1/static/{name}") == "200"
    assert host.run(f"runuser -u nobody -- ls {ROOT}/releases/{release(host)}").rc != 0


def test_adopting_again_changes_nothing(host: Host) -> None:
    before = files(host)
    assert "changed=0 " in played("playbooks/adopt.yml")
    assert files(host) == before


@pytest.fixture(scope="module")
def deployed(host: Host, adopted: Load) -> Load:
    assert adopted.summary["requests"] > 0
    with users(host, "deploy") as load, load.roll():
        played("playbooks/deploy.yml", deploy_version="v2")
    return load


def test_a_plain_deploy_follows_without_one_failed_request(host: Host, deployed: Load) -> None:
    assert deployed.summary["failures"] == []
    assert len(deployed.summary["releases"]) == 2
    assert answering(host) != f"200 {release(host)}"


def test_release_0_is_a_place_to_go_back_to(host: Host, deployed: Load) -> None:
    assert deployed.summary["requests"] > 0
    ledger = json.loads(host.check_output(f"cat {ROOT}/releases.json"))["releases"]
    assert ledger[release(host)]["state"] == "good"
    with users(host, "back") as load:
        played("molecule/adopt/publish.yml", wanted_release=release(host))
    assert load.summary["failures"] == []
    assert answering(host) == f"200 {release(host)}"
    number = enqueue(host, 0)
    wait_until(lambda: job(host, number) == {"state": "finished", "runs": 1}, "no worker took the job")
