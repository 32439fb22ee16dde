"""What cron and logrotate's successor are told."""

from __future__ import annotations

from typing import Any

from tests.templates.render import render, value

JOBS = [
    {"name": "report", "schedule": "@weekly", "command": "true", "once_per_fleet": True},
    {"name": "check", "schedule": "*/5 * * * *", "command": "true", "once_per_fleet": False},
    {"name": "sweep", "schedule": "15 3 * * *", "command": "secret"},
]


def scheduled(**given: Any) -> list[str]:
    lines = render("cron", "cron.j2", cron_jobs=JOBS, **given).splitlines()
    return [line for line in lines if "cron-job" in line]


def test_a_job_is_a_line_of_the_table_without_its_command() -> None:
    program = "root /usr/local/lib/webapps/cron-job /etc/webapps/cron-amy.example.org.json"
    assert scheduled() == [
        f"@weekly {program} report",
        f"*/5 * * * * {program} check",
        f"15 3 * * * {program} sweep",
    ]


def test_nobody_gets_mail() -> None:
    assert 'MAILTO=""' in render("cron", "cron.j2").splitlines()


def test_what_runs_once_per_fleet_is_on_one_host() -> None:
    assert [line.split()[-1] for line in scheduled(cron_runs_once_per_fleet=False)] == ["check", "sweep"]
    assert [job["name"] for job in value("cron", "__cron_settings", cron_jobs=JOBS)["jobs"]] == [
        "report",
        "check",
        "sweep",
    ]


def test_cron_reads_the_table() -> None:
    assert "." not in value("cron", "__cron_table").removeprefix("/etc/cron.d/")


def test_the_logs_unit_may_write_logs_alone() -> None:
    lines = render("app_logs", "service.j2").splitlines()
    assert {"ProtectSystem=strict", "ReadWritePaths=/webapps/amy.example.org/logs"} <= set(lines)
    assert value("app_logs", "__app_logs_settings", app_logs_size="20M")["size"] == 20 * 1024 * 1024
