"""HAProxy's configuration as text, and what its admin socket answers."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.aws.haproxy_admin import HAProxyError, commands, parse_process_id, parse_stats
from sandbox.aws.haproxy_config import (
    FixedResponse,
    Forward,
    Group,
    HealthCheck,
    Listener,
    Paths,
    Redirect,
    Server,
    render,
    server_options,
    shape,
)
from sandbox.aws.health import Check, Order, Reason

PATHS = Paths(Path("/state/admin.sock"), Path("/state/servers.state"))
CHECK = HealthCheck("/alive/", "200-299", interval=5, timeout=2, healthy_threshold=2, unhealthy_threshold=3)
GROUP = Group("amy-sandbox.1a", CHECK, (Server("i-1_80", "10.77.1.11", 80), Server("i-2_80", "10.77.2.11", 80)))
HTTPS = Listener("amy-443", 443, Forward(GROUP.name), (Path("/state/a.pem"), Path("/state/b.pem")))
HTTP = Listener("amy-80", 80, Redirect(protocol="HTTPS", port="443"))


def rendered(*listeners: Listener, offset: int = 0) -> list[str]:
    return [line.strip() for line in render(PATHS, "0.0.0.0", offset, listeners, [GROUP]).splitlines()]


def test_a_listener_is_served_on_its_port_plus_the_offset() -> None:
    assert "bind 0.0.0.0:80" in rendered(HTTP)
    assert "bind 0.0.0.0:20080" in rendered(HTTP, offset=20000)


def test_an_https_listener_terminates_tls_with_its_certificates() -> None:
    assert "bind 0.0.0.0:443 ssl crt /state/a.pem crt /state/b.pem alpn h2,http/1.1" in rendered(HTTPS)


def test_the_target_is_told_of_the_client_the_scheme_and_the_port_of_aws() -> None:
    lines = rendered(HTTPS, offset=20000)
    assert "http-request set-header X-Forwarded-Proto https" in lines
    assert "http-request set-header X-Forwarded-Port 443" in lines
    assert any(line.startswith("http-request set-header X-Forwarded-For %[src] unless") for line in lines)


def test_a_failed_request_is_not_tried_elsewhere() -> None:
    assert "retries 0" in rendered(HTTPS)


def test_idle_connections_last_as_long_as_an_albs() -> None:
    lines = rendered(HTTPS)
    assert {"timeout client 60s", "timeout server 60s", "timeout http-keep-alive 60s"} <= set(lines)
    assert server_options(CHECK).endswith("pool-max-conn -1 pool-purge-delay 12s")


def test_targets_are_checked_as_their_group_says() -> None:
    lines = rendered(HTTPS)
    assert "default-server check inter 5s rise 2 fall 3 pool-max-conn -1 pool-purge-delay 12s" in lines
    assert "timeout check 2s" in lines
    assert "http-check expect status 200-299" in lines
    assert any("uri /alive/ " in line and "hdr Host %[bc_dst]" in line for line in lines)
    assert "server i-1_80 10.77.1.11:80" in lines


def test_a_health_check_may_have_a_port_of_its_own() -> None:
    assert " port 8081 " in server_options(replace(CHECK, port=8081))


@pytest.mark.parametrize(
    ("action", "lines"),
    [
        (
            Redirect(protocol="HTTPS", port="443"),
            [
                'http-request redirect code 301 location "https://%[req.hdr(host),field(1,:)]:443%[path]?%[query]"'
                " if { query -m len gt 0 }",
                'http-request redirect code 301 location "https://%[req.hdr(host),field(1,:)]:443%[path]"',
            ],
        ),
        (
            Redirect(302, "HTTP", "new.example.org", "80", "/gone", "from=old"),
            ['http-request redirect code 302 location "http://new.example.org:80/gone?from=old"'],
        ),
        (
            Redirect(host="new.example.org", query=""),
            ['http-request redirect code 301 location "http://new.example.org:80%[path]"'],
        ),
        (
            FixedResponse(503, "text/plain", 'say "later"'),
            ['http-request return status 503 content-type "text/plain" string "say \\"later\\""'],
        ),
    ],
)
def test_other_default_actions_answer_without_a_target(action: Redirect | FixedResponse, lines: list[str]) -> None:
    text = rendered(Listener("amy-80", 80, action))
    start = text.index("bind 0.0.0.0:80") + 1
    assert text[start : start + len(lines)] == lines


def test_the_shape_changes_with_listeners_and_checks_but_not_with_servers() -> None:
    same = shape(PATHS, "0.0.0.0", 0, [HTTPS], [GROUP])
    assert same == shape(PATHS, "0.0.0.0", 0, [HTTPS], [replace(GROUP, servers=())])
    assert same != shape(PATHS, "0.0.0.0", 0, [HTTPS, HTTP], [GROUP])
    assert same != shape(PATHS, "0.0.0.0", 0, [HTTPS], [replace(GROUP, check=replace(CHECK, interval=10))])


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_haproxy_accepts_the_configuration(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "admin.sock", tmp_path / "servers.state")
    listeners = [
        Listener("forward", 80, Forward(GROUP.name)),
        Listener("redirect", 81, Redirect(protocol="HTTPS", port="443")),
        Listener("fixed", 82, FixedResponse(418, body='a "b"')),
    ]
    file = tmp_path / "haproxy.cfg"
    file.write_text(render(paths, "127.0.0.1", 20000, listeners, [GROUP]))
    answer = subprocess.run(["haproxy", "-c", "-f", file], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


HEADER = "# pxname,svname,status,check_status,check_code,"


def stats(*rows: str) -> str:
    return "\n".join([HEADER, *rows, ""])


@pytest.mark.parametrize(
    ("status", "check_status", "code", "check"),
    [
        ("UP", "L7OK", "200", Check(up=True, passing=True)),
        ("UP", "* L7OK", "200", Check(up=True, passing=True)),
        ("UP 1/2", "L7STS", "503", Check(up=True, failure=Reason.RESPONSE_CODE_MISMATCH, detail="503")),
        ("DOWN", "L7STS", "503", Check(failure=Reason.RESPONSE_CODE_MISMATCH, detail="503")),
        ("DOWN", "* L7TOUT", "", Check(failure=Reason.TIMEOUT)),
        ("DOWN", "L4TOUT", "", Check(failure=Reason.TIMEOUT)),
        ("DOWN", "L4CON", "", Check(failure=Reason.FAILED_HEALTH_CHECKS)),
        ("DOWN", "L7RSP", "", Check(failure=Reason.FAILED_HEALTH_CHECKS)),
        ("DOWN 1/2", "L7OK", "200", Check(passing=True)),
        ("DOWN", "L7OK", "200", Check()),
        ("DOWN", "INI", "", Check()),
        ("MAINT", "", "", Check()),
        ("DRAIN", "L7OK", "200", Check()),
    ],
)
def test_the_status_of_a_server_is_understood(status: str, check_status: str, code: str, check: Check) -> None:
    parsed = parse_stats(stats(f"group,i-1_80,{status},{check_status},{code},"))
    assert parsed.checks == {("group", "i-1_80"): check}


def test_frontends_and_backends_are_told_from_servers() -> None:
    parsed = parse_stats(stats("amy-443,FRONTEND,OPEN,,,", "group,i-1_80,UP,L7OK,200,", "group,BACKEND,UP,,,"))
    assert parsed.backends == {"group"}
    assert list(parsed.checks) == [("group", "i-1_80")]


def test_a_haproxy_with_nothing_to_do_has_empty_stats() -> None:
    assert parse_stats(stats()).checks == {}


def test_an_answer_that_is_no_stats_is_refused() -> None:
    with pytest.raises(HAProxyError, match="Unknown command"):
        parse_stats("Unknown command: 'show stat'")


def test_the_process_id_is_found() -> None:
    assert parse_process_id("Name: HAProxy\nPid: 4711\nUptime: 0d") == 4711
    with pytest.raises(HAProxyError, match="no line `Pid:`"):
        parse_process_id("Permission denied")


def test_a_server_is_marked_down_before_it_may_get_requests() -> None:
    admitted = commands(Order.ADMIT, "group", "i-1_80")
    assert admitted.index("set server group/i-1_80 health down") < admitted.index("set server group/i-1_80 state ready")
    assert admitted[0] == "set server group/i-1_80 state drain", "maintenance is left for no traffic"


def test_ejecting_a_server_cuts_what_it_still_does() -> None:
    assert commands(Order.EJECT, "group", "i-1_80")[-1] == "shutdown sessions server group/i-1_80"
