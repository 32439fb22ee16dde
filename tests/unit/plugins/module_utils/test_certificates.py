"""What is put in place for nginx is a pair that works, whoever sends it; real OpenSSL makes and judges it."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import certificate_receive, certificate_sync
from ansible_collections.carpentries.webapps.plugins.module_utils.certificates import (
    Place,
    current,
    install,
    make_placeholder,
    placeholder_missing,
    read,
    take_over,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, run_here
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

NAMES = ("amy.example.org", "www.amy.example.org")
DAY = 86400.0
# Whatever a test issues is older.
NOW = time.time() + 3600
# Makes a bundle: the names it is for.
Issue = Callable[..., bytes]


def run(
    command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finished:
    """Everything but nginx is real, which only hosts have."""
    if command[0] == "/usr/sbin/nginx":
        return Finished(0, "", "")
    return run_here(command, directory=directory, environment=environment)


def openssl(*arguments: object) -> None:
    done = run_here(["openssl", *map(str, arguments)])
    assert done.status == 0, done.errors


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("authority")
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 30),
        *("-subj", "/CN=authority", "-keyout", directory / "ca.key", "-out", directory / "ca.pem"),
    )
    return directory


@pytest.fixture
def issue(authority: Path, tmp_path: Path) -> Issue:
    def issue(*names: str, days: int = 10, part: str = "all") -> bytes:
        key, request, certificate = tmp_path / "key", tmp_path / "request", tmp_path / "certificate"
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names or NAMES)),
            *("-keyout", key, "-out", request),
        )
        openssl(
            *("x509", "-req", "-in", request, "-CA", authority / "ca.pem", "-CAkey", authority / "ca.key"),
            *("-CAcreateserial", "-days", days, "-copy_extensions", "copy", "-out", certificate),
        )
        chain = certificate.read_bytes() + (authority / "ca.pem").read_bytes()
        return {"all": key.read_bytes() + chain, "key": key.read_bytes(), "chain": chain}[part]

    return issue


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "certificates").mkdir()
    return Place(tmp_path / "certificates/amy.example.org.pem", NAMES)


def contents(place: Place) -> list[str]:
    return sorted(path.name for path in place.path.parent.iterdir() if path.name != ".lock")


def test_a_placeholder_is_made_once_and_replaced_by_what_is_issued(place: Place, issue: Issue) -> None:
    assert placeholder_missing(run, place)
    make_placeholder(run, place)
    assert not placeholder_missing(run, place)
    made = read(run, place.path)
    assert (made.self_signed, made.names) == (True, NAMES)
    changed, installed = install(run, place, issue(), NOW)
    assert (changed, installed.self_signed) == (True, False)
    assert (contents(place), place.path.stat().st_mode & 0o777) == (["amy.example.org.pem"], 0o640)


def test_the_same_bundle_changes_nothing(place: Place, issue: Issue) -> None:
    bundle = issue()
    assert install(run, place, bundle, NOW)[0]
    inode = place.path.stat().st_ino
    assert not install(run, place, bundle, NOW)[0]
    assert place.path.stat().st_ino == inode


@pytest.mark.parametrize(
    ("broken", "refusal"),
    [
        (lambda issue: issue("other.example.net"), "is not for amy.example.org but for other.example.net"),
        (lambda issue: issue("amy.example.org"), "is not for www.amy.example.org"),
        (lambda issue: issue(part="key") + issue(part="chain"), "does not belong to the certificate"),
        (lambda issue: issue(part="chain"), "holds 2 certificates and 0 other"),
        (lambda issue: issue()[:400], "holds 0 certificates"),
        (lambda _issue: b"\0", "holds 0 certificates"),
        (lambda issue: issue(days=0), "Correct the clock"),
    ],
)
def test_what_would_not_work_is_refused(
    place: Place, issue: Issue, broken: Callable[[Issue], bytes], refusal: str
) -> None:
    good = issue()
    install(run, place, good, NOW)
    with pytest.raises(WebappsError, match=refusal) as raised:
        install(run, place, broken(issue), NOW)
    assert "PRIVATE" not in raised.value.message
    assert (place.path.read_bytes(), contents(place)) == (good, ["amy.example.org.pem"])


def test_a_chain_of_another_authority_is_refused(place: Place, issue: Issue, tmp_path: Path) -> None:
    other = Place(tmp_path / "certificates/other.pem", ("other.example.net",))
    make_placeholder(run, other)
    stranger = other.path.read_bytes()
    leaf = issue().split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
    with pytest.raises(WebappsError, match="does not vouch for the certificate"):
        install(run, place, leaf + stranger[stranger.index(b"-----BEGIN CERTIFICATE") :], NOW)


def test_an_older_certificate_is_refused_but_not_in_place_of_a_placeholder(place: Place, issue: Issue) -> None:
    older = issue()
    time.sleep(1.1)
    install(run, place, issue(), NOW)
    with pytest.raises(WebappsError, match="older than the one in place"):
        install(run, place, older, NOW)
    make_placeholder(run, place)
    assert install(run, place, older, NOW)[0]


def test_what_nginx_refuses_is_refused_in_its_words(place: Place, issue: Issue) -> None:
    def refusing(
        command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        if command[0] == "/usr/sbin/nginx":
            return Finished(1, "", "ee key too small")
        return run(command, directory=directory, environment=environment)

    with pytest.raises(WebappsError, match=r"nginx refuses .* ee key too small"):
        install(refusing, place, issue(), NOW)


def test_what_a_killed_call_left_is_removed_and_in_nobodys_way(place: Place, issue: Issue) -> None:
    leftover = place.path.parent / ".new-killed"
    leftover.mkdir()
    (leftover / "amy.example.org.pem").write_text("a key")
    install(run, place, issue(), NOW)
    assert contents(place) == ["amy.example.org.pem"]


def test_what_certbot_has_already_is_what_nginx_begins_with(place: Place, issue: Issue, tmp_path: Path) -> None:
    bundle = issue()
    end = bundle.index(b"-----BEGIN CERTIFICATE")
    assert not take_over(run, place, tmp_path, NOW)
    (tmp_path / "privkey.pem").write_bytes(bundle[:end])
    (tmp_path / "fullchain.pem").write_bytes(issue("other.example.net")[end:])
    assert not take_over(run, place, tmp_path, NOW)
    assert contents(place) == []
    (tmp_path / "fullchain.pem").write_bytes(bundle[end:])
    assert take_over(run, place, tmp_path, NOW)
    assert place.path.read_bytes() == bundle


def test_a_broken_file_counts_as_none(place: Place) -> None:
    place.path.write_text("broken")
    assert current(run, place) is None
    assert placeholder_missing(run, place)


def test_a_receiver_says_what_is_there_takes_a_bundle_and_nothing_else(place: Place, issue: Issue) -> None:
    def answer(wish: str, body: bytes = b"") -> dict[str, object]:
        return certificate_receive.answer(run, place, wish, io.BytesIO(body), NOW)

    assert answer("status") == {"fingerprint": None, "issued": None}
    make_placeholder(run, place)
    assert answer("status")["issued"] is None
    installed = answer("install", issue())
    assert installed["changed"] is True
    assert answer("status") == {
        "fingerprint": installed["fingerprint"],
        "issued": read(run, place.path).not_before,
    }
    for wish in ("", "cat /etc/passwd", "install other"):
        with pytest.raises(WebappsError, match="is not known here"):
            answer(wish)
    with pytest.raises(WebappsError, match="larger than"):
        answer("install", b"x" * 300_000)


class Network:
    """Peers that are reached by the ssh command, each a receiver of its own."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self.places = {name: Place(directory / f"{name}.pem", NAMES) for name in names}
        self.down: set[str] = set()
        self.sent: list[tuple[str, str]] = []

    def __call__(self, command: Sequence[str], body: bytes) -> Finished:
        *_options, address, wish = command
        if address in self.down:
            return Finished(255, "", "Connection refused")
        self.sent.append((address, wish))
        said = certificate_receive.answer(run, self.places[address], wish, io.BytesIO(body), NOW)
        return Finished(0, json.dumps(said), "")


@pytest.fixture
def settings(place: Place, issue: Issue, tmp_path: Path) -> certificate_sync.Settings:
    lineage = tmp_path / "live"
    lineage.mkdir()
    bundle = issue()
    end = bundle.index(b"-----BEGIN CERTIFICATE")
    (lineage / "privkey.pem").write_bytes(bundle[:end])
    (lineage / "fullchain.pem").write_bytes(bundle[end:])
    return certificate_sync.Settings(
        lineage,
        place,
        tuple(certificate_sync.Peer(name, name, 22) for name in ("web-2", "web-3")),
        "webapps-certificates",
        tmp_path / "key",
        tmp_path / "known_hosts",
    )


def test_every_host_gets_the_certificate_once(settings: certificate_sync.Settings, tmp_path: Path) -> None:
    network = Network(tmp_path / "certificates", ["web-2", "web-3"])
    assert certificate_sync.sync(run, network, settings, NOW) == (["this host", "web-2", "web-3"], [])
    assert network.places["web-3"].path.read_bytes() == settings.place.path.read_bytes()
    network.sent.clear()
    assert certificate_sync.sync(run, network, settings, NOW) == ([], [])
    assert network.sent == [("web-2", "status"), ("web-3", "status")]


def test_one_host_that_is_down_keeps_no_other_waiting_and_catches_up(
    settings: certificate_sync.Settings, tmp_path: Path
) -> None:
    network = Network(tmp_path / "certificates", ["web-2", "web-3"])
    network.down = {"web-2"}
    replaced, problems = certificate_sync.sync(run, network, settings, NOW)
    assert replaced == ["this host", "web-3"]
    assert problems == ["web-2 (web-2) did not do it (status): Connection refused"]
    network.down = set()
    assert certificate_sync.sync(run, network, settings, NOW) == (["web-2"], [])


def test_an_issuer_that_was_away_is_told_who_has_a_newer_certificate(
    settings: certificate_sync.Settings, tmp_path: Path
) -> None:
    network = Network(tmp_path / "certificates", ["web-2", "web-3"])
    certificate_sync.sync(run, network, settings, NOW)
    issued = read(run, settings.place.path).not_before
    assert certificate_sync.newer(run, network, settings, issued) == []
    network.down = {"web-2"}
    here, *peers = certificate_sync.newer(run, network, settings, issued - 60)
    assert here.startswith("the one on this host is of ")
    assert [said.split(" is of ")[0] for said in peers] == ["the one on web-3"]


def test_without_a_certificate_of_certbots_the_message_says_what_to_do(
    settings: certificate_sync.Settings, tmp_path: Path
) -> None:
    shutil.rmtree(settings.lineage)
    with pytest.raises(WebappsError, match=r"privkey\.pem is missing: .* Run the role certbot"):
        certificate_sync.sync(run, Network(tmp_path, []), settings, NOW)


def test_the_key_is_never_an_argument_and_no_other_host_is_believed(settings: certificate_sync.Settings) -> None:
    command = certificate_sync.ssh(settings, settings.peers[0], "install")
    assert "StrictHostKeyChecking=yes" in command
    assert "HostKeyAlias=web-2" in command
    assert "GlobalKnownHostsFile=/dev/null" in command
    assert not [word for word in command if "PRIVATE" in word]
