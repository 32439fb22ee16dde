"""The running site as one visitor sees it."""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path
from typing import Any

import httpx

from sandbox.fleet import AUTHORITY, BALANCER, DOMAIN

# Longer than the slowest page the application offers.
PATIENCE = 60.0


class Site:
    """A visitor. ``address``: where the domain's HTTPS port is, the balancer's or one host's own.

    ``authority``: whom they trust to sign the site's certificate.
    """

    def __init__(self, address: str = BALANCER, authority: Path = AUTHORITY) -> None:
        self._client = httpx.Client(
            base_url=f"https://{address}",
            headers={"Host": DOMAIN, "Referer": f"https://{DOMAIN}/"},
            verify=ssl.create_default_context(cafile=str(authority)),
            timeout=PATIENCE,
        )
        self._client.event_hooks["request"] = [self._name_the_server]

    @staticmethod
    def _name_the_server(request: httpx.Request) -> None:
        request.extensions["sni_hostname"] = DOMAIN

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path)

    def stylesheet(self) -> str:
        """The path of the stylesheet that the home page asks for."""
        page = self.get("/").text
        links = re.findall(r'href="(/static/[^"]+\.css)"', page)
        if not links:
            raise ValueError(f"the home page links no stylesheet: {page[:300]}")
        return str(links[0])

    def enqueue(self, seconds: float) -> str:
        """Start a job through the form; the path of its page."""
        form = self.get("/jobs/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        if token is None:
            raise ValueError(f"the form has no CSRF token: {form.text[:300]}")
        answer = self._client.post("/jobs/", data={"seconds": str(seconds), "csrfmiddlewaretoken": token[1]})
        if not answer.has_redirect_location:
            raise ValueError(f"the form was answered with {answer.status_code}: {answer.text[:300]}")
        return answer.headers["Location"]

    def job(self, path: str) -> dict[str, Any]:
        job: dict[str, Any] = self.get(f"{path}?format=json").json()
        return job

    def finished_job(self, path: str, patience: float) -> dict[str, Any]:
        """The job once it has ended, or as it is after ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while (job := self.job(path))["state"] not in {"finished", "failed"} and time.monotonic() < deadline:
            time.sleep(1)
        return job
