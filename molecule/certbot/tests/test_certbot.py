"""A certificate issued and renewed for real reaches every host of its domain, and costs no request."""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Iterator

import pytest
import testinfra
from load import connect, visitors
from testinfra.host import Host

testinfra_hosts = ["ansible://webapps-certbot"]

DOMAIN, ALIAS, SINGLE = "amy.example.org", "www.amy.example.org", "single.example.org"
DIRECTORY = "/etc/webapps/certificates"
BUNDLE = f"{DIRECTORY}/{DOMAIN}.pem"
ISSUER = f"/etc/webapps/certificate-issuer/{DOMAIN}"
RENEWAL = f"/etc/letsencrypt/renewal/{DOMAIN}.conf"
SYNC = f"webapps-certificate-{DOMAIN}.service"


def address(host: Host) -> str:
    return host.check_output("hostname --all-ip-addresses").split()[0]


@pytest.fixture(scope="module")
def peer() -> Host:
    return testinfra.get_host("docker://webapps-certbot-two")


@pytest.fixture(scope="module")
def acme() -> Host:
    return testinfra.get_host("docker://webapps-certbot-acme")


@pytest.fixture
def trust(acme: Host) -> ssl.SSLContext:
    """What a browser trusts: the root of what the ACME server issues, and no other."""
    root = acme.check_output("curl --silent --fail --insecure https://127.0.0.1:15000/roots/0")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root)
    return context


def served(at: Host, name: str, trust: ssl.SSLContext) -> str:
    """The certificate that nginx answers a handshake with, in PEM. Fails unless a browser would take it."""
    connection = connect(address(at), name, trust)
    der = connection.sock.getpeercert(binary_form=True)
    connection.close()
    return ssl.DER_cert_to_PEM_cert(der)


def issued(host: Host) -> str:
    """The newest certificate that certbot has, in PEM, without its chain."""
    return host.check_output(f"openssl x509 -in /etc/letsencrypt/live/{DOMAIN}/fullchain.pem") + "\n"


def workers(host: Host) -> str:
    return host.check_output("pgrep --full '^nginx: worker process$' | sort")


def ssh(peer: Host, wish: str, at: str = "", options: str = "") -> str:
    """What the issuer calls, by hand."""
    known = f"-o HostKeyAlias=webapps-certbot-two -o UserKnownHostsFile={ISSUER}/known_hosts -o BatchMode=yes"
    login = f"-i {ISSUER}/id_ed25519 -l webapps-certificates {at or address(peer)}"
    return f"ssh -F /dev/null -T {known} -o StrictHostKeyChecking=yes {options} {login} {shlex.quote(wish)}"


@pytest.fixture
def due(host: Host) -> Iterator[None]:
    """The certificate is due, as certbot sees it."""
    host.check_output(f"cp -p {RENEWAL} /root/renewal.conf && sed -i '1i renew_before_expiry = 4000 days' {RENEWAL}")
    yield
    host.check_output(f"sed -i '/^renew_before_expiry/d' {RENEWAL}")


def renew(host: Host) -> None:
    """What the timer starts twice a day."""
    host.check_output("systemctl start certbot.service")


def test_the_self_signed_certificate_was_replaced_on_every_host(
    host: Host, peer: Host, acme: Host, trust: ssl.SSLContext
) -> None:
    for name in (DOMAIN, ALIAS):
        # The third is the balancer.
        assert {served(at, name, trust) for at in (host, peer, acme)} == {issued(host)}
    assert served(peer, SINGLE, trust) != issued(host)


def test_hosts_that_did_not_ask_for_the_certificate_were_asked_too(peer: Host) -> None:
    log = peer.check_output(f"cat /webapps/{DOMAIN}/logs/nginx_access.log")
    answered = [line for line in log.splitlines() if "acme-challenge" in line and '" 200 ' in line]
    assert answered, log


def test_plain_requests_are_sent_to_tls(peer: Host) -> None:
    answer = peer.check_output(f"curl --silent --include --header 'Host: {DOMAIN}' http://127.0.0.1/people/?page=2")
    assert answer.startswith("HTTP/1.1 301")
    assert f"Location: https://{DOMAIN}/people/?page=2" in answer


def test_root_and_nginx_alone_read_the_key(host: Host, peer: Host) -> None:
    for at in (host, peer):
        bundle = at.file(BUNDLE)
        assert (bundle.user, bundle.group, bundle.mode) == ("webapps-certificates", "www-data", 0o640)
        assert at.run(f"runuser -u www-data -- head -c 1 {BUNDLE}").rc == 0
        for user in ("amy", "admin", "nobody"):
            assert at.run(f"runuser -u {user} -- head -c 1 {BUNDLE}").rc != 0
        assert at.check_output(f"find {DIRECTORY} -name '.new-*'") == ""


def test_the_timers_run_now_and_after_a_reboot(host: Host, peer: Host) -> None:
    for at, domain in ((host, DOMAIN), (peer, SINGLE)):
        for unit in ("certbot.timer", f"webapps-certificate-{domain}.timer"):
            assert at.check_output(f"systemctl is-active {unit}") == "active"
            assert at.check_output(f"systemctl is-enabled {unit}") == "enabled"
    assert not peer.file(f"/etc/systemd/system/webapps-certificate-{DOMAIN}.timer").exists


@pytest.mark.usefixtures("due")
def test_renewals_reach_every_host_and_cost_no_request(
    host: Host, peer: Host, acme: Host, trust: ssl.SSLContext
) -> None:
    before = {issued(host)}
    nginx = (workers(host), workers(peer))
    with visitors([address(at) for at in (host, peer, acme)], DOMAIN, trust) as count:
        for _renewal in range(3):
            renew(host)
            assert issued(host) not in before
            before.add(issued(host))
            assert {served(at, DOMAIN, trust) for at in (host, peer, acme)} == {issued(host)}
    print(f"{count.requests} requests on {count.connections} connections, {len(count.failures)} failed")
    assert count.failures == []
    assert count.requests > 300
    assert count.connections > 150
    assert (workers(host), workers(peer)) == nginx


def test_files_that_change_all_the_time_fail_no_handshake(peer: Host, trust: ssl.SSLContext) -> None:
    """Renewals happen six times a year; this is hundreds of them, as an installed bundle is one rename."""
    swap = f"cp -p {BUNDLE} {DIRECTORY}/.swap && mv {DIRECTORY}/.swap {BUNDLE}"
    peer.check_output(f"systemd-run --quiet --unit=swap sh -c 'while :; do {swap}; done'")
    with visitors([address(peer)] * 3, DOMAIN, trust) as count:
        peer.check_output("sleep 8")
    peer.check_output("systemctl stop swap")
    assert count.failures == []
    assert count.connections > 100


@pytest.mark.usefixtures("due")
def test_a_host_that_was_down_during_a_renewal_catches_up(host: Host, peer: Host, trust: ssl.SSLContext) -> None:
    old = issued(host)
    peer.check_output("systemctl stop ssh.service")
    try:
        renew(host)
        assert served(host, DOMAIN, trust) == issued(host) != old
        assert served(peer, DOMAIN, trust) == old
        assert host.run(f"systemctl start {SYNC}").rc != 0
        said = host.check_output(f"journalctl --unit {SYNC} --output cat")
        assert "webapps-certbot-two" in said
        assert "Connection refused" in said
    finally:
        peer.check_output("systemctl start ssh.service")
    host.check_output(f"systemctl start {SYNC}")
    assert served(peer, DOMAIN, trust) == issued(host)


def bundles(host: Host) -> dict[str, str]:
    """Shell commands that print what must not be installed, and a word of the refusal."""
    live = f"/etc/letsencrypt/live/{DOMAIN}"
    first = f"/etc/letsencrypt/archive/{DOMAIN}"
    host.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 5 -subj /CN=other "
        "-addext subjectAltName=DNS:other.example.net -keyout /root/other.key -out /root/other.pem"
    )
    return {
        f"cat /root/other.key {live}/fullchain.pem": "does not belong to the certificate",
        "cat /root/other.key /root/other.pem": f"is not for {DOMAIN} but for other.example.net",
        f"cat {first}/privkey1.pem {first}/fullchain1.pem": "older than the one in place",
        f"cat {live}/privkey.pem {live}/cert.pem /root/other.pem": "does not vouch",
        f"cat {live}/privkey.pem {live}/fullchain.pem | head -c 700": "0 certificates",
        f"cat {live}/fullchain.pem": "one private key and the certificate chain",
        "head -c 300000 /dev/zero": "larger than",
    }


def test_a_broken_pair_is_refused_and_what_is_there_goes_on(host: Host, peer: Host, trust: ssl.SSLContext) -> None:
    before = peer.check_output(f"sha256sum {BUNDLE}")
    for command, refusal in bundles(host).items():
        result = host.run(f"{command} | {ssh(peer, 'install')}")
        assert result.rc == 1, command
        assert refusal in result.stderr, result.stderr
    assert peer.check_output(f"sha256sum {BUNDLE}") == before
    assert served(peer, DOMAIN, trust) == issued(host)


def test_the_issuers_key_is_good_for_nothing_else(host: Host, peer: Host) -> None:
    refused = host.run(ssh(peer, "cat /etc/passwd"))
    assert (refused.rc, refused.stdout) == (1, "")
    assert 'this key may ask for "status" and "install"' in refused.stderr
    assert host.run(ssh(peer, "status", options="-N -o ExitOnForwardFailure=yes -R 9999:127.0.0.1:22")).rc != 0
    assert "restrict," in peer.check_output("cat /var/lib/webapps-certificates/.ssh/authorized_keys")


def test_who_answers_at_a_peers_address_with_another_key_gets_nothing(host: Host, peer: Host, acme: Host) -> None:
    result = host.run(ssh(peer, "status", at=address(acme)))
    assert result.rc == 255
    assert "Host key verification failed" in result.stderr


def test_the_key_is_in_no_log_and_no_file_that_others_read(host: Host, peer: Host) -> None:
    lines = host.check_output(f"openssl pkey -in {BUNDLE}").splitlines()
    pattern = shlex.quote(lines[1])
    for at in (host, peer):
        found = at.run(f"journalctl --output cat | grep --count -F -e {pattern}").stdout.strip()
        assert found == "0"
        assert at.run(f"grep --recursive --files-with-matches -F -e {pattern} /var/log /tmp /run").stdout == ""
        readable = f"find /etc /var /home -xdev -type f -perm /o=r -exec grep -lF -e {pattern} {{}} +"
        assert at.run(readable).stdout == ""


def test_what_certbot_has_on_the_same_terms_is_left_alone_and_other_terms_are_foreseen(host: Host, acme: Host) -> None:
    terms = f"names={DOMAIN},{ALIAS} server=https://{address(acme)}:14000/dir reuse_key=true"
    same = host.ansible("carpentries.webapps.certbot_certificate", terms, check=True)
    assert (same["changed"], same["reasons"]) == (False, [])
    other = host.ansible("carpentries.webapps.certbot_certificate", f"{terms} key_type=rsa", check=True)
    assert (other["changed"], other["reasons"]) == (True, ["key type: ecdsa -> rsa"])


@pytest.mark.usefixtures("due")
def test_an_issuer_whose_certificate_is_older_than_its_peers_is_to_obtain_another(host: Host, acme: Host) -> None:
    renew(host)
    terms = f"names={DOMAIN},{ALIAS} server=https://{address(acme)}:14000/dir reuse_key=true"
    settings = f"settings={ISSUER}/settings.json"
    chain = f"/etc/letsencrypt/live/{DOMAIN}/fullchain.pem"
    newest = host.check_output(f"readlink {chain}")
    host.check_output(f"ln -sfn ../../archive/{DOMAIN}/fullchain1.pem {chain}")
    try:
        older = host.ansible("carpentries.webapps.certbot_certificate", f"{terms} {settings}", check=True)
    finally:
        host.check_output(f"ln -sfn {newest} {chain}")
    assert [said.split(" is of ")[0] for said in older["reasons"]] == [
        "the one on this host",
        "the one on webapps-certbot-two",
    ]
    same = host.ansible("carpentries.webapps.certbot_certificate", f"{terms} {settings}", check=True)
    assert same["reasons"] == []


def test_dns_challenges_are_left_to_certbots_plugin_whose_refusal_is_explained(host: Host, acme: Host) -> None:
    # There is no Route 53 here: no credentials, and no instance to have a role.
    host.check_output("apt-get install --yes --quiet --no-install-recommends python3-certbot-dns-route53")
    host.check_output("ip route replace unreachable 169.254.169.254")
    terms = f"names=dns.example.org server=https://{address(acme)}:14000/dir authenticator=dns-route53"
    try:
        refused = host.ansible(
            "carpentries.webapps.certbot_certificate", f"{terms} ca_bundle=/etc/ssl/certs/acme.pem", check=False
        )
    except host.ansible.AnsibleException as failure:
        refused = failure.result
    assert "Unable to locate credentials" in refused["msg"]
    assert "needs the policy in the README" in refused["msg"]


def test_a_name_that_reaches_no_host_is_explained_in_the_servers_words(host: Host, acme: Host) -> None:
    terms = f"names=nowhere.example.org server=https://{address(acme)}:14000/dir"
    try:
        refused = host.ansible(
            "carpentries.webapps.certbot_certificate", f"{terms} ca_bundle=/etc/ssl/certs/acme.pem", check=False
        )
    except host.ansible.AnsibleException as failure:
        refused = failure.result
    assert "obtained no certificate for nowhere.example.org" in refused["msg"]
    assert "must resolve to this application's hosts" in refused["msg"]
    assert not host.file("/etc/letsencrypt/live/nowhere.example.org").exists
