"""Command line of the load generator."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from .client import Target, trust
from .generator import Generator, make_users
from .summary import count_releases, summarize

SECONDS_BETWEEN_LINES = 5


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.load",
        description="Send requests at a constant rate until SIGTERM or SIGINT and write down every one of them.",
        epilog="SIGUSR1 says that the roll begins, SIGUSR2 that it ended. "
        "The exit status is 1 if a request failed or none was sent.",
    )
    parser.add_argument("--url", required=True, help="the site, as users name it: https://amy.sandbox.test")
    parser.add_argument("--connect", metavar="HOST:PORT", help="connect here instead of resolving the name")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates to trust (default: the system's)")
    parser.add_argument("--rate", type=float, default=80, help="requests a second (default: 80)")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds (default: until a signal)")
    parser.add_argument("--timeout", type=float, default=30, metavar="S", help="for a request (default: 30)")
    parser.add_argument(
        "--maintenance", action="store_true", help="count the maintenance page apart; without this it is a failure"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="gets requests.jsonl, summary.json; pid while it runs"
    )
    options = parser.parse_args(arguments)
    if options.rate <= 0:
        parser.error(f"--rate is {options.rate:g}; it must be above 0")
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"--url is {options.url!r}; it must begin with http:// or https://")
    if options.ca is not None and not options.ca.is_file():
        parser.error(f"--ca is {options.ca}, which is no file")
    options.url = options.url.rstrip("/")
    return options


async def report(generator: Generator) -> None:
    """Print a line now and then."""
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_LINES)
        failed = sum(record.error is not None for record in generator.records)
        print(
            f"load: {generator.phase}, {len(generator.records)} requests, {failed} failed, "
            f"releases {count_releases(generator.records)}",
            file=sys.stderr,
            flush=True,
        )


async def run(options: argparse.Namespace) -> int:
    """Send the requests and write the files; return the exit status."""
    options.out.mkdir(parents=True, exist_ok=True)
    pid_file, summary_file = options.out / "pid", options.out / "summary.json"
    # Who finds a summary must find that of the last run, or none.
    summary_file.unlink(missing_ok=True)
    target = Target(options.url, options.connect)
    with (options.out / "requests.jsonl").open("w", encoding="utf-8") as log:
        users = make_users(target, trust(options.ca), options.timeout)
        generator = Generator(users, options.rate, log, options.maintenance)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, generator.stop)
        loop.add_signal_handler(signal.SIGUSR1, generator.begin_roll)
        loop.add_signal_handler(signal.SIGUSR2, generator.end_roll)
        # Only now: before the handlers are there, a SIGUSR1 would end the process.
        pid_file.write_text(f"{os.getpid()}\n", encoding="utf-8")
        reporter = asyncio.create_task(report(generator))
        try:
            await generator.run(options.duration)
        finally:
            reporter.cancel()
            pid_file.unlink(missing_ok=True)
    summary = summarize(generator.records, options.rate)
    summary_file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return 1 if summary["failed"] or not summary["requests"] else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the generator."""
    return asyncio.run(run(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
