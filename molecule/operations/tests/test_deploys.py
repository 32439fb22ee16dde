"""The fleet of two web hosts takes releases as larger ones do."""

from __future__ import annotations

from sandbox.fleet import WEB_HOSTS, Fleet, web_releases

HOSTS = {name: WEB_HOSTS[name] for name in ("web-1", "web-2")}


def test_both_web_hosts_run_what_was_deployed(fleet: Fleet) -> None:
    assert len(set(web_releases(HOSTS).values())) == 1
