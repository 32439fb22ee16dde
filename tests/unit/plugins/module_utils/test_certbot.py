"""certbot is asked for a certificate only where it has none on these terms, and asked on exactly these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import certbot, certificates
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

WANTED = certbot.Wanted(
    names=("amy.example.org", "www.amy.example.org"),
    server="https://acme.example/dir",
    authenticator="webroot",
    webroot="/var/www/acme",
    key_type="ecdsa",
    reuse_key=True,
    profile="",
    email="",
)
# As certbot 2.1 writes it.
RENEWAL = """\
# renew_before_expiry = 30 days
version = 2.1.0
archive_dir = /etc/letsencrypt/archive/amy.example.org
cert = /etc/letsencrypt/live/amy.example.org/cert.pem

# Options used in the renewal process
[renewalparams]
account = 1f6a
key_type = ecdsa
server = https://acme.example/dir
authenticator = webroot
webroot_path = /var/www/acme,
reuse_key = True
[[webroot_map]]
amy.example.org = /var/www/acme
www.amy.example.org = /var/www/acme
"""


class Host:
    """Answers as certbot and OpenSSL do, and notes what certbot was called with."""

    def __init__(self, version: str = "2.1.0", status: int = 0) -> None:
        self.version, self.status = version, status
        self.calls: list[list[str]] = []
        self.environment: Mapping[str, str] = {}

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        if command[:2] == ["certbot", "--version"]:
            return Finished(0, f"certbot {self.version}\n", "")
        self.calls.append(list(command))
        self.environment = environment or {}
        return Finished(self.status, "", "Some challenges have failed." if self.status else "")


def test_what_is_there_on_the_same_terms_is_left_alone() -> None:
    assert certbot.differences(WANTED, certbot.terms(RENEWAL), WANTED.names) == []
    # The order in which a certificate names hosts means nothing.
    assert certbot.differences(WANTED, certbot.terms(RENEWAL), WANTED.names[::-1]) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"names": ("amy.example.org",)}, "names: amy.example.org www.amy.example.org -> amy.example.org"),
        ({"server": "https://other/dir"}, "server: https://acme.example/dir -> https://other/dir"),
        ({"authenticator": "dns-route53"}, "authenticator: webroot -> dns-route53"),
        ({"webroot": "/srv"}, "webroot: /var/www/acme -> /srv"),
        ({"key_type": "rsa"}, "key type: ecdsa -> rsa"),
        ({"reuse_key": False}, "reuse of the key: True -> False"),
        ({"profile": "tlsserver"}, "profile: none -> tlsserver"),
    ],
)
def test_other_terms_are_a_reason_that_people_can_read(changed: dict[str, object], reason: str) -> None:
    wanted = replace(WANTED, **changed)  # type: ignore[arg-type]
    assert certbot.differences(wanted, certbot.terms(RENEWAL), WANTED.names) == [reason]


def test_without_a_certificate_that_is_the_reason(tmp_path: Path) -> None:
    assert certbot.reasons(Host(), WANTED, tmp_path, lambda _issued: ["newer"]) == ["certbot has none"]


def test_a_newer_certificate_on_a_host_is_a_reason_as_none_takes_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"renewal/amy.example.org.conf": RENEWAL, "live/amy.example.org/fullchain.pem": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    mine = certificates.Certificate("f", WANTED.names, 1000.0, 2000.0, self_signed=False)
    monkeypatch.setattr(certificates, "read", lambda *_asked: mine)

    def newer(issued: float) -> list[str]:
        return [f"web-2 has one of after {issued:.0f}"]

    why = certbot.reasons(Host(), WANTED, tmp_path, newer)
    assert why == ["web-2 has one of after 1000"]
    assert "--force-renewal" in certbot.command(WANTED, why)
    assert certbot.reasons(Host(), WANTED, tmp_path, lambda _issued: []) == []


def test_certbot_is_called_with_nothing_to_ask_anybody() -> None:
    command = certbot.command(WANTED, ["certbot has none"])
    assert command[:3] == ["certbot", "certonly", "--non-interactive"]
    assert command[-4:] == ["--domain", "amy.example.org", "--domain", "www.amy.example.org"]
    for flag in ("--agree-tos", "--register-unsafely-without-email", "--webroot", "--reuse-key"):
        assert flag in command
    assert "--force-renewal" not in command


def test_other_terms_replace_the_certificate_and_another_type_its_key() -> None:
    assert "--force-renewal" in certbot.command(WANTED, ["names: a -> b"])
    assert "--new-key" not in certbot.command(WANTED, ["names: a -> b"])
    assert "--new-key" in certbot.command(WANTED, ["key type: ecdsa -> rsa"])


def test_dns_challenges_are_the_plugins() -> None:
    command = certbot.command(replace(WANTED, authenticator="dns-route53", email="a@b.c"), ["certbot has none"])
    assert "--dns-route53" in command
    assert "--webroot" not in command
    assert command[command.index("--email") + 1] == "a@b.c"


def test_the_bundle_for_the_acme_server_goes_into_the_environment() -> None:
    host = Host()
    certbot.obtain(host, WANTED, ["certbot has none"], {"REQUESTS_CA_BUNDLE": "/etc/ssl/acme.pem"})
    assert host.environment == {"REQUESTS_CA_BUNDLE": "/etc/ssl/acme.pem"}


@pytest.mark.parametrize(
    ("authenticator", "remedy"), [("webroot", "port 80 open to the world"), ("dns-route53", "policy in the README")]
)
def test_a_refusal_has_certbots_words_and_a_remedy(authenticator: str, remedy: str) -> None:
    with pytest.raises(WebappsError, match=f"(?s)Some challenges have failed.*{remedy}"):
        certbot.obtain(Host(status=1), replace(WANTED, authenticator=authenticator), ["certbot has none"], {})


def test_a_profile_that_certbot_does_not_know_is_refused_before_it_is_called() -> None:
    host = Host()
    with pytest.raises(WebappsError, match=r"takes certbot 4\.0, and this host has 2\.1"):
        certbot.obtain(host, replace(WANTED, profile="tlsserver"), ["certbot has none"], {})
    assert host.calls == []
    newer = Host(version="4.0.0")
    certbot.obtain(newer, replace(WANTED, profile="tlsserver"), ["certbot has none"], {})
    assert newer.calls[0][newer.calls[0].index("--preferred-profile") + 1] == "tlsserver"
