"""Roll a release over the local fleet while users keep clicking, and count: ``python -m sandbox.demo``.

Boots the fleet, configures it, deploys v1, starts the load, deploys v2, and prints what happened. Exits 1 if one
request failed or one host runs something else; ``out/demo`` holds every request and the summary.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sandbox.fleet import AUTHORITY, BALANCER, BUSY, DOMAIN, ONE_AT_A_TIME, ROOT, Fleet, FleetError, load, web_releases

OUT = ROOT / "out" / "demo"
SLOWEST_RATIO = 3

Result = TypeVar("Result")


def verdict(summary: Mapping[str, Any], running: Mapping[str, str]) -> list[str]:
    """What is wrong with a roll, in sentences; nothing for a good one.

    ``running``: the release of each web host after the roll.
    """
    wrong = []
    if summary["failed"]:
        wrong.append(
            f"{summary['failed']} of {summary['requests']} requests failed, the first: {summary['failures'][:1]}"
        )
    if len(summary["releases"]) != 2:
        wrong.append(f"two releases should have answered, these did: {summary['releases']}")
    if len(set(running.values())) != 1:
        wrong.append(f"the hosts run different releases: {dict(running)}")
    if summary["p99_ms"] > SLOWEST_RATIO * summary["p99_steady_ms"]:
        wrong.append(f"p99 during the roll was {summary['p99_ms']} ms, before it {summary['p99_steady_ms']} ms")
    return wrong


def timed(what: str, action: Callable[[], Result]) -> Result:
    """Do it and print how long it took."""
    print(f"{what:<56}", end="", flush=True)
    begin = time.monotonic()
    result = action()
    print(f"{time.monotonic() - begin:6.0f} s", flush=True)
    return result


def main() -> int:
    fleet = Fleet(OUT / "logs")
    try:
        timed("Boot six machines, an AWS account and a balancer", lambda: fleet.must("sandbox/up.yml"))
        timed("Configure the hosts: playbooks/site.yml", fleet.site)
        timed("Deploy v1: playbooks/deploy.yml", lambda: fleet.deploy("v1"))
        with load(OUT, rate=BUSY) as users, users.roll():
            timed("Deploy v2, users clicking: playbooks/deploy.yml", lambda: fleet.deploy("v2", ONE_AT_A_TIME))
    except FleetError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    summary, running = users.summary, web_releases()
    print(
        "",
        f"{summary['requests']} requests at {summary['rate']} a second, {summary['failed']} failed",
        *(f"  {release:<22}{count:>8} answers" for release, count in summary["releases"].items()),
        f"  p99 {summary['p99_steady_ms']} ms before the roll, {summary['p99_ms']} ms during it",
        *(f"  {host} runs {release}" for host, release in running.items()),
        "",
        f"The site:  https://{DOMAIN}/ at {BALANCER}, for example",
        f"  curl --cacert {AUTHORITY.relative_to(ROOT)} --resolve {DOMAIN}:443:{BALANCER} https://{DOMAIN}/",
        f"Requests:  {(OUT / 'requests.jsonl').relative_to(ROOT)}, {(OUT / 'summary.json').relative_to(ROOT)}",
        "Remove it: make down",
        sep="\n",
    )
    wrong = verdict(summary, running)
    for sentence in wrong:
        print(f"FAILED: {sentence}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
