"""The site for each switch of the role, read as nginx reads it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.nginx import statements

from tests.templates.render import render, value

TLS = {
    "webapps_tls_mode": "files",
    "nginx_tls_certificate": "/etc/ssl/chain.pem",
    "nginx_tls_certificate_key": "/etc/ssl/key.pem",
}
Server = dict[str, list[str]]


def servers(**given: Any) -> list[Server]:
    """Each server's own directives, without its locations': name to arguments."""
    found: list[Server] = []
    inside = False
    for depth, (name, *arguments) in statements(render("nginx", "site.conf.j2", **given)):
        if depth == 0:
            inside = name == "server"
            if inside:
                found.append({})
        elif inside and depth == 1:
            found[-1].setdefault(name, []).append(" ".join(arguments))
    return found


def locations(server: Server) -> list[str]:
    return server["location"]


def everything(**given: Any) -> str:
    return "\n".join(" ".join(words) for _depth, words in statements(render("nginx", "site.conf.j2", **given)))


def test_without_a_certificate_there_is_port_80_alone() -> None:
    default, site = servers()
    assert default["listen"] == ["80 default_server", "[::]:80 default_server"]
    assert site["listen"] == ["80", "[::]:80"]
    assert "ssl_" not in everything()


def test_with_a_certificate_port_80_only_redirects_checks_and_proves() -> None:
    default, plain, site = servers(**TLS)
    assert "443 ssl http2 default_server" in default["listen"]
    assert plain["listen"] == ["80", "[::]:80"]
    assert locations(plain) == ["= /alive/", "^~ /.well-known/acme-challenge/", "/"]
    assert site["listen"] == ["443 ssl http2", "[::]:443 ssl http2"]
    assert default["ssl_certificate"] == site["ssl_certificate"] == ["/etc/ssl/chain.pem"]


def test_a_certificate_of_certbots_is_opened_at_each_handshake_by_a_name_that_never_changes() -> None:
    default, plain, site = servers(webapps_tls_mode="certbot")
    variable = "$webapps_amy_example_org_bundle"
    for server in (default, site):
        assert server["ssl_certificate"] == server["ssl_certificate_key"] == [variable]
    assert "ssl_certificate" not in plain
    assert (
        "default /etc/webapps/certificates/amy.example.org.pem" in everything(webapps_tls_mode="certbot").splitlines()
    )


def test_challenges_go_to_the_host_that_asked_for_them() -> None:
    forwarded = everything(webapps_tls_mode="certbot", nginx_acme_upstream="10.0.1.11").splitlines()
    assert forwarded.count("proxy_pass http://10.0.1.11") == 2
    assert "root /var/www/acme" not in forwarded
    assert everything(webapps_tls_mode="certbot").splitlines().count("root /var/www/acme") == 2


def test_a_balancer_that_took_a_request_without_tls_has_it_sent_to_tls() -> None:
    proxies = {"nginx_trusted_proxies": ["10.0.0.0/16"]}
    redirect = "return 301 https://$host$request_uri"
    assert redirect in everything(webapps_tls_mode="elb", **proxies).splitlines()
    assert redirect not in everything(webapps_tls_mode="none", **proxies).splitlines()
    assert "ssl_" not in everything(webapps_tls_mode="elb", **proxies)


@pytest.mark.parametrize(
    ("said", "listen", "http2"),
    [
        ("nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.15", "443 ssl http2", []),
        ("nginx version: nginx/1.25.1\nbuilt with OpenSSL 3.0.15", "443 ssl", ["on"]),
        ("nginx version: nginx/1.26.3\nbuilt with OpenSSL 3.5.0", "443 ssl", ["on"]),
    ],
)
def test_http2_is_written_as_the_version_of_nginx_knows_it(said: str, listen: str, http2: list[str]) -> None:
    site = servers(__nginx_build={"stderr": said}, nginx_ipv6=False, **TLS)[-1]
    assert (site["listen"], site.get("http2", [])) == ([listen], http2)


@pytest.mark.parametrize(
    ("said", "curves"),
    [
        ("nginx/1.22.1 built with OpenSSL 3.0.15", "X25519:prime256v1:secp384r1"),
        ("nginx/1.26.3 built with OpenSSL 3.5.0", "X25519MLKEM768:X25519:prime256v1:secp384r1"),
        (
            "nginx/1.26.3 built with OpenSSL 3.0.1 (running with OpenSSL 3.5.1)",
            "X25519MLKEM768:X25519:prime256v1:secp384r1",
        ),
        ("nginx/1.26.3 built with OpenSSL 3.5.1 (running with OpenSSL 3.4.0)", "X25519:prime256v1:secp384r1"),
    ],
)
def test_key_exchange_is_what_the_tls_library_knows(said: str, curves: str) -> None:
    assert servers(__nginx_build={"stderr": said}, **TLS)[-1]["ssl_ecdh_curve"] == [curves]


def test_only_one_application_of_a_host_answers_for_unknown_names() -> None:
    assert "default_server" not in everything(nginx_default_server=False, **TLS)
    assert "421" not in everything(nginx_default_server=False)


def test_no_proxy_is_believed_unless_named() -> None:
    assert "set_real_ip_from" not in everything()
    trusting = everything(nginx_trusted_proxies=["10.0.0.0/16", "fd00::/8"])
    for line in ("set_real_ip_from 10.0.0.0/16", "set_real_ip_from fd00::/8", "10.0.0.0/16 1", "fd00::/8 1"):
        assert line in trusting.splitlines()


def test_the_client_is_named_by_nginx_and_never_by_the_client() -> None:
    for line in (
        "X-Forwarded-For $remote_addr",
        "X-Forwarded-Proto $webapps_amy_example_org_proto",
        "X-Forwarded-Host ",
    ):
        assert f"proxy_set_header {line}" in everything().splitlines()
    assert "$proxy_add_x_forwarded_for" not in everything()


@pytest.mark.parametrize("age", [0, 63072000])
def test_strict_transport_security_is_a_switch(age: int) -> None:
    lines = everything(nginx_hsts_max_age=age).splitlines()
    sent = lines.count("add_header Strict-Transport-Security $webapps_amy_example_org_hsts always")
    # The application's answers, static files and both pages: nginx drops inherited headers where there are own ones.
    assert sent == (4 if age else 0)


def test_media_are_served_where_they_are_named() -> None:
    assert "/media/" not in locations(servers()[-1])
    assert "/media/" in locations(servers(nginx_media="/srv/media")[-1])
    assert "alias /srv/media/" in everything(nginx_media="/srv/media").splitlines()


def test_maintenance_is_asked_for_everywhere_but_checks_challenges_and_pages() -> None:
    text = render("nginx", "site.conf.j2", nginx_media="/srv/media")
    bodies = {part.split(" {")[0]: part for part in text.split("    location ")[1:]}
    asked = {name for name, body in bodies.items() if "$webapps_maintenance" in body.split("\n    }")[0]}
    assert asked == {"/", "/static/", "/media/"}


def test_behind_the_page_are_the_host_itself_and_the_networks_named_by_their_real_address() -> None:
    lines = everything(nginx_maintenance_allowed_cidrs=["192.0.2.0/24"]).splitlines()
    begin = lines.index("geo $remote_addr $webapps_amy_example_org_invited")
    assert lines[begin + 1 : begin + 3] == ["default 0", "192.0.2.0/24 1"]
    admitted = lines.index("map $realip_remote_addr $remote_addr $webapps_amy_example_org_admitted")
    assert lines[admitted + 1 : admitted + 4] == [
        "default $webapps_amy_example_org_invited",
        "127.0.0.1 127.0.0.1 1",
        "::1 ::1 1",
    ]


def test_the_applications_own_errors_are_its_own() -> None:
    assert servers()[-1]["proxy_intercept_errors"] == ["off"]


def test_a_page_never_changes_the_status() -> None:
    pages = servers()[-1]["error_page"]
    assert pages == ["503 /maintenance_on.html", "502 504 /unavailable.html"]


def test_every_request_gets_its_own_connection_to_the_live_socket() -> None:
    lines = everything().splitlines()
    assert "server unix:/webapps/amy.example.org/live.sock" in lines
    assert lines.count("proxy_pass http://webapps_amy_example_org") == 3
    assert lines.count("proxy_set_header Connection close") == 3
    assert not [line for line in lines if line.startswith("keepalive ")]


@pytest.mark.parametrize(
    "switch", [TLS, {"nginx_default_server": False}, {"nginx_hsts_max_age": 1}, {"nginx_media": "/m"}]
)
@pytest.mark.parametrize("template", ["site.conf.j2", "http.conf.j2", "main.conf.j2"])
def test_braces_are_balanced_and_no_template_is_left(template: str, switch: dict[str, Any]) -> None:
    text = render("nginx", template, nginx_trusted_proxies=["10.0.0.0/8"], **switch)
    assert text.startswith("#\n# Ansible managed\n#\n")
    assert "{{" not in text
    assert "{%" not in text
    assert all(depth >= 0 for depth, _words in statements(text))
    assert text.count("{") == text.count("}")


def test_logs_are_opened_again_by_signal_never_by_reload() -> None:
    text = render("nginx", "logrotate.j2")
    assert "--signal=USR1" in text
    assert "reload" not in text.replace("Unlike a reload", "")
    assert text.splitlines()[3:5] == [
        "/webapps/amy.example.org/logs/nginx_access.log",
        "/webapps/amy.example.org/logs/nginx_error.log",
    ]


def test_a_site_has_a_file_of_its_own_and_names_of_its_own() -> None:
    files = value("nginx", "__nginx_files", webapps_domain="a-b.example.org")
    assert files[-1]["path"] == "/etc/nginx/sites-available/a-b.example.org.conf"
    assert value("nginx", "__nginx_id", webapps_domain="a-b.example.org") == "webapps_a_b_example_org"
