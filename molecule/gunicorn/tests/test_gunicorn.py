"""What visitors notice of a publish, and what a release meets that must not go live.

The tests share one host and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from testinfra.host import Host

from sandbox.scenario import DOMAIN, ROOT, Published, pids, publish, published, running, staged, wait_until

# A visitor who connects anew for each request, and one who stays connected, both until the file is gone.
VISITORS = f"""
import http.client, json, pathlib, threading, time

def visit(keep):
    connection = None
    while pathlib.Path("/tmp/visitors").exists():
        try:
            connection = connection if connection and keep else http.client.HTTPConnection("127.0.0.1", timeout=20)
            connection.request("GET", "/", headers={{"Host": "{DOMAIN}", "X-Forwarded-Proto": "https"}})
            response = connection.getresponse()
            response.read()
            seen.append(f"{{response.status}} {{response.getheader('X-Release')}}")
        except OSError as error:
            seen.append(repr(error))
            connection = None
        time.sleep(0.02)

seen = []
threads = [threading.Thread(target=visit, args=[keep]) for keep in (False, True)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
pathlib.Path("/tmp/visits.new").write_text(json.dumps(seen))
pathlib.Path("/tmp/visits.new").rename("/tmp/visits")
"""


@contextmanager
def visitors(host: Host) -> Iterator[Counter[str]]:
    """Two visitors; afterwards, how often they got which status from which release."""
    seen: Counter[str] = Counter()
    host.check_output(f"cat > /tmp/visitors.py << 'END'\n{VISITORS}\nEND")
    host.check_output("rm -f /tmp/visits && touch /tmp/visitors")
    host.check_output("(setsid python3 /tmp/visitors.py > /tmp/visitors.log 2>&1 < /dev/null &)")
    try:
        yield seen
    finally:
        host.check_output("rm /tmp/visitors")
        wait_until(lambda: host.file("/tmp/visits").exists, "the visitors did not come back")
        seen.update(json.loads(host.file("/tmp/visits").content_string))


def answering(host: Host) -> str:
    """The status and the release that answer through nginx."""
    answer = "'%{http_code} %header{x-release}'"
    url = f"--header 'Host: {DOMAIN}' http://127.0.0.1/"
    return str(host.run(f"curl --silent --max-time 20 --output /dev/null --write-out {answer} {url}").stdout)


def logged(text: str) -> str:
    """A text with the line breaks and indentation of Ansible's output taken out."""
    return " ".join(text.split())


def test_the_release_answers_through_nginx(host: Host) -> None:
    assert answering(host) == f"200 {staged('v1')}"
    assert host.file(f"{ROOT}/repo").linked_to == f"{ROOT}/releases/{staged('v1')}"


def test_it_runs_as_the_applications_user_from_the_release(host: Host) -> None:
    (row,) = running(host)
    assert (row["state"], row["proven"]) == ("RUNNING", True)
    assert row["running_from"] == [f"{ROOT}/releases/{staged('v1')}"]
    assert host.check_output(f"ps -o user= -p {pids(host)[0]}") == "amy"


def test_its_socket_is_for_nginx_and_not_for_others(host: Host) -> None:
    ask = f"curl --silent --max-time 5 --unix-socket {ROOT}/live.sock --header 'Host: {DOMAIN}' http://x/alive/"
    assert host.run(f"runuser -u www-data -- {ask}").stdout == "alive\n"
    assert host.run(f"runuser -u nobody -- {ask}").rc != 0


def test_check_mode_foresees_the_publish_and_does_nothing_of_it(host: Host) -> None:
    before, files = pids(host), host.check_output("ls /etc/supervisor/conf.d")
    foreseen = publish("v2", "--check", "--diff", "-v")
    assert (foreseen.code, foreseen.changed) == (0, True)
    assert f"Add the program gunicorn-{staged('v2')}-" in logged(foreseen.output)
    assert (pids(host), host.check_output("ls /etc/supervisor/conf.d")) == (before, files)
    assert answering(host) == f"200 {staged('v1')}"


def test_publishing_the_same_changes_and_restarts_nothing(host: Host) -> None:
    before = pids(host)
    assert not published("v1").changed
    assert pids(host) == before


def test_no_visitor_notices_that_a_release_replaces_another(host: Host) -> None:
    with visitors(host) as seen:
        assert published("v2").changed
    assert set(seen) == {f"200 {staged('v1')}", f"200 {staged('v2')}"}, seen
    (row,) = running(host)
    assert row["release"] == staged("v2")


def test_a_request_under_way_is_answered_by_the_release_that_began_it(host: Host) -> None:
    """Also, publishing an earlier release is going back to it."""
    slow = f"curl --silent --max-time 30 --header 'Host: {DOMAIN}' --output /dev/null"
    wanted = "--write-out '%{http_code} %header{x-release}' 'http://127.0.0.1/slow/?seconds=5'"
    host.check_output(f"(setsid {slow} {wanted} > /tmp/slow 2>&1 < /dev/null &)")
    published("v1")
    wait_until(lambda: host.file("/tmp/slow").content_string != "", "the slow request was not answered")
    assert host.file("/tmp/slow").content_string == f"200 {staged('v2')}"
    assert answering(host) == f"200 {staged('v1')}"


def refused(host: Host, version: str, **variables: object) -> Published:
    """Publish a release that does not work, under load: the old one must go on as if nothing had happened."""
    before, files = pids(host), host.check_output("ls /etc/supervisor/conf.d")
    with visitors(host) as seen:
        result = publish(version, **variables)
    assert result.code != 0, result.output
    assert set(seen) == {f"200 {staged('v1')}"}, seen
    assert (pids(host), host.check_output("ls /etc/supervisor/conf.d")) == (before, files)
    assert host.file(f"{ROOT}/repo").linked_to == f"{ROOT}/releases/{staged('v1')}"
    return result


def test_a_release_that_does_not_import_is_refused_with_its_traceback(host: Host) -> None:
    said = logged(refused(host, "v2", gunicorn_app="sandboxapp.telemetry:application").output)
    assert f"Release {staged('v2')} was not published on this host" in said
    assert "No module named 'sandboxapp.telemetry'" in said.replace("''", "'")
    assert "was not touched and goes on" in said


def test_a_release_that_answers_500_is_refused_with_its_answer_and_log(host: Host) -> None:
    said = logged(refused(host, "v5-error-500", gunicorn_health_timeout=20).output)
    assert f"Release {staged('v5-error-500')} was not published on this host" in said
    assert re.search(r"Probe: .*500", said)
    assert "RuntimeError: quota: no table of users" in said


def test_other_settings_are_another_generation(host: Host) -> None:
    with visitors(host) as seen:
        assert published("v1", gunicorn_workers=1).changed
    assert set(seen) == {f"200 {staged('v1')}"}, seen
    assert host.check_output(f"pgrep --count --parent {pids(host)[0]}") == "1"
    assert published("v1").changed


def test_where_requests_still_arrive_generations_overlap_whatever_was_asked_for(host: Host) -> None:
    with visitors(host) as seen:
        assert published("v1", gunicorn_workers=1, gunicorn_overlap=False, gunicorn_quiet=False).changed
    assert set(seen) == {f"200 {staged('v1')}"}, seen
    assert published("v1").changed


def test_without_overlap_the_old_generation_is_gone_before_the_new_one_starts(host: Host) -> None:
    assert published("v2", gunicorn_overlap=False).changed
    assert answering(host) == f"200 {staged('v2')}"
    assert len(running(host)) == 1


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        ({"gunicorn_stop_wait": 60}, "Set gunicorn_stop_wait above gunicorn_graceful_timeout"),
        ({"gunicorn_timeout": 61}, "Set gunicorn_graceful_timeout to gunicorn_timeout or more"),
    ],
)
def test_times_that_would_cut_requests_are_refused(variables: dict[str, int], remedy: str) -> None:
    result = publish("v2", **variables)
    assert result.code != 0
    assert remedy in logged(result.output)


def test_it_comes_back_when_supervisor_is_restarted(host: Host) -> None:
    before = pids(host)
    host.check_output("systemctl restart supervisor")
    wait_until(lambda: answering(host) == f"200 {staged('v2')}", "the release did not come back")
    assert not set(pids(host)) & set(before)
    wait_until(lambda: running(host)[0]["state"] == "RUNNING", "supervisor does not call it running")
    assert not published("v2").changed
