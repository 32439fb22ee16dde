"""What clients, the balancer and operators see of nginx."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from testinfra.host import Host

DOMAIN = "amy.example.org"
ROOT = f"/webapps/{DOMAIN}"
TLS = "--insecure --resolve secure.example.org:443:127.0.0.1 https://secure.example.org"
SITE = f"/etc/nginx/sites-available/{DOMAIN}.conf"
# The host itself gets the site during maintenance too.
ELSEWHERE = "--interface 127.0.0.3"
VALIDATE = "/usr/local/lib/webapps/nginx-validate"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


def ask(host: Host, target: str, options: str = "", name: str = DOMAIN) -> Answer:
    """curl's answer for a path, or for options that end in a URL."""
    url = target if "://" in target else f"http://127.0.0.1{target}"
    header = f"--header 'Host: {name}'" if "https://" not in target else ""
    result = host.run(f"curl --silent --show-error --include --max-time 20 {header} {options} {url}")
    assert result.rc == 0, f"{result.stderr}\n{host.run('journalctl --unit nginx').stdout}"
    head, _blank, body = result.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.split("\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    return Answer(int(status.split()[1]), {key.lower(): value for key, value in headers.items()}, body)


def workers(host: Host) -> str:
    return host.check_output("pgrep --full '^nginx: worker process$' | sort")


def go_live(host: Host, release: str, domain: str = DOMAIN) -> None:
    """Switch as a deploy does: a new link, renamed over the old one."""
    root = f"/webapps/{domain}"
    host.check_output(
        f"ln -s /run/webapps/{DOMAIN}/{release}.sock {root}/next.sock && mv -T {root}/next.sock {root}/live.sock"
    )


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def _live(host: Host) -> None:
    go_live(host, "one")
    go_live(host, "one", "secure.example.org")


@pytest.fixture
def maintenance(host: Host) -> Iterator[None]:
    host.check_output(f"echo '<h1>Back soon</h1>' > {ROOT}/maintenance_off.html")
    host.check_output(f"mv {ROOT}/maintenance_off.html {ROOT}/maintenance_on.html")
    yield
    host.check_output(f"mv {ROOT}/maintenance_on.html {ROOT}/maintenance_off.html")


def test_it_runs_now_and_after_a_reboot(host: Host) -> None:
    assert host.service("nginx").is_running, host.run("journalctl --unit nginx").stdout
    assert host.service("nginx").is_enabled


def test_requests_reach_the_live_release(host: Host) -> None:
    answer = ask(host, "/trainings/?page=2", "--data name=Ada")
    assert answer.status == 200
    seen = answer.json()
    assert (seen["release"], seen["method"], seen["path"], seen["body"]) == (
        "one",
        "POST",
        "/trainings/?page=2",
        "name=Ada",
    )
    assert (seen["version"], seen["headers"]["Connection"], seen["headers"]["Host"]) == ("HTTP/1.1", "close", DOMAIN)


def test_moving_the_link_switches_releases_without_a_reload(host: Host) -> None:
    before = workers(host)
    # One connection of the client, so no new one makes the difference.
    script = f"""
import http.client, os
connection = http.client.HTTPConnection("127.0.0.1")
for release in ["one", "two"] * 10:
    os.symlink(f"/run/webapps/{DOMAIN}/{{release}}.sock", "{ROOT}/next.sock")
    os.rename("{ROOT}/next.sock", "{ROOT}/live.sock")
    connection.request("GET", "/", headers={{"Host": "{DOMAIN}"}})
    response = connection.getresponse()
    response.read()
    print(response.status, response.getheader("X-Release"))
"""
    assert host.check_output(f"python3 - << 'END'\n{script}\nEND").splitlines() == ["200 one", "200 two"] * 10
    assert workers(host) == before


@pytest.mark.parametrize("name", ["203.0.113.9", "evil.example.net", "secure.example.org.evil.net"])
def test_a_host_nobody_knows_is_refused(host: Host, name: str) -> None:
    assert ask(host, "/", name=name).status == 421
    assert ask(host, "/", "--data x=1", name=name).status == 421


@pytest.mark.parametrize("name", ["10.0.1.11", DOMAIN])
def test_the_balancers_check_is_answered_for_any_host_and_not_logged(host: Host, name: str) -> None:
    logged = host.check_output(f"cat {ROOT}/logs/nginx_access.log /var/log/nginx/access.log | wc -l")
    answer = ask(host, "/alive/", name=name)
    assert answer.status == 200
    assert answer.json()["headers"]["Host"] == DOMAIN
    assert answer.json()["headers"]["X-Forwarded-Proto"] == "https"
    assert host.check_output(f"cat {ROOT}/logs/nginx_access.log /var/log/nginx/access.log | wc -l") == logged


def test_what_a_client_says_about_itself_is_not_believed(host: Host) -> None:
    spoof = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.net", "X-Real-IP: 6.6.6.6")
    seen = ask(host, "/", " ".join(f"--header '{line}'" for line in spoof)).json()["headers"]
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
    assert not {"X-Forwarded-Host", "X-Real-IP", "Forwarded"} & set(seen)


def test_what_the_balancer_says_about_a_client_is_believed(host: Host) -> None:
    told = "--interface 127.0.0.2 -H 'X-Forwarded-For: 6.6.6.6, 203.0.113.9' -H 'X-Forwarded-Proto: https'"
    seen = ask(host, "/", told).json()["headers"]
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("203.0.113.9", "https")


def test_what_the_balancer_took_without_tls_is_sent_to_tls(host: Host) -> None:
    moved = ask(host, "/trainings/?page=2", "--interface 127.0.0.2 -H 'X-Forwarded-Proto: http'")
    assert (moved.status, moved.headers["location"]) == (301, f"https://{DOMAIN}/trainings/?page=2")
    # A client cannot say so for itself.
    assert ask(host, "/", "-H 'X-Forwarded-Proto: http'").status == 200


@pytest.mark.parametrize("value", ["ftp", "https, http", ""])
def test_the_balancers_odd_protocols_are_not_passed_on(host: Host, value: str) -> None:
    seen = ask(host, "/", f"--interface 127.0.0.2 -H 'X-Forwarded-Proto: {value}'").json()["headers"]
    assert seen["X-Forwarded-Proto"] == "http"


def test_headers_as_large_as_a_balancer_lets_through_are_accepted(host: Host) -> None:
    assert ask(host, "/", "-H \"Cookie: $(head -c 15000 /dev/zero | tr '\\0' c)\"").status == 200


def test_a_body_beyond_the_limit_is_refused(host: Host) -> None:
    host.check_output("truncate --size 2M /tmp/large")
    assert ask(host, "/", "--data-binary @/tmp/large").status == 413


@pytest.mark.usefixtures("maintenance")
@pytest.mark.parametrize("path", ["/", "/trainings/?page=2", "/static/site.css", "/media/photo.jpg"])
@pytest.mark.parametrize("options", ["", "--data x=1", "--head"])
def test_during_maintenance_everything_gets_the_page(host: Host, path: str, options: str) -> None:
    answer = ask(host, path, f"{ELSEWHERE} {options}")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "300"
    assert answer.headers["cache-control"] == "no-store"
    assert ("Back soon" in answer.body) == (options != "--head")


@pytest.mark.usefixtures("maintenance")
def test_during_maintenance_the_balancer_and_challenges_get_their_answers(host: Host) -> None:
    host.check_output("mkdir -p /var/www/acme/.well-known/acme-challenge")
    host.check_output("echo proof > /var/www/acme/.well-known/acme-challenge/token")
    assert ask(host, "/.well-known/acme-challenge/token", ELSEWHERE).body == "proof\n"
    assert ask(host, "/alive/", ELSEWHERE, name="10.0.1.11").json()["release"] == "one"
    assert ask(host, "/alive/", ELSEWHERE).json()["release"] == "one"


def test_what_the_application_says_itself_passes_whatever_its_status(host: Host) -> None:
    answer = ask(host, "/status/503/")
    assert (answer.status, answer.json()["release"]) == (503, "one")
    assert "retry-after" not in answer.headers


@pytest.mark.usefixtures("maintenance")
def test_the_page_has_no_address_of_its_own(host: Host) -> None:
    assert ask(host, "/maintenance_on.html").status == 404


def test_maintenance_ends_with_the_rename(host: Host, maintenance: None) -> None:
    host.check_output(f"mv {ROOT}/maintenance_on.html {ROOT}/maintenance_off.html")
    assert ask(host, "/").status == 200
    host.check_output(f"mv {ROOT}/maintenance_off.html {ROOT}/maintenance_on.html")


@pytest.mark.parametrize("options", ["", "--data x=1", "--head"])
def test_an_application_that_is_down_gets_a_page_that_says_so(host: Host, options: str) -> None:
    go_live(host, "nobody")
    answer = ask(host, "/", options)
    assert answer.status == 502
    assert answer.headers["cache-control"] == "no-store"
    assert ("amy.example.org did not reply" in answer.body) == (options != "--head")
    assert ask(host, "/unavailable.html").status == 404


def test_hashed_assets_are_kept_others_asked_for_again_and_missing_ones_forgotten(host: Host) -> None:
    host.check_output(f"mkdir -p {ROOT}/static/css")
    for name in ("css/site.55e7cbb9ba48.css", "css/site.css"):
        host.check_output(f"echo 'a{{}}' > {ROOT}/static/{name}")
    hashed = ask(host, "/static/css/site.55e7cbb9ba48.css")
    assert (hashed.status, hashed.headers["content-type"]) == (200, "text/css")
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    again = ask(host, "/static/css/site.55e7cbb9ba48.css", f"-H 'If-None-Match: {hashed.headers['etag']}'")
    assert (again.status, again.headers["cache-control"]) == (304, hashed.headers["cache-control"])
    assert ask(host, "/static/css/site.css").headers["cache-control"] == "no-cache"
    missing = ask(host, "/static/css/site.ffffffffffff.css")
    assert (missing.status, missing.headers["cache-control"]) == (404, "no-store")


def test_media_are_served(host: Host) -> None:
    host.check_output(f"mkdir -p {ROOT}/media && echo picture > {ROOT}/media/photo.jpg")
    answer = ask(host, "/media/photo.jpg")
    assert (answer.status, answer.body, answer.headers["x-content-type-options"]) == (200, "picture\n", "nosniff")


def test_the_log_names_the_release_and_survives_rotation(host: Host) -> None:
    host.check_output("logrotate --force /etc/logrotate.d/webapps-amy.example.org-nginx")

    def lands() -> bool:
        ask(host, "/after-rotation/")
        return "/after-rotation/" in host.check_output(f"cat {ROOT}/logs/nginx_access.log")

    wait_until(lands, "nginx still writes to the renamed log")
    line = host.check_output(f"tail -n 1 {ROOT}/logs/nginx_access.log")
    assert "release=one" in line
    assert "request_time=" in line
    log = host.file(f"{ROOT}/logs/nginx_access.log")
    assert (log.user, log.group, log.mode) == ("www-data", "adm", 0o640)


def test_the_application_cannot_put_links_in_place_of_the_logs(host: Host) -> None:
    assert host.run(f"runuser -u amy -- ln -sf /etc/passwd {ROOT}/logs/nginx_error.log").rc != 0


def test_tls_is_modern_and_insisted_on(host: Host) -> None:
    answer = ask(host, f"{TLS}/")
    assert answer.status == 200
    assert answer.headers["strict-transport-security"] == "max-age=63072000"
    assert answer.json()["headers"]["X-Forwarded-Proto"] == "https"
    assert host.check_output(f"curl --silent --output /dev/null --write-out '%{{http_version}}' {TLS}/") == "2"
    assert host.run(f"curl --silent --tls-max 1.1 {TLS}/").rc == 35


def test_plain_requests_are_sent_to_tls_but_for_checks_and_challenges(host: Host) -> None:
    moved = ask(host, "/trainings/?page=2", name="www.secure.example.org")
    assert (moved.status, moved.headers["location"]) == (301, "https://www.secure.example.org/trainings/?page=2")
    assert ask(host, "/alive/", name="secure.example.org").status == 200
    assert ask(host, "/.well-known/acme-challenge/none", name="secure.example.org").status == 404


def test_a_broken_candidate_is_refused_in_nginxs_words(host: Host) -> None:
    host.check_output("echo 'server { listenn 80; }' > /tmp/candidate")
    before = host.check_output(f"sha256sum {SITE}")
    result = host.run(f"{VALIDATE} /tmp/candidate {SITE}")
    assert result.rc == 1
    assert re.search(rf'unknown directive "listenn" in /etc/nginx/sites-enabled/{DOMAIN}.conf:1', result.stderr)
    assert host.check_output(f"sha256sum {SITE}") == before


def test_a_reload_happens_only_when_files_changed_and_lets_requests_finish(host: Host) -> None:
    def module(check: bool) -> dict[str, Any]:
        result: dict[str, Any] = host.ansible("carpentries.webapps.nginx_reload", check=check)
        return result

    module(check=False)
    before = workers(host)
    assert not module(check=False)["changed"]
    assert workers(host) == before

    host.check_output(f"touch {SITE}")
    foreseen = module(check=True)
    assert (foreseen["changed"], foreseen["not_loaded"]) == (True, [f"/etc/nginx/sites-enabled/{DOMAIN}.conf"])
    assert workers(host) == before

    slow = f"curl --silent --max-time 20 --output /tmp/slow --write-out '%{{http_code}}' -H 'Host: {DOMAIN}'"
    host.check_output(f"({slow} http://127.0.0.1/slow/ > /tmp/slow.status 2>&1 &)")
    time.sleep(0.5)
    assert module(check=False)["changed"]
    assert not set(workers(host).split()) & set(before.split())
    wait_until(lambda: host.check_output("cat /tmp/slow.status") != "", "the request under way was not answered")
    assert host.check_output("cat /tmp/slow.status") == "200"
    assert not module(check=False)["changed"]


def test_a_removed_site_asks_for_a_reload_and_a_broken_one_fails_without_it(host: Host) -> None:
    host.check_output("echo 'server { listen 8081; }' > /etc/nginx/sites-enabled/other.conf")
    assert host.ansible("carpentries.webapps.nginx_reload", check=False)["changed"]
    host.check_output("rm /etc/nginx/sites-enabled/other.conf")
    assert host.ansible("carpentries.webapps.nginx_reload", check=False)["not_loaded"] == ["/etc/nginx/sites-enabled"]

    before = workers(host)
    host.check_output("echo 'server { listenn 8081; }' > /etc/nginx/sites-enabled/other.conf")
    try:
        refused = host.ansible("carpentries.webapps.nginx_reload", check=False)
    except host.ansible.AnsibleException as failure:
        refused = failure.result
    host.check_output("rm /etc/nginx/sites-enabled/other.conf")
    assert 'unknown directive "listenn"' in refused["nginx_test"]
    assert workers(host) == before
    host.ansible("carpentries.webapps.nginx_reload", check=False)


def test_debians_default_site_is_removed_and_an_edited_one_refused(host: Host) -> None:
    enabled, packaged = "/etc/nginx/sites-enabled/default", "/etc/nginx/sites-available/default"
    assert not host.file(enabled).exists
    host.check_output(f"cp -p {packaged} /root/default && ln -s {packaged} {enabled}")
    try:
        assert host.ansible("carpentries.webapps.nginx_default_site", check=True)["changed"]
        host.check_output(f"echo '# a shop' >> {packaged}")
        try:
            refused = host.ansible("carpentries.webapps.nginx_default_site", check=False)
        except host.ansible.AnsibleException as failure:
            refused = failure.result
        assert "is not as Debian's package has it" in refused["msg"]
        assert host.file(enabled).exists
    finally:
        host.check_output(f"mv /root/default {packaged}")
    assert host.ansible("carpentries.webapps.nginx_default_site", check=False)["changed"]
    assert not host.file(enabled).exists
