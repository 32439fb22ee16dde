"""The loop that makes the load balancer: moto's account in, HAProxy's work out, the targets' health kept true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.aws.haproxy_admin import Stats, add_server, commands
from sandbox.aws.haproxy_config import Server, render, server_options, shape
from sandbox.aws.haproxy_process import HAProxyProcess
from sandbox.aws.health import Facts, Order, Policy
from sandbox.aws.moto_elbv2 import Account, TargetGroup, instance, read_account
from sandbox.aws.registry import Registry, Target


@dataclass(frozen=True)
class Settings:
    """Where listeners are served (address, port offset), and the lag in seconds between API call and data plane."""

    bind: str
    offset: int
    propagation: float


class Balancer:
    """One load balancer data plane for the whole account. `step` is to be called ten times a second or so."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        haproxy: HAProxyProcess,
        certificates: Path,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._haproxy = haproxy
        self._certificates = certificates
        self._say = say
        self._shape = ""
        self._stats = Stats(frozenset(), {})

    def step(self) -> None:
        """Bring HAProxy and the targets' health up to date with the account. Raises HAProxyError."""
        # Targets first: one that is registered while the account is read would be judged by an older account.
        targets = self._registry.targets()
        account = read_account(self._certificates)
        self._registry.keep_groups(account.groups)
        self._haproxy.ensure_alive()
        self._reload_if_needed(account)
        self._stats = self._haproxy.admin.stats()
        for target in targets:
            if group := account.groups.get(target.group):
                self._follow(target, group)

    def _reload_if_needed(self, account: Account) -> None:
        place = (self._haproxy.paths, self._settings.bind, self._settings.offset, account.listeners)
        wanted = shape(*place, [group.config for group in account.groups.values()])
        if wanted == self._shape:
            return
        # Servers come and go at run time; a reload must name those that HAProxy has, or it would forget them.
        groups = [replace(group.config, servers=self._known_servers(group)) for group in account.groups.values()]
        self._haproxy.load(render(*place, groups))
        self._shape = wanted
        self._say(f"serving {', '.join(listener.name for listener in account.listeners) or 'no listener'}")

    def _known_servers(self, group: TargetGroup) -> tuple[Server, ...]:
        servers = [_server(target) for target in self._registry.targets(group.arn)]
        return tuple(server for server in servers if (group.config.name, server.name) in self._stats.checks)

    def _follow(self, target: Target, group: TargetGroup) -> None:
        backend, server = group.config.name, _server(target)
        found = instance(target.group, target.id)
        facts = Facts(
            in_use=group.in_use,
            ready=backend in self._stats.backends,
            instance_state=found[1] if found else None,
            check=self._stats.checks.get((backend, server.name)),
        )
        check = group.config.check
        policy = Policy(
            propagation=self._settings.propagation,
            deregistration_delay=group.deregistration_delay,
            failing_for=check.interval * check.unhealthy_threshold,
        )
        for order in self._registry.advance(target, facts, policy):
            self._carry_out(order, group, server)

    def _carry_out(self, order: Order, group: TargetGroup, server: Server) -> None:
        backend = group.config.name
        known = (backend, server.name) in self._stats.checks
        if not known and order is not Order.ADMIT:
            return
        if not known:
            options = server_options(group.config.check)
            self._order(add_server(backend, server.name, f"{server.address}:{server.port}", options))
        for command in commands(order, backend, server.name):
            self._order(command)

    def _order(self, command: str) -> None:
        answer = self._haproxy.admin.ask(command)
        if answer and not answer.startswith("New server registered"):
            self._say(f"haproxy: {command}: {answer}")


def _server(target: Target) -> Server:
    found = instance(target.group, target.id)
    return Server(f"{target.id}_{target.port}", found[0] if found else target.id, target.port)
