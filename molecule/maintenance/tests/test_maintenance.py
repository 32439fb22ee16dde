"""What users, the balancer and those who are let in get while the page is shown, and what the playbook says of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

# What one host shows; of the other the playbook tells.
testinfra_hosts = ["ansible://webapps-maintenance"]

DOMAIN = "amy.example.org"
ROOT = f"/webapps/{DOMAIN}"
PROJECT = Path(__file__).parent.parent.parent.parent
# Neither the host itself (127.0.0.1) nor the balancer.
USER = "--interface 127.0.0.3"
BALANCER = "--interface 127.0.0.9"

# Visitors until the file is gone: GET and POST, over one connection each and over a new one each time.
VISITORS = f"""
import http.client, json, pathlib, threading, time

def visit(keep, method):
    connection = None
    while pathlib.Path("/tmp/visitors").exists():
        try:
            if not (connection and keep):
                connection = http.client.HTTPConnection("127.0.0.1", timeout=20, source_address=("127.0.0.3", 0))
            began = time.time()
            body = b"x=1" if method == "POST" else None
            connection.request(method, "/trainings/", body, headers={{"Host": "{DOMAIN}"}})
            response = connection.getresponse()
            text = response.read().decode()
            page = "back soon" in text and text.rstrip().endswith("-->") and bool(response.getheader("Retry-After"))
            what = "page" if page else response.getheader("X-Release")
            seen.append([began, time.time(), f"{{response.status}} {{what}}"])
        except (OSError, http.client.HTTPException) as error:
            seen.append([began, time.time(), repr(error)])
            connection = None
        time.sleep(0.005)

seen = []
kinds = [(keep, method) for keep in (False, True) for method in ("GET", "POST")]
threads = [threading.Thread(target=visit, args=kind) for kind in kinds]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
pathlib.Path("/tmp/visits.new").write_text(json.dumps(seen))
pathlib.Path("/tmp/visits.new").rename("/tmp/visits")
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def ask(host: Host, path: str, options: str = USER, name: str = DOMAIN) -> Answer:
    url = f"http://127.0.0.1{path}"
    result = host.run(f"curl --silent --show-error --include --max-time 20 --header 'Host: {name}' {options} {url}")
    assert result.rc == 0, f"{result.stderr}\n{host.run('journalctl --unit nginx').stdout}"
    head, _blank, body = result.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.split("\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    return Answer(int(status.split()[1]), {key.lower(): value for key, value in headers.items()}, body)


@dataclass(frozen=True)
class Played:
    """One run of the playbook. ``said``: its output without line breaks and indentation."""

    code: int
    output: str

    @property
    def changed(self) -> bool:
        recap = self.output.partition("PLAY RECAP")[2]
        return any("changed=0 " not in line for line in recap.splitlines() if "changed=" in line)

    @property
    def said(self) -> str:
        return " ".join(self.output.split())


def play(*options: str, **variables: object) -> Played:
    """Run playbooks/maintenance.yml on both hosts."""
    command = [
        "ansible-playbook",
        f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
        "--extra-vars=@molecule/shared/vars.yml",
        "--extra-vars=@molecule/maintenance/vars.yml",
        f"--extra-vars={json.dumps(variables)}",
        *options,
        "playbooks/maintenance.yml",
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return Played(done.returncode, done.stdout + done.stderr)


def switched(state: str, *options: str, **variables: object) -> Played:
    played = play("--tags", state, *options, **variables)
    assert played.code == 0, played.output
    return played


def files(host: Host) -> list[str]:
    return str(host.check_output(f"cd {ROOT} && ls | grep maintenance || true")).split()


@pytest.fixture(scope="class")
def on() -> Iterator[None]:
    switched("on", maintenance_message="We move <to> a larger server.\n\nSee you.")
    yield
    switched("off")


def page(answer: Answer) -> bool:
    return "We will be back soon" in answer.body


def test_the_page_is_installed_and_not_shown(host: Host) -> None:
    assert files(host) == ["maintenance_off.html"]
    assert ask(host, "/").status == 200
    assert ask(host, "/maintenance_off.html").headers["x-release"] == "one"


PATHS = ["/", "/trainings/?page=2", "/static/site.css", "/media/photo.jpg", "/maintenance_off.html"]
ADMITTED = {
    "the office behind the balancer": (f"{BALANCER} -H 'X-Forwarded-For: 203.0.113.9'", 200),
    "the office, whatever it says before the balancer": (f"{BALANCER} -H 'X-Forwarded-For: 1.2.3.4, 203.0.113.9'", 200),
    "the host itself": ("", 200),
    "the host itself, whatever it says": ("-H 'X-Forwarded-For: 198.51.100.7'", 200),
    "a user behind the balancer": (f"{BALANCER} -H 'X-Forwarded-For: 198.51.100.7'", 503),
    "a user who claims the office": (f"{BALANCER} -H 'X-Forwarded-For: 203.0.113.9, 198.51.100.7'", 503),
    "a user who claims the host": (f"{BALANCER} -H 'X-Forwarded-For: 127.0.0.1, 198.51.100.7'", 503),
    "a user with an unbelieved header": (f"{USER} -H 'X-Forwarded-For: 203.0.113.9'", 503),
    "a user with other headers": (f"{USER} -H 'X-Real-IP: 203.0.113.9' -H 'Forwarded: for=203.0.113.9'", 503),
    "a trusted proxy that only claims the host": (f"{BALANCER} -H 'X-Forwarded-For: 127.0.0.1'", 503),
    "the balancer's own requests": (BALANCER, 503),
}


@pytest.mark.usefixtures("on")
class TestWhileOn:
    def test_every_path_and_method_gets_the_page(self, host: Host) -> None:
        for path in PATHS:
            for options in ("", "--data x=1", "--head", "--request DELETE", "--request PUT --data x=1"):
                answer = ask(host, path, f"{USER} {options}")
                assert answer.status == 503, (path, options)
                assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("300", "no-store")
                assert answer.headers["content-type"] == "text/html"
                assert page(answer) == (options != "--head"), (path, options)

    def test_the_page_says_what_was_given_and_no_more(self, host: Host) -> None:
        body = ask(host, "/").body
        assert "<p>We move &lt;to&gt; a larger server.</p>\n<p>See you.</p>" in body
        assert "We expect to be back" not in body
        assert not [word for word in ("src=", "href=", "url(", "@import", "http:", "https:") if word in body]
        assert 'name="viewport" content="width=device-width, initial-scale=1"' in body

    def test_nothing_of_it_is_reloaded_or_restarted(self, host: Host) -> None:
        before = host.check_output("pgrep --full '^nginx: worker process$' | sort")
        switched("off")
        switched("on")
        assert host.check_output("pgrep --full '^nginx: worker process$' | sort") == before

    def test_the_balancer_and_challenges_get_their_answers(self, host: Host) -> None:
        host.check_output("mkdir -p /var/www/acme/.well-known/acme-challenge")
        host.check_output("echo proof > /var/www/acme/.well-known/acme-challenge/token")
        assert ask(host, "/.well-known/acme-challenge/token").body == "proof\n"
        assert ask(host, "/alive/", f"{BALANCER} -H 'X-Forwarded-For: 198.51.100.7'").status == 200
        assert ask(host, "/alive/", name="10.0.1.11").headers["x-release"] == "one"

    def test_those_named_get_the_site_and_nobody_can_pretend(self, host: Host) -> None:
        got = {who: ask(host, "/", options).status for who, (options, _status) in ADMITTED.items()}
        assert got == {who: status for who, (_options, status) in ADMITTED.items()}


def test_while_on_the_page_needs_no_application(host: Host) -> None:
    host.check_output("systemctl stop backend")
    try:
        played = switched("on")
        assert "the balancer sees this host as unhealthy" in played.said
        for options in ("", "--data x=1"):
            assert page(ask(host, "/", f"{USER} {options}"))
        switched("off")
        answer = ask(host, "/")
        assert (answer.status, "did not reply" in answer.body) == (502, True)
    finally:
        host.check_output("systemctl start backend")


def test_without_a_tag_it_says_what_users_get_and_changes_nothing(host: Host) -> None:
    played = play()
    assert (played.code, played.changed) == (0, False)
    assert "webapps-maintenance-two off - 200 200" in played.said
    switched("on")
    played = play()
    assert (played.code, played.changed) == (0, False)
    assert "webapps-maintenance-two on operator the page, 503 200" in played.said
    assert "203.0.113.0/24 get the site nevertheless" in played.said
    assert files(host) == ["maintenance_on.html"]
    switched("off")


def test_switching_twice_changes_nothing_the_second_time(host: Host) -> None:
    end = "2026-03-01T14:30+01:00"
    assert switched("on", maintenance_expected_end=end).changed
    assert not switched("on", maintenance_expected_end=end).changed
    assert "Sunday, 1 March 2026, 14:30 UTC+01:00" in ask(host, "/").body
    assert switched("off").changed
    assert not switched("off").changed
    # The words of the last time do not come back.
    assert "March" not in host.file(f"{ROOT}/maintenance_off.html").content_string


def test_check_mode_tells_and_does_not(host: Host) -> None:
    before = host.check_output(f"stat -c '%n %i %y' {ROOT}/maintenance*")
    played = switched("on", "--check", "--diff")
    assert played.changed
    assert f"+{ROOT}/maintenance_on.html" in played.said
    assert host.check_output(f"stat -c '%n %i %y' {ROOT}/maintenance*") == before


@pytest.mark.parametrize(("active", "left"), [("true", "maintenance_on.html"), ("false", "maintenance_off.html")])
@pytest.mark.parametrize("damage", ["both", "neither"])
def test_both_files_or_neither_are_made_one(host: Host, active: str, left: str, damage: str) -> None:
    host.check_output(f"rm -f {ROOT}/maintenance*.html")
    if damage == "both":
        host.check_output(f"echo old > {ROOT}/maintenance_on.html; echo older > {ROOT}/maintenance_off.html")
    arguments = f"root={ROOT} active={active} content=new"
    assert host.ansible("carpentries.webapps.maintenance_page", arguments, check=False, become=True)["changed"]
    assert files(host) == [left]
    page = host.file(f"{ROOT}/{left}")
    assert (page.content_string, page.mode) == ("new\n<!-- shown by: operator -->\n", 0o644)
    switched("off")


def test_words_that_would_mislead_are_refused(host: Host) -> None:
    played = play("--tags", "on", maintenance_expected_end="tomorrow")
    assert played.code != 0
    assert "give date, time and time zone, for example" in played.said
    assert files(host) == ["maintenance_off.html"]


def test_a_host_whose_nginx_shows_no_page_fails_with_what_it_answered(host: Host) -> None:
    site = f"/etc/nginx/sites-available/{DOMAIN}.conf"
    host.check_output(f"cp -p {site} /tmp/site && sed -i 's/maintenance_on.html) {{/nowhere) {{/' {site}")
    host.check_output("systemctl reload nginx && sleep 1")
    try:
        played = play("--tags", "on", maintenance_proof_timeout=1)
        assert played.code != 0
        assert "Users should get the page with status 503, but: GET http://127.0.0.1:80/" in played.said
    finally:
        host.check_output(f"cp -p /tmp/site {site} && systemctl reload nginx && sleep 1")
        switched("off")


@dataclass(frozen=True)
class Visits:
    seen: list[tuple[float, float, str]]

    def within(self, begin: float, end: float) -> set[str]:
        """What came of requests that began and ended between two times."""
        return {what for began, ended, what in self.seen if begin <= began and ended <= end}

    def touching(self, begin: float, end: float) -> list[str]:
        return [what for began, ended, what in self.seen if began <= end and ended >= begin]


@contextmanager
def visitors(host: Host) -> Iterator[list[Any]]:
    seen: list[Any] = []
    host.check_output(f"cat > /tmp/visitors.py << 'END'\n{VISITORS}\nEND")
    host.check_output("rm -f /tmp/visits && touch /tmp/visitors")
    host.check_output("(setsid python3 /tmp/visitors.py > /tmp/visitors.log 2>&1 < /dev/null &)")
    try:
        time.sleep(0.5)
        yield seen
    finally:
        host.check_output("rm /tmp/visitors")
        deadline = time.monotonic() + 30
        while not host.file("/tmp/visits").exists:
            assert time.monotonic() < deadline, "the visitors did not come back"
            time.sleep(0.2)
        seen.extend(json.loads(host.file("/tmp/visits").content_string))


def test_under_load_every_request_gets_the_site_or_the_page(host: Host) -> None:
    with visitors(host) as seen:
        switch_on = time.time()
        switched("on")
        proven_on = time.time()
        # Other words while it is on: whoever asks gets the old page or the new one, never half of one.
        switched("on", maintenance_message="It takes longer.")
        switch_off = time.time()
        switched("off")
        proven_off = time.time()
        time.sleep(0.5)
    visits = Visits([(began, ended, what) for began, ended, what in seen])
    assert {what for _began, _ended, what in visits.seen} == {"200 one", "503 page"}
    assert visits.within(0, switch_on) == {"200 one"}
    assert visits.within(proven_on, switch_off) == {"503 page"}
    assert visits.within(proven_off, time.time() + 60) == {"200 one"}
    assert len(visits.seen) > 500


def test_the_switch_waits_for_requests_that_the_application_has_got(host: Host) -> None:
    slow = f"curl --silent --max-time 20 --output /dev/null --write-out '%{{http_code}}' {USER} -H 'Host: {DOMAIN}'"
    host.check_output(f"(setsid {slow} http://127.0.0.1/slow/ > /tmp/slow 2>&1 < /dev/null &)")
    time.sleep(0.3)
    arguments = f"root={ROOT} domain={DOMAIN} health_path=/alive/ active=true drain_timeout=20"
    host.check_output(f"mv {ROOT}/maintenance_off.html {ROOT}/maintenance_on.html")
    result = host.ansible("carpentries.webapps.maintenance_info", arguments, check=False, become=True)
    assert (result["page"], result["under_way"]) == (True, 0)
    assert host.file("/tmp/slow").content_string == "200"
    switched("off")
