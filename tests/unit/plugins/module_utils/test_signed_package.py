"""What is not signed by the known key, or not what was asked for, is never installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import signed_package
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.signed_package import Wanted, same

FINGERPRINT = "937616F3450B7D806CBD9725D58167303B789C72"


class Host:
    """dpkg and apt in memory; gpg answers as it would."""

    def __init__(self, fingerprint: str = FINGERPRINT, signed: bool = True, version: str = "1.2.3b4-1") -> None:
        self.fingerprint = fingerprint
        self.signed = signed
        self.fields = {"Package": "agent", "Version": version, "Architecture": "amd64"}
        self.installed = ""
        self.calls: list[list[str]] = []

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        self.calls.append(list(command))
        if command[0] == "gpg":
            return self._gpg(command)
        if command[0] == "dpkg-query":
            return Finished(0, f"installed {self.installed}", "") if self.installed else Finished(1, "", "no packages")
        if command[0] == "dpkg-deb":
            return Finished(0, f"{self.fields[command[-1]]}\n", "")
        if command[0] == "apt-get":
            self.installed = self.fields["Version"]
        return Finished(0, "amd64\n", "")

    def _gpg(self, command: Sequence[str]) -> Finished:
        if "--import" in command:
            return Finished(0, f"[GNUPG:] IMPORT_OK 1 {self.fingerprint}\n", "")
        if not self.signed:
            return Finished(1, "[GNUPG:] BADSIG D58167303B789C72 Amazon\n", "gpg: BAD signature")
        valid = f"[GNUPG:] VALIDSIG {self.fingerprint} 2026-07-22 0 4 0 1 8 00 {self.fingerprint}\n"
        return Finished(0, f"[GNUPG:] GOODSIG D58167303B789C72 Amazon\n{valid}", "")


def wanted(**changed: str) -> Wanted:
    values = {"name": "agent", "version": "1.2.3b4", "source": "/a.deb", "signature": "/a.deb.sig", "key": "/key"}
    return Wanted(**{**values, "fingerprint": FINGERPRINT, **changed})


def install(host: Host, tmp_path: Path, **changed: str) -> None:
    signed_package.install(host, lambda _source, path: path.write_bytes(b"x"), wanted(**changed), tmp_path)


def test_a_signed_package_is_installed(tmp_path: Path) -> None:
    host = Host()
    install(host, tmp_path)
    assert signed_package.installed(host, "agent") == "1.2.3b4-1"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (Host(fingerprint="0" * 40), f"has the fingerprint {'0' * 40}, not {FINGERPRINT}"),
        (Host(signed=False), "is not what the key .* signed .*BAD signature"),
        (Host(version="1.2.4b1-1"), "is agent 1.2.4b1-1, not agent 1.2.3b4"),
    ],
)
def test_anything_else_is_refused(host: Host, expected: str, tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match=expected):
        install(host, tmp_path)
    assert "apt-get" not in [call[0] for call in host.calls]


def test_a_package_for_other_processors_is_refused(tmp_path: Path) -> None:
    host = Host()
    host.fields["Architecture"] = "arm64"
    with pytest.raises(WebappsError, match="is for arm64, and this host is amd64"):
        install(host, tmp_path)


@pytest.mark.parametrize(
    ("version", "package_version", "expected"),
    [("1.2-3", "1.2-3", True), ("1.2", "1.2-3", True), ("1.2", "1.20-3", False), ("1.2", "", False)],
)
def test_the_revision_of_the_packaging_need_not_be_named(version: str, package_version: str, expected: bool) -> None:
    assert same(version, package_version) is expected


def test_an_address_is_for_the_hosts_processors() -> None:
    assert signed_package.for_architecture(Host(), "https://x/{architecture}/a.deb") == "https://x/amd64/a.deb"


def test_a_fingerprint_is_all_of_its_digits() -> None:
    assert signed_package.fingerprint("9376 16F3 450B 7D80 6CBD  9725 D581 6730 3b78 9c72") == FINGERPRINT
    with pytest.raises(WebappsError, match="all of its 40"):
        signed_package.fingerprint("3B789C72")
