"""HAProxy's configuration for a set of listeners and target groups: plain data in, text out.

Nothing here knows AWS's API or a running HAProxy. Comments say where a line is there to behave like an ALB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

IDLE_TIMEOUT = 60
"""Seconds after which an ALB, with its default settings, closes an idle connection on either side."""

CONNECT_TIMEOUT = 10
"""Seconds that an ALB waits for a connection to a target."""


@dataclass(frozen=True)
class HealthCheck:
    """How a group's targets are checked; port None means the port that gets the traffic. Times in seconds."""

    path: str
    matcher: str
    interval: int
    timeout: int
    healthy_threshold: int
    unhealthy_threshold: int
    port: int | None = None


@dataclass(frozen=True)
class Server:
    """One target as HAProxy knows it: a name that is unique in its group, and where it listens."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Group:
    """A target group, its health check, and those of its targets that HAProxy has been told of."""

    name: str
    check: HealthCheck
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True)
class Forward:
    """A listener's default action: pass the request on to a group, by name."""

    group: str


@dataclass(frozen=True)
class Redirect:
    """A listener's default action: a Location built as AWS builds it; `#{...}` stand for parts of the request."""

    status: int = 301
    protocol: str = "#{protocol}"
    host: str = "#{host}"
    port: str = "#{port}"
    path: str = "/#{path}"
    query: str = "#{query}"


@dataclass(frozen=True)
class FixedResponse:
    """A listener's default action: the same answer to everybody."""

    status: int = 503
    content_type: str = "text/plain"
    body: str = ""


@dataclass(frozen=True)
class Listener:
    """A listener: the port AWS names, and the certificate files (the first is the default) if it speaks TLS."""

    name: str
    port: int
    action: Forward | Redirect | FixedResponse
    certificates: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Paths:
    """Where HAProxy keeps its things."""

    admin_socket: Path
    server_states: Path


def server_options(check: HealthCheck) -> str:
    """Return the options of every server of a group, the same in the configuration and in `add server`."""
    port = f" port {check.port}" if check.port else ""
    return (
        f"check inter {check.interval}s rise {check.healthy_threshold} fall {check.unhealthy_threshold}{port}"
        # An ALB keeps idle connections to its targets. HAProxy keeps none of a server that was added at run time,
        # unless told so, and closes them by halves, beginning after three delays.
        f" pool-max-conn -1 pool-purge-delay {IDLE_TIMEOUT // 5}s"
    )


def render(paths: Paths, bind: str, offset: int, listeners: Sequence[Listener], groups: Sequence[Group]) -> str:
    """Return the configuration that serves `listeners` on the address `bind`, each on its port plus `offset`."""
    sections = [_globals(paths), _defaults()]
    sections += [_frontend(listener, bind, offset) for listener in listeners]
    sections += [_backend(group) for group in groups]
    return "\n".join(sections)


def shape(paths: Paths, bind: str, offset: int, listeners: Sequence[Listener], groups: Sequence[Group]) -> str:
    """Return the part of the configuration that only a reload can change: all of it but the servers."""
    return render(paths, bind, offset, listeners, [replace(group, servers=()) for group in groups])


def _section(head: str, *lines: str) -> str:
    return "\n".join([head, *(f"    {line}" for line in lines), ""])


def _globals(paths: Paths) -> str:
    return _section(
        "global",
        f"stats socket {paths.admin_socket} mode 600 level admin expose-fd listeners",
        f"server-state-file {paths.server_states}",
        # Left to itself HAProxy sizes its tables by the limit of open files, which a container may not have.
        "maxconn 4000",
        "nbthread 1",
        # An old process that still has a request in flight after a reload does not live for ever.
        "hard-stop-after 300s",
        "ssl-default-bind-options ssl-min-ver TLSv1.2",
    )


def _defaults() -> str:
    return _section(
        "defaults",
        "mode http",
        f"timeout connect {CONNECT_TIMEOUT}s",
        f"timeout client {IDLE_TIMEOUT}s",
        f"timeout server {IDLE_TIMEOUT}s",
        f"timeout http-request {IDLE_TIMEOUT}s",
        f"timeout http-keep-alive {IDLE_TIMEOUT}s",
        # An ALB does not move a failed request to another target.
        "retries 0",
        # An ALB shares its connections to a target among all clients.
        "http-reuse always",
        "load-server-state-from-file global",
    )


def _frontend(listener: Listener, bind: str, offset: int) -> str:
    address = f"{bind}:{listener.port + offset}"
    certificates = "".join(f" crt {path}" for path in listener.certificates)
    tls = f" ssl{certificates} alpn h2,http/1.1" if listener.certificates else ""
    scheme = "https" if listener.certificates else "http"
    return _section(
        f"frontend {listener.name}", f"bind {address}{tls}", *_action(listener.action, scheme, listener.port)
    )


def _action(action: Forward | Redirect | FixedResponse, scheme: str, port: int) -> list[str]:
    if isinstance(action, Forward):
        return [*_forwarded_headers(scheme, port), *_own_answers(action.group), f"default_backend {action.group}"]
    if isinstance(action, Redirect):
        return _redirect(action, scheme, port)
    body = action.body.replace("\\", "\\\\").replace('"', '\\"')
    return [f'http-request return status {action.status} content-type "{action.content_type}" string "{body}"']


def _forwarded_headers(scheme: str, port: int) -> list[str]:
    given = "{ req.hdr(X-Forwarded-For) -m found }"
    return [
        f'http-request set-header X-Forwarded-For "%[req.fhdr(X-Forwarded-For)], %[src]" if {given}',
        f"http-request set-header X-Forwarded-For %[src] unless {given}",
        f"http-request set-header X-Forwarded-Proto {scheme}",
        f"http-request set-header X-Forwarded-Port {port}",
    ]


def _own_answers(group: str) -> list[str]:
    return [
        "http-response set-var(txn.of_target) bool(true)",
        # HAProxy says 503 also when a target refuses the connection; an ALB says 502, and 503 only without a target.
        'http-after-response set-status 502 reason "Bad Gateway"'
        f" if {{ status 503 }} {{ nbsrv({group}) gt 0 }} !{{ var(txn.of_target) -m bool }}",
        "http-after-response set-header Server awselb/2.0 unless { var(txn.of_target) -m bool }",
    ]


def _redirect(action: Redirect, scheme: str, port: int) -> list[str]:
    parts = {
        "#{protocol}": scheme,
        "#{host}": "%[req.hdr(host),field(1,:)]",
        "#{port}": str(port),
        "/#{path}": "%[path]",
        "#{query}": "%[query]",
    }

    def fill(template: str) -> str:
        for name, value in parts.items():
            template = template.replace(name, value)
        return template

    place = f"{fill(action.protocol).lower()}://{fill(action.host)}:{fill(action.port)}{fill(action.path)}"
    redirect = f"http-request redirect code {action.status} location"
    if action.query == "#{query}":
        return [f'{redirect} "{place}?%[query]" if {{ query -m len gt 0 }}', f'{redirect} "{place}"']
    return [f'{redirect} "{place}?{fill(action.query)}"' if action.query else f'{redirect} "{place}"']


def _backend(group: Group) -> str:
    check = group.check
    return _section(
        f"backend {group.name}",
        "balance roundrobin",
        "option httpchk",
        f"http-check send meth GET uri {check.path} ver HTTP/1.1 hdr Host %[bc_dst]"
        " hdr User-Agent ELB-HealthChecker/2.0 hdr Connection close",
        f"http-check expect status {check.matcher}",
        f"timeout check {check.timeout}s",
        f"default-server {server_options(check)}",
        *(f"server {server.name} {server.address}:{server.port}" for server in group.servers),
    )
