"""A release's stand-in: answers every request on a unix socket with what it received, as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

SOCKET, RELEASE = sys.argv[1:]


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/slow/"):
            time.sleep(3)
        seen = {
            "release": RELEASE,
            "method": self.command,
            "path": self.path,
            "body": body.decode(),
            "version": self.request_version,
        }
        text = json.dumps(seen | {"headers": dict(self.headers)}).encode()
        self.send_response(int(self.path.split("/")[2]) if self.path.startswith("/status/") else 200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Release", RELEASE)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_HEAD = answer  # noqa: N815

    def address_string(self) -> str:
        return "unix"


Path(SOCKET).unlink(missing_ok=True)
os.umask(0)
ThreadingUnixStreamServer(SOCKET, Handler).serve_forever()
