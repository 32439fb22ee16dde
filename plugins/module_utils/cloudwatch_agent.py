# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of Amazon's CloudWatch agent, from a list of logs.

The agent's own schema lets errors through with which the agent then does not start, or sends nothing; they are refused
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

RETENTIONS = (
    *(-1, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
    *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
KEYS = {"name", "path", "group", "stream", "retention", "start", "timestamp", "timezone"}
MANDATORY = ("name", "path")
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
GROUP = re.compile(r"[A-Za-z0-9_/.#-]{1,512}")
STREAM = re.compile(r"[^:*]{1,512}")
# What the agent's translator knows; anything else is taken literally and never matches.
DIRECTIVES = {*"BbmAadHIMSYypZzf", "-m", "-d", "-I", "-M", "-S"}
DIRECTIVE = re.compile(r"%(-?[A-Za-z%])")
# Of Python's regular expressions, what Go's do not have.
NOT_IN_GO = re.compile(r"\(\?(?:[=!>]|<[=!]|P=|\()|\\[1-9]")


def problems(logs: object, group: str, retention: object, host: str) -> list[str]:
    """What keeps the agent from sending these logs, a sentence each, with the remedy."""
    if not isinstance(logs, list):
        return [f"cloudwatch_agent_logs must be a list of logs, not a {type(logs).__name__}."]
    found = []
    for log in logs:
        if not isinstance(log, Mapping):
            found.append(f"{log!r} is no log: give name and path.")
            continue
        found += _problems_of(log, group, retention, host)
    usable = [log for log in logs if isinstance(log, Mapping)]
    for key in MANDATORY:
        values = [str(log[key]) for log in usable if key in log]
        for value in sorted({value for value in values if values.count(value) > 1}):
            found.append(f'{values.count(value)} logs have the {key} "{value}": each needs one of its own.')
    retentions: dict[str, set[object]] = {}
    for log in usable:
        retentions.setdefault(str(log.get("group", group)), set()).add(log.get("retention", retention))
    found += [
        f"The logs of group {name} have the retentions {', '.join(sorted(map(str, kept)))}: the agent wants one for "
        "each group. Give them the same, or groups of their own."
        for name, kept in sorted(retentions.items())
        if len(kept) > 1
    ]
    return found


def _problems_of(log: Mapping[str, Any], group: str, retention: object, host: str) -> Iterator[str]:
    name = str(log.get("name", ""))
    if not NAME.fullmatch(name):
        yield f'"{name}" is no name of a log: use lower-case letters, digits, "_", "-" and ".".'
    path = str(log.get("path", ""))
    if not path.startswith("/"):
        yield f'The path of log {name} is "{path}": give an absolute one.'
    if re.search(r"[*?\[]", path):
        yield f"The path of log {name} is {path}: the agent would send the newest match only. Give each log an entry."
    if unknown := sorted(set(log) - KEYS):
        yield f"Log {name} has {', '.join(unknown)}, which mean nothing: use {', '.join(sorted(KEYS))}."
    own_group = str(log.get("group", group))
    if not GROUP.fullmatch(own_group):
        yield f'The group of log {name} is "{own_group}": CloudWatch takes letters, digits and _ - / . # only.'
    stream = str(log.get("stream", f"{host}/{name}"))
    if not STREAM.fullmatch(stream):
        yield f'The stream of log {name} is "{stream}": CloudWatch takes no ":" and no "*".'
    kept = log.get("retention", retention)
    if isinstance(kept, bool) or kept not in RETENTIONS:
        yield f"The retention of log {name} is {kept!r}: give one of {', '.join(map(str, RETENTIONS))} days (-1: ever)."
    yield from _time_problems(log, name)
    yield from _start_problems(log, name)


def _time_problems(log: Mapping[str, Any], name: str) -> Iterator[str]:
    timestamp = str(log.get("timestamp", ""))
    used = set(DIRECTIVE.findall(timestamp))
    if unknown := [f"%{directive}" for directive in sorted(used - DIRECTIVES)]:
        yield f"The timestamp of log {name} uses {', '.join(unknown)}, which the agent does not know."
    if timestamp and not ({"H", "I", "-I"} & used and {"M", "-M"} & used and {"d", "-d"} & used):
        yield f'The timestamp of log {name} is "{timestamp}": it needs day, hour and minute.'
    zone = log.get("timezone")
    if zone not in {None, "UTC", "Local"}:
        yield f'The timezone of log {name} is "{zone}": the agent knows UTC and Local.'
    if zone and not timestamp:
        yield f"Log {name} has a timezone without a timestamp, and the agent would ignore it: give both or neither."
    if timestamp and "z" not in used and not zone:
        yield f"The times of log {name} have no zone: say which with timezone (UTC or Local)."


def _start_problems(log: Mapping[str, Any], name: str) -> Iterator[str]:
    start = log.get("start")
    if start is None:
        return
    try:
        re.compile(str(start))
    except re.error as error:
        yield f'The start of log {name} is "{start}", no regular expression: {error}.'
    if NOT_IN_GO.search(str(start)):
        yield f'The start of log {name} is "{start}": the agent knows neither lookaround nor back references.'
    if not str(start).startswith("^"):
        yield f'The start of log {name} is "{start}": begin it with ^, or any line that has it inside begins an event.'


def entry(log: Mapping[str, Any], group: str, retention: int, host: str) -> dict[str, Any]:
    """What the agent is told of one log."""
    made: dict[str, Any] = {
        "file_path": log["path"],
        "log_group_name": log.get("group", group),
        "log_stream_name": log.get("stream", f"{host}/{log['name']}"),
        "retention_in_days": log.get("retention", retention),
    }
    for key, name in (
        ("timestamp", "timestamp_format"),
        ("timezone", "timezone"),
        ("start", "multi_line_start_pattern"),
    ):
        if log.get(key):
            made[name] = log[key]
    return made


def configuration(
    logs: Sequence[Mapping[str, Any]],
    *,
    user: str,
    group: str,
    host: str,
    retention: int,
    namespace: str,
    dimensions: Mapping[str, str],
    disks: Sequence[str],
    interval: int,
    region: str = "",
    endpoint: str = "",
) -> dict[str, Any]:
    """The agent's whole configuration. Raises WebappsError, naming every problem."""
    if found := problems(list(logs), group, retention, host):
        raise WebappsError(f"cloudwatch_agent_logs cannot be used. {' '.join(found)}")
    agent: dict[str, Any] = {"metrics_collection_interval": interval, "run_as_user": user}
    if region:
        agent["region"] = region
    metrics: dict[str, Any] = {
        "namespace": namespace,
        "metrics_collected": {
            "mem": {"measurement": ["used_percent", "available"]},
            "swap": {"measurement": ["used_percent"]},
            "disk": {
                "measurement": ["used_percent", "free", "inodes_free"],
                "resources": list(disks),
                "drop_device": True,
            },
        },
    }
    if dimensions:
        metrics["append_dimensions"] = dict(dimensions)
    collected: dict[str, Any] = {
        "logs_collected": {"files": {"collect_list": [entry(log, group, retention, host) for log in logs]}},
        "log_stream_name": host,
    }
    if endpoint:
        metrics["endpoint_override"] = endpoint
        collected["endpoint_override"] = endpoint
    made = {"agent": agent, "metrics": metrics}
    return made | {"logs": collected} if logs else made
