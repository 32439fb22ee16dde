"""Scripts that bring engine and image stay idle where nothing is to be done. A fake `docker` plays the engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandbox.fleet import ROOT

FAKE_DOCKER = """#!/usr/bin/env bash
# Keeps a journal; knows the image by the label in $IMAGE_LABEL; answers only while $ENGINE is "up".
echo "$*" >> "$JOURNAL"
case "$1 ${2:-}" in
    info*) [ "$ENGINE" = up ] ;;
    "image inspect") case "$*" in *webapps-sandbox*) [ -e "$IMAGE_LABEL" ] && cat "$IMAGE_LABEL" ;; esac ;;
    build*)
        for word; do case $word in org.carpentries*=*) echo "${word#*=}" > "$IMAGE_LABEL" ;; esac; context=$word; done
        ls "$context/ca" >> "$JOURNAL" ;;
esac
"""


class Machine:
    """A machine whose Docker is the fake one."""

    def __init__(self, directory: Path) -> None:
        self.journal = directory / "journal"
        docker = directory / "docker"
        docker.write_text(FAKE_DOCKER)
        docker.chmod(0o755)
        self.environment = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "JOURNAL": str(self.journal),
            "IMAGE_LABEL": str(directory / "label"),
            "ENGINE": "up",
        }

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "sandbox" / script], env=self.environment | environment, text=True, capture_output=True, check=False
        )

    def calls(self, word: str) -> list[str]:
        return [line for line in self.journal.read_text().splitlines() if line.startswith(word)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_engine_that_answers_is_left_alone(machine: Machine) -> None:
    assert machine.run("engine").returncode == 0
    assert machine.journal.read_text() == "info\n"


def test_a_remote_engine_that_does_not_answer_is_not_replaced_by_a_local_one(machine: Machine) -> None:
    result = machine.run("engine", ENGINE="down", DOCKER_HOST="tcp://192.0.2.1:2375")
    assert result.returncode == 1
    assert "DOCKER_HOST=tcp://192.0.2.1:2375" in result.stderr


def test_an_image_is_built_once(machine: Machine) -> None:
    assert machine.run("image/build").returncode == 0
    second = machine.run("image/build")
    assert second.stdout == "webapps-sandbox:bookworm is up to date\n"
    assert len(machine.calls("build")) == 1


def test_each_distribution_has_an_image_of_its_own(machine: Machine) -> None:
    machine.run("image/build", WEBAPPS_DISTRIBUTION="trixie")
    (build,) = machine.calls("build")
    assert "--build-arg DISTRIBUTION=trixie" in build
    assert "--tag webapps-sandbox:trixie" in build


def test_certificates_reach_the_build_only_where_somebody_names_them(machine: Machine, tmp_path: Path) -> None:
    machine.run("image/build")
    assert machine.calls("bundle.pem") == []
    bundle = tmp_path / "authorities.crt"
    bundle.write_text("certificates\n")
    (tmp_path / "label").unlink()
    machine.run("image/build", PIP_CERT=str(bundle))
    assert machine.calls("bundle.pem") == ["bundle.pem"]
