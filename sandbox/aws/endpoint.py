"""Run the endpoint: `python3 -m sandbox.aws.endpoint --help`."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from sandbox.aws import moto_elbv2
from sandbox.aws.balancer import Balancer, Settings
from sandbox.aws.calls import CallLog
from sandbox.aws.haproxy_admin import HAProxyError
from sandbox.aws.haproxy_process import HAProxyProcess
from sandbox.aws.health import Health
from sandbox.aws.journal import Journal
from sandbox.aws.registry import Registry, Target
from sandbox.aws.trouble import Trouble

STEP = 0.1
"""Seconds between two looks at the account and at HAProxy."""


class QuietHandler(MotoRequestHandler):  # type: ignore[misc]
    """moto's handler without a line on the terminal for every call: calls.jsonl has them."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def options(arguments: list[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="sandbox.aws.endpoint", description=__doc__)
    parser.add_argument("--api-bind", default="127.0.0.1", help="address of the AWS API")
    parser.add_argument("--api-port", type=int, default=5000, help="port of the AWS API")
    parser.add_argument("--bind", default="127.0.0.1", help="address on which load balancers listen")
    parser.add_argument("--offset", type=int, default=0, help="serve listener port P on P + OFFSET (for tests)")
    parser.add_argument(
        "--propagation", type=float, default=2.0, help="seconds until traffic follows an API call; AWS is not faster"
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="directory of logs, sockets and certificates")
    return parser.parse_args(arguments)


def tell_transitions(journal: Journal) -> Registry:
    """Return a registry that writes every change of a target's health to `journal`."""

    def told(target: Target, before: Health | None, after: Health) -> None:
        journal.write(
            target=target.id,
            port=target.port,
            group=target.group.split("/")[1],
            **{"from": before.state.value if before else None},
            to=after.state.value,
            reason=after.reason.value if after.reason else None,
            description=after.description,
        )

    return Registry(time.monotonic, told)


def start_api(host: str, port: int, calls: Journal, trouble: Trouble) -> BaseWSGIServer:
    """Serve the AWS API in a thread of its own."""
    application = CallLog(DomainDispatcherApplication(create_backend_app), calls, trouble)
    server = make_server(host, port, application, threaded=True, request_handler=QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def notify_ready() -> None:
    """Tell systemd that the endpoint is up, if systemd asked to be told (Type=notify)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notification:
            notification.sendto(b"READY=1", address.replace("@", "\0", 1) if address[0] == "@" else address)


def say(message: str) -> None:
    """Print a line where systemd's journal, or whoever started the endpoint, sees it."""
    print(message, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT (0), or until HAProxy fails (1): no balancer is better than a silent one."""
    chosen = options(sys.argv[1:] if arguments is None else arguments)
    state: Path = chosen.state_dir
    certificates = state / "certificates"
    certificates.mkdir(mode=0o700, parents=True, exist_ok=True)
    stopping = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    registry = tell_transitions(Journal(state / "transitions.jsonl"))
    moto_elbv2.install(registry)
    haproxy = HAProxyProcess(state)
    balancer = Balancer(Settings(chosen.bind, chosen.offset, chosen.propagation), registry, haproxy, certificates, say)
    try:
        balancer.step()
        start_api(chosen.api_bind, chosen.api_port, Journal(state / "calls.jsonl"), Trouble(state / "trouble.json"))
        notify_ready()
        say(f"AWS API on http://{chosen.api_bind}:{chosen.api_port}, listeners on {chosen.bind}, logs in {state}")
        while not stopping.wait(STEP):
            balancer.step()
    except HAProxyError as error:
        say(f"error: {error}")
        return 1
    finally:
        haproxy.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
