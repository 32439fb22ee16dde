"""What each component writes arrives in its stream, through rotations, read by a user that can read nothing else.

Amazon's agent is not here: a stand-in is, see ../stand_in/README.md. The tests share one host and run in order.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from sandbox.scenario import wait_until

ROOT = "/webapps/amy.example.org"
LOGS = f"{ROOT}/logs"
GROUP = "/webapps/amy.example.org/test"
HOST = "webapps-cloudwatch-agent"
CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"
AS_AGENT = "runuser --user cwagent --"
JOURNAL = "journalctl --unit amazon-cloudwatch-agent --output cat"
CRON = "/usr/local/lib/webapps/cron-job /etc/webapps/cron-amy.example.org.json greet"


@dataclass(frozen=True)
class Component:
    """A stream, and the command by which the component logs a word (WORD)."""

    stream: str
    command: str


def order(fifo: str, text: str) -> str:
    """Have one of the scenario's programs log a text."""
    return f"printf '%s\\n' '{text}' | timeout 20 tee /run/writers/{fifo}"


# CloudWatch takes nothing that is older than two weeks.
NOW = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())


COMPONENTS = [
    Component("server", order("application", "server WORD")),
    Component("debug", order("application", "debug WORD")),
    Component("worker", order("application", "worker WORD")),
    Component("gunicorn", order("gunicorn", f"[{NOW} +0000] [7] [INFO] WORD")),
    Component("rqworker", order("rqworker", "09:00:00 default: WORD")),
    Component("rqscheduler", order("rqscheduler", f"{NOW} INFO WORD")),
    Component("cron", f"({CRON} > /dev/null 2>&1 &) && {order('cron', 'WORD')}"),
    Component("nginx_access", "curl --silent --header 'Host: amy.example.org' http://127.0.0.1/WORD"),
    # No gunicorn answers here.
    Component("nginx_error", "curl --silent --header 'Host: amy.example.org' http://127.0.0.1/WORD"),
    Component("pg_backup", f'echo "$(date +%Y-%m-%dT%H:%M:%S%z) WORD" >> {LOGS}/pg_backup.log'),
    Component("certbot", "certbot delete --cert-name WORD --non-interactive || true"),
    Component("redis", "redis-cli save"),
    Component("supervisor", "supervisorctl stop gunicorn && supervisorctl start gunicorn"),
]


def aws(host: Host, call: str, **arguments: object) -> dict[str, Any]:
    """The answer of CloudWatch Logs."""
    program = f"""
import boto3, json, sys
client = boto3.client("logs", endpoint_url="http://127.0.0.1:5000", region_name="eu-west-1",
                      aws_access_key_id="testing", aws_secret_access_key="testing")
print(json.dumps(client.{call}(**json.loads(sys.argv[1]))))
"""
    python = "/opt/sandbox/aws/venv/bin/python"
    found: dict[str, Any] = json.loads(host.check_output(f"{python} -c '{program}' '{json.dumps(arguments)}'"))
    return found


def events(host: Host, stream: str) -> list[dict[str, Any]]:
    if not aws(host, "describe_log_groups", logGroupNamePrefix=GROUP)["logGroups"]:
        return []
    streams = aws(host, "describe_log_streams", logGroupName=GROUP)["logStreams"]
    if f"{HOST}/{stream}" not in [found["logStreamName"] for found in streams]:
        return []
    names = {"logGroupName": GROUP, "logStreamName": f"{HOST}/{stream}", "startFromHead": True}
    found: list[dict[str, Any]] = aws(host, "get_log_events", **names)["events"]
    return found


def arrived(host: Host, stream: str, word: str) -> list[dict[str, Any]]:
    return [event for event in events(host, stream) if word in event["message"]]


def said(component: Component, word: str) -> str:
    """What stands in the component's log after its command; these two log words of their own."""
    return {"supervisor": "spawned: 'gunicorn'", "redis": "DB saved on disk"}.get(component.stream, word)


def rotate(host: Host) -> None:
    """Rotate every log of the host, by logrotate and by the application's own timer."""
    for name in ("server", "debug", "worker"):
        for _line in range(3):
            host.check_output(order("application", f"{name} {'x' * 2000}"))
    wait_until(lambda: host.file(f"{LOGS}/worker.log").size > 6000, "the application does not log")
    host.check_output(f"find {LOGS} -name '*.log.1.gz' -exec touch --date '2 days ago' {{}} +")
    host.check_output("systemctl start webapps-logs-amy.example.org")
    host.check_output("logrotate --force /etc/logrotate.conf")


def apply(*options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    command = ["ansible-playbook", f"--inventory={inventory}", f"--extra-vars={json.dumps(variables)}", *options]
    # Failures are told on standard error.
    merged: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run([*command, str(CONVERGE)], **merged, check=False)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.stream)
def test_a_line_of_each_component_arrives_in_its_stream(host: Host, component: Component) -> None:
    word = f"before-{component.stream}"
    host.check_output(component.command.replace("WORD", word))
    wait_until(lambda: bool(arrived(host, component.stream, said(component, word))), host.check_output(JOURNAL), 30)


def test_all_logs_are_rotated(host: Host) -> None:
    rotate(host)
    left = host.check_output("find /var/log/redis /var/log/letsencrypt -name '*.1*'; ls " + LOGS)
    for name in ("server", "debug", "worker"):
        assert f"{name}.log.1.gz" in left
    for name in ("nginx_access", "nginx_error", "gunicorn_supervisor", "rqworker", "rqscheduler"):
        assert f"{name}.log.1\n" in left
    assert "redis-server.log.1" in left
    assert "letsencrypt.log.1" in left


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.stream)
def test_a_line_of_each_component_arrives_after_the_rotation(host: Host, component: Component) -> None:
    word = f"after-{component.stream}"
    before = len(arrived(host, component.stream, said(component, word)))
    host.check_output(component.command.replace("WORD", word))
    wait_until(
        lambda: len(arrived(host, component.stream, said(component, word))) > before, host.check_output(JOURNAL), 30
    )


def test_a_traceback_is_one_event(host: Host) -> None:
    host.check_output(order("application", "server traceback of a test"))
    wait_until(lambda: bool(arrived(host, "server", "traceback of a test")), "it did not arrive", 15)
    (event,) = arrived(host, "server", "traceback of a test")
    lines = event["message"].splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: boom"


def test_events_have_the_times_that_were_written_in_their_zone(host: Host) -> None:
    host.check_output(
        order("gunicorn", f"[{time.strftime('%Y-%m-%d', time.gmtime())} 00:00:01 +0000] [7] [INFO] early")
    )
    wait_until(lambda: bool(arrived(host, "gunicorn", "early")), "it did not arrive", 15)
    (event,) = arrived(host, "gunicorn", "early")
    assert event["timestamp"] % 86_400_000 == 1000
    (request,) = arrived(host, "nginx_access", "before-nginx_access")[:1]
    assert abs(request["timestamp"] / 1000 - time.time()) < 3600


def test_the_group_keeps_its_events_as_long_as_wanted(host: Host) -> None:
    (group,) = aws(host, "describe_log_groups", logGroupNamePrefix=GROUP)["logGroups"]
    assert group["retentionInDays"] == 90


def test_the_agent_runs_as_its_own_user_and_could_read_everything(host: Host) -> None:
    pid = host.check_output("systemctl show --value --property MainPID amazon-cloudwatch-agent")
    status = host.check_output(f"cat /proc/{pid}/status")
    cwagent = host.check_output("id --user cwagent")
    assert re.search(rf"^Uid:\s+{cwagent}\s+{cwagent}\s", status, re.MULTILINE)
    assert re.search(r"^Groups:\s*$", status, re.MULTILINE)
    assert "E!" not in host.check_output(JOURNAL)


@pytest.mark.parametrize(
    "path",
    ["environments/secret", "releases/secret", "DB_backups/secret", "logs/unlisted.log"],
)
def test_its_user_can_read_nothing_else_of_the_application(host: Host, path: str) -> None:
    mode = "0640" if path.startswith(("environments", "releases")) else "0600"
    host.check_output(f"install -o root -g amy -m {mode} /dev/null {ROOT}/{path}")
    assert host.run(f"{AS_AGENT} cat {ROOT}/{path}").rc != 0
    assert host.run(f"{AS_AGENT} touch {LOGS}/of-the-agent").rc != 0
    host.check_output(f"rm {ROOT}/{path}")


def test_its_user_cannot_read_the_logs_that_group_adm_reads(host: Host) -> None:
    host.check_output("install -o root -g adm -m 0640 /dev/null /var/log/auth.log")
    assert host.run(f"{AS_AGENT} cat /var/log/auth.log").rc != 0
    assert host.run(f"{AS_AGENT} ls /var/log/letsencrypt").rc != 0


def test_a_log_that_the_agent_could_not_read_fails_the_role(host: Host) -> None:
    # A file system without access control lists.
    done = apply(cloudwatch_agent_extra_logs=[{"name": "odd", "path": "/proc/1/environ"}])
    assert done.returncode != 0
    assert "The access control list of /proc/1 cannot be set" in " ".join(done.stdout.split())


def test_a_log_that_loses_the_agents_right_is_an_error_of_the_agent_and_the_role_gives_it_back(host: Host) -> None:
    host.check_output(f"mv {LOGS}/debug.log {LOGS}/debug.log.old && install -o amy -m 0600 /dev/null {LOGS}/debug.log")
    wait_until(lambda: "E! Unable to open file" in host.check_output(JOURNAL), "the agent did not say so", 15)
    done = apply()
    assert done.returncode == 0, done.stdout
    assert host.run(f"{AS_AGENT} head {LOGS}/debug.log").rc == 0


def test_a_second_run_restarts_nothing(host: Host) -> None:
    started = "systemctl show --value --property ExecMainStartTimestampMonotonic amazon-cloudwatch-agent"
    before = host.check_output(started)
    done = apply()
    assert "changed=0 " in done.stdout, done.stdout
    assert host.check_output(started) == before


def test_an_agent_that_was_given_something_else_gets_its_configuration_back(host: Host) -> None:
    host.check_output("echo '{\"agent\": {}}' > /root/other.json")
    control = "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
    host.check_output(f"{control} -a fetch-config -m onPremise -c file:/root/other.json")
    assert "changed=1 " in apply().stdout
    host.check_output(f"{control} -a stop")
    assert "changed=1 " in apply().stdout
    host.check_output(order("gunicorn", "09:00:00 once more"))
    wait_until(lambda: bool(arrived(host, "gunicorn", "once more")), "it did not arrive", 15)


def test_a_key_with_another_fingerprint_is_refused(host: Host) -> None:
    host.check_output("dpkg --purge amazon-cloudwatch-agent")
    done = apply(cloudwatch_agent_fingerprint="937616F3450B7D806CBD9725D58167303B789C72")
    assert done.returncode != 0
    assert "has the fingerprint" in " ".join(done.stdout.split())
    assert not host.package("amazon-cloudwatch-agent").is_installed


@pytest.mark.parametrize("how", ["a stranger's signature", "a changed package"])
def test_a_package_that_the_key_did_not_sign_is_refused(host: Host, how: str) -> None:
    served = "/opt/stand-in/served/ubuntu/$(dpkg --print-architecture)/1.999999.0b1/amazon-cloudwatch-agent.deb"
    stranger = f"gpg --batch --yes --local-user stranger --detach-sign --output {served}.sig {served}"
    host.check_output(stranger if how == "a stranger's signature" else f"printf x >> {served}")
    done = apply()
    source = "/opt/stand-in/amazon-cloudwatch-agent.deb"
    host.check_output(f"cp {source} {served} && cp {source}.sig {served}.sig")
    assert done.returncode != 0
    assert "is not what the key" in " ".join(done.stdout.split())
    assert not host.package("amazon-cloudwatch-agent").is_installed


def test_a_version_that_the_address_does_not_serve_is_refused(host: Host) -> None:
    done = apply(
        cloudwatch_agent_package="/opt/stand-in/amazon-cloudwatch-agent.deb", cloudwatch_agent_version="1.2.3b4"
    )
    assert done.returncode != 0
    assert "is amazon-cloudwatch-agent 1.999999.0b1-1, not" in " ".join(done.stdout.split())


def test_a_package_on_the_host_is_installed_without_a_server(host: Host) -> None:
    host.check_output("systemctl stop packages && gpg --armor --export stand-in > /root/key")
    done = apply(cloudwatch_agent_package="/opt/stand-in/amazon-cloudwatch-agent.deb", cloudwatch_agent_key="/root/key")
    host.check_output("systemctl start packages")
    assert done.returncode == 0, done.stdout
    assert host.package("amazon-cloudwatch-agent").version == "1.999999.0b1-1"
    assert host.service("amazon-cloudwatch-agent").is_running
    assert host.service("amazon-cloudwatch-agent").is_enabled
