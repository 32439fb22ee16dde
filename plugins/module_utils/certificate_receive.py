# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the issuing host may do here, and nothing else: ask which certificate is in place, and send a newer one.

sshd starts it as the forced command of the issuer's key, for one application; what the issuer wants is in
``SSH_ORIGINAL_COMMAND``. The user it runs as owns the directory of the bundles and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

from ansible_collections.carpentries.webapps.plugins.module_utils import certificates
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, run_here
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def answer(run: Run, place: certificates.Place, wish: str, body: BinaryIO, now: float) -> dict[str, object]:
    """Do what the issuer wants, and say what is in place then. Raises WebappsError when it is refused."""
    if wish == "status":
        seen = certificates.current(run, place)
        issued = seen.not_before if seen and not seen.self_signed else None
        return {"fingerprint": seen.fingerprint if seen else None, "issued": issued}
    if wish == "install":
        bundle = body.read(certificates.LARGEST + 1)
        if len(bundle) > certificates.LARGEST:
            raise WebappsError(f"The bundle is larger than {certificates.LARGEST} bytes: send one key and its chain.")
        changed, installed = certificates.install(run, place, bundle, now)
        return {"fingerprint": installed.fingerprint, "changed": changed}
    raise WebappsError(f'"{wish}" is not known here: this key may ask for "status" and "install".')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="the file that nginx reads")
    parser.add_argument("--names", required=True, help="host names the certificate must be for, comma-separated")
    options = parser.parse_args()
    place = certificates.Place(options.bundle, tuple(options.names.split(",")))
    try:
        said = answer(run_here, place, os.environ.get("SSH_ORIGINAL_COMMAND", ""), sys.stdin.buffer, time.time())
    except WebappsError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(json.dumps(said))
    return 0
