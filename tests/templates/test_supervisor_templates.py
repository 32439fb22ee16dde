"""What supervisor and logrotate are told."""

from __future__ import annotations

import configparser

from tests.templates.render import render


def test_programs_come_from_a_directory_and_only_root_controls_them() -> None:
    configuration = configparser.ConfigParser(inline_comment_prefixes=None)
    configuration.read_string(render("supervisor", "supervisord.conf.j2", supervisor_minfds=8192))
    assert configuration["include"]["files"] == "/etc/supervisor/conf.d/*.conf"
    assert configuration["unix_http_server"]["chmod"] == "0700"
    assert configuration["supervisord"]["minfds"] == "8192"


def test_every_log_is_rotated_by_renaming_and_a_signal() -> None:
    text = render(
        "supervisor",
        "logrotate.j2",
        supervisor_logs=["a.log", "b.log"],
        supervisor_log_count=3,
        supervisor_log_size="5M",
    )
    lines = [line.strip() for line in text.splitlines()]
    assert lines[3:6] == ["/webapps/amy.example.org/logs/a.log", "/webapps/amy.example.org/logs/b.log", "{"]
    assert {"rotate 3", "maxsize 5M", "create 0640 root amy"} <= set(lines)
    assert "copytruncate" not in lines
    assert "--signal=USR2" in text
