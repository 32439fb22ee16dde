# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the first hosts of a release for a while: their health, CloudWatch's alarms, the balancer's own figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import remedy, words_of
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import (
    NOT_REGISTERED,
    Health,
    Key,
    Member,
    TargetGroup,
    explain,
)

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import ClientError

# AWS takes this many names per call; a group needs three queries.
ALARMS_PER_CALL = 100

# CloudWatch has whole minutes only, and has them some minutes late.
MINUTE, FIGURES_TAKE = 60, 180


@dataclass(frozen=True)
class Alarm:
    """What CloudWatch says of an alarm: OK, ALARM or INSUFFICIENT_DATA, and why."""

    name: str
    state: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} is {self.state} ({self.reason})"


@dataclass(frozen=True)
class Figures:
    """What a target group has counted: requests, answers 5xx of its targets, and the slowest minute's latency."""

    target_group: str
    requests: int
    errors: int
    latency: float | None

    @property
    def error_percent(self) -> float:
        return 100 * self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Bounds:
    """What is allowed: 5xx answers in percent of all requests, latency in seconds; None is not judged.

    Fewer than ``minimum_requests`` are not judged at all. ``statistic`` is that of a minute's latencies.
    """

    error_percent: float | None = None
    latency: float | None = None
    statistic: str = "p99"
    minimum_requests: int = 20

    @property
    def any(self) -> bool:
        return self.error_percent is not None or self.latency is not None

    def problems(self, figures: Iterable[Figures]) -> list[str]:
        found = []
        for seen in figures:
            if seen.requests < self.minimum_requests:
                continue
            if self.error_percent is not None and seen.error_percent > self.error_percent:
                found.append(
                    f"{seen.target_group} answered {seen.errors} of {seen.requests} requests with 5xx, "
                    f"{seen.error_percent:.2f} %; allowed are {self.error_percent:g} % "
                    "(load_balancer_soak_error_percent)"
                )
            if self.latency is not None and seen.latency is not None and seen.latency > self.latency:
                found.append(
                    f"{seen.target_group} had a minute with a {self.statistic} latency of {seen.latency:.3f} s; "
                    f"allowed are {self.latency:g} s (load_balancer_soak_latency)"
                )
        return found


@dataclass(frozen=True)
class Soaked:
    waited: float
    alarms: list[Alarm] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As the module returns it."""
        return {
            "waited": round(self.waited, 1),
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "figures": [
                asdict(figures) | {"error_percent": round(figures.error_percent, 3)} for figures in self.figures
            ],
        }


class CloudWatchApi:
    """The calls to CloudWatch; ``client`` is one of AnsibleAWSModule with Patience as its retry decorator."""

    def __init__(self, client: Any, region: str) -> None:
        self.client = client
        self.region = region

    def alarms(self, names: Sequence[str]) -> list[Alarm]:
        """The alarms, in that order. Raises WebappsError when one does not exist."""
        found: dict[str, Alarm] = {}
        for start in range(0, len(names), ALARMS_PER_CALL):
            answer = self._ask(
                "DescribeAlarms",
                self.client.describe_alarms,
                AlarmNames=list(names[start : start + ALARMS_PER_CALL]),
                # Without it AWS leaves composite ones out.
                AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                MaxRecords=ALARMS_PER_CALL,
            )
            for entry in answer.get("MetricAlarms", []) + answer.get("CompositeAlarms", []):
                name = entry["AlarmName"]
                found[name] = Alarm(name, entry["StateValue"], entry.get("StateReason", ""))
        missing = [name for name in names if name not in found]
        if missing:
            raise WebappsError(
                f"load_balancer_soak_alarms names {', '.join(missing)}, which CloudWatch in {self.region} does not "
                "have. Correct the name or load_balancer_region, or create the alarm."
            )
        return [found[name] for name in names]

    def figures(self, groups: Sequence[TargetGroup], statistic: str, since: datetime, until: datetime) -> list[Figures]:
        """What each group's balancers counted in the whole minutes from ``since`` on."""
        names = {"requests": "RequestCount", "errors": "HTTPCode_Target_5XX_Count", "latency": "TargetResponseTime"}
        queries = [
            {
                "Id": f"{kind}_{number}_{place}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/ApplicationELB",
                        "MetricName": name,
                        "Dimensions": dimensions,
                    },
                    "Period": MINUTE,
                    "Stat": statistic if kind == "latency" else "Sum",
                },
            }
            for number, group in enumerate(groups)
            for place, dimensions in enumerate(dimensions_of(group))
            for kind, name in names.items()
        ]
        values: dict[tuple[str, str], list[float]] = {}
        for result in self._results(MetricDataQueries=queries, StartTime=since, EndTime=until):
            kind, number, _place = result["Id"].split("_")
            values.setdefault((kind, number), []).extend(result["Values"])
        return [
            Figures(
                group.name,
                round(sum(values.get(("requests", str(number)), []))),
                round(sum(values.get(("errors", str(number)), []))),
                max(values.get(("latency", str(number)), []), default=None),
            )
            for number, group in enumerate(groups)
        ]

    def _results(self, **query: Any) -> Iterator[dict[str, Any]]:
        while True:
            answer = self._ask("GetMetricData", self.client.get_metric_data, **query)
            yield from answer["MetricDataResults"]
            if not answer.get("NextToken"):
                return
            query["NextToken"] = answer["NextToken"]

    def _ask(self, right: str, call: Callable[..., dict[str, Any]], **query: Any) -> dict[str, Any]:
        try:
            return call(**query, aws_retry=True)
        except ClientError as error:
            raise WebappsError(
                f"CloudWatch in {self.region} does not answer {right}: {words_of(error)}. "
                f"{remedy(error, f'cloudwatch:{right}', 'Correct load_balancer_soak_*.')} "
                "Or do without alarms and bounds (load_balancer_soak_*)."
            ) from error


def dimensions_of(group: TargetGroup) -> list[list[dict[str, str]]]:
    """By what CloudWatch knows a group's figures, for each load balancer. Raises WebappsError if it has none."""
    named = [arn.partition(":loadbalancer/")[2] for arn in group.load_balancers]
    other = [name for name in named if not name.startswith("app/")]
    if other:
        raise WebappsError(
            f"The target group {group.name} belongs to the load balancer {', '.join(other)}, which is no "
            "Application Load Balancer and counts neither answers nor latency. Use load_balancer_soak_alarms there."
        )
    target_group = group.arn[group.arn.index("targetgroup/") :]
    return [[{"Name": "TargetGroup", "Value": target_group}, {"Name": "LoadBalancer", "Value": name}] for name in named]


@dataclass(frozen=True)
class Soak:
    """What is watched. ``health`` asks the balancer; ``clock`` gives seconds that only grow, ``sleep`` waits."""

    api: CloudWatchApi
    groups: Sequence[TargetGroup]
    members: Sequence[Member]
    health: Callable[[], Mapping[Key, Health]]
    alarms: Sequence[str]
    bounds: Bounds
    needs_data: bool
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def check(self, seconds: int, now: datetime) -> Soaked:
        """Refuse what could not be watched for so long, and alarms that ring already; waits for nothing."""
        if not re.fullmatch(r"Average|p\d{1,2}(\.\d+)?", self.bounds.statistic):
            raise WebappsError(
                f'load_balancer_soak_statistic is "{self.bounds.statistic}": give Average, or a percentile such as p99.'
            )
        if self.bounds.any and seconds < FIGURES_TAKE:
            raise WebappsError(
                f"load_balancer_soak is {seconds} s, and the balancer's figures come by whole minutes, some minutes "
                f"late: give {FIGURES_TAKE} or more, or judge by alarms and health alone."
            )
        alarms = self.api.alarms(self.alarms)
        self._refuse_alarms(
            Soaked(0.0, alarms),
            "before anything was deployed: wait until it is OK, or take it out of load_balancer_soak_alarms",
        )
        # Whether it may be asked shows by asking.
        figures = self._figures(now - timedelta(seconds=FIGURES_TAKE), now)
        return Soaked(0.0, alarms, figures, self._silent(alarms))

    def watch(self, seconds: int, interval: int, now: datetime) -> Soaked:
        """Watch for so many seconds, from ``now`` on. Raises WebappsError as soon as something is out of bounds."""
        # The minute under way has requests of before.
        since = now.replace(second=0, microsecond=0) + timedelta(seconds=MINUTE)
        start = self.clock()
        while True:
            waited = self.clock() - start
            seen = self._look(since, now + timedelta(seconds=waited), waited)
            if waited >= seconds:
                break
            self.sleep(min(interval, seconds - waited))
        few = [figures for figures in seen.figures if figures.requests < self.bounds.minimum_requests]
        unjudged = [
            f"{figures.target_group} had {figures.requests} requests that CloudWatch has after {waited:.0f} s, too few "
            f"to judge (load_balancer_soak_minimum_requests is {self.bounds.minimum_requests})."
            for figures in few
        ]
        return Soaked(waited, seen.alarms, seen.figures, self._silent(seen.alarms) + unjudged)

    def _look(self, since: datetime, until: datetime, waited: float) -> Soaked:
        found = self.health() if self.members else {}
        now = {member.key: found.get(member.key, NOT_REGISTERED) for member in self.members}
        alarms = self.api.alarms(self.alarms)
        seen = Soaked(waited, alarms, self._figures(since, until) if until > since else [])
        sick = [member for member in self.members if now[member.key].state != "healthy"]
        if sick:
            raise WebappsError(
                f"{explain(sick, now)}, {waited:.0f} s after it had joined, healthy. The host's logs say why.",
                **seen.told(),
            )
        self._refuse_alarms(
            seen, f"{waited:.0f} s after the first batch had joined. The alarm's graph and the hosts' logs say why"
        )
        problems = self.bounds.problems(seen.figures)
        if problems:
            raise WebappsError(
                f"{'; '.join(problems)}: seen {waited:.0f} s after the first batch had joined. Its logs say why; "
                "raise the bound if that is what the application does on any day.",
                **seen.told(),
            )
        return seen

    def _figures(self, since: datetime, until: datetime) -> list[Figures]:
        return self.api.figures(self.groups, self.bounds.statistic, since, until) if self.bounds.any else []

    def _refuse_alarms(self, seen: Soaked, when: str) -> None:
        ringing = [str(alarm) for alarm in seen.alarms if alarm.state == "ALARM"]
        if ringing:
            raise WebappsError(f"The alarm {'; '.join(ringing)}, {when}.", **seen.told())

    def _silent(self, alarms: Iterable[Alarm]) -> list[str]:
        """Alarms that know nothing, as warnings. Raises WebappsError if they are to know."""
        silent = [str(alarm) for alarm in alarms if alarm.state == "INSUFFICIENT_DATA"]
        if silent and self.needs_data:
            raise WebappsError(
                f"The alarm {'; '.join(silent)}, and load_balancer_soak_insufficient_data is fail. Have the alarm "
                "treat "
                "missing data as good or bad, or set load_balancer_soak_insufficient_data: tell."
            )
        return [f"The alarm {text}: it said nothing about the release." for text in silent]
