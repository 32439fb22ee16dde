# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put dumps into an S3 bucket, encrypted there, and see that they arrived whole."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# Parts of an upload; S3 takes 10,000 of them, so dumps may have 640 GiB.
PART_SIZE = 64 << 20
# How botocore's messages name AWS's error code.
CODE = re.compile(r"error occurred \((\w+)\)")
REMEDIES = {
    "AccessDenied": "Allow the instance's role s3:PutObject and s3:GetObject on the bucket's objects, and with a "
    "KMS key kms:GenerateDataKey and kms:Decrypt.",
    "NoSuchBucket": "Correct pg_backup_s3.bucket, or make the bucket.",
    "404": "Allow the instance's role s3:GetObject on the bucket's objects.",
    "403": "Allow the instance's role s3:GetObject on the bucket's objects, and with a KMS key kms:Decrypt.",
}


@dataclass(frozen=True)
class Bucket:
    """Where dumps go. ``encryption``: AES256 or aws:kms. ``endpoint_url``: "" for AWS's own."""

    name: str
    prefix: str = ""
    encryption: str = "AES256"
    kms_key_id: str = ""
    region: str = ""
    endpoint_url: str = ""

    def key(self, path: Path) -> str:
        return f"{self.prefix.strip('/')}/{path.name}".lstrip("/")


def bucket_of(given: Mapping[str, Any]) -> Bucket | None:
    """The bucket as the inputs describe it, None when they name none. Raises WebappsError."""
    values = {key: value for key, value in given.items() if value not in (None, "")}
    name = values.pop("bucket", "")
    if not name:
        return None
    bucket = Bucket(name, **values)
    if bucket.kms_key_id and bucket.encryption != "aws:kms":
        raise WebappsError(
            f"pg_backup_s3.kms_key_id is set and pg_backup_s3.encryption is {bucket.encryption}: set it to aws:kms."
        )
    return bucket


def upload(bucket: Bucket, files: Sequence[Path], client: Any = None) -> str:
    """Upload a dump and what proves it, the dump last, and return its address. Raises WebappsError."""
    try:
        from boto3 import client as new_client
        from boto3.exceptions import Boto3Error
        from boto3.s3.transfer import TransferConfig
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise WebappsError(
            "boto3 is missing on this host: run playbooks/site.yml, which installs python3-boto3."
        ) from None
    dump, *proofs = files
    try:
        used = client or new_client("s3", region_name=bucket.region or None, endpoint_url=bucket.endpoint_url or None)
        config = TransferConfig(multipart_threshold=PART_SIZE, multipart_chunksize=PART_SIZE, max_concurrency=2)
        for path in [*proofs, dump]:
            used.upload_file(str(path), bucket.name, bucket.key(path), ExtraArgs=_arguments(bucket), Config=config)
            head = used.head_object(Bucket=bucket.name, Key=bucket.key(path), ChecksumMode="ENABLED")
            assert_arrived(bucket, path, head)
    except (BotoCoreError, ClientError, Boto3Error) as error:
        code = CODE.search(str(error))
        remedy = REMEDIES.get(code[1] if code else "", "")
        raise WebappsError(
            f"{dump.name} is proven on this host and could not be put into the bucket {bucket.name}: {error} {remedy}"
        ) from None
    return f"s3://{bucket.name}/{bucket.key(dump)}"


def _arguments(bucket: Bucket) -> dict[str, str]:
    # S3 computes the checksum itself and refuses what does not arrive as it was sent.
    arguments = {"ServerSideEncryption": bucket.encryption, "ChecksumAlgorithm": "SHA256"}
    if bucket.kms_key_id:
        arguments["SSEKMSKeyId"] = bucket.kms_key_id
    return arguments


def assert_arrived(bucket: Bucket, path: Path, head: Mapping[str, Any]) -> None:
    """Raises WebappsError unless the object is the file, encrypted as asked for."""
    size, expected = path.stat().st_size, checksum(path)
    found = (head.get("ContentLength"), str(head.get("ChecksumSHA256", "")).partition("-")[0])
    if found != (size, expected):
        raise WebappsError(
            f"s3://{bucket.name}/{bucket.key(path)} has {found[0]} bytes and the SHA-256 checksum "
            f"{found[1] or 'none'}, {path} has {size} and {expected}: the upload is not the dump. Back up again."
        )
    if head.get("ServerSideEncryption") != bucket.encryption:
        raise WebappsError(
            f"s3://{bucket.name}/{bucket.key(path)} is encrypted by {head.get('ServerSideEncryption')}, not by "
            f"{bucket.encryption} (pg_backup_s3.encryption): look at the bucket's own encryption and policy."
        )


def checksum(path: Path, part_size: int = PART_SIZE) -> str:
    """The checksum that S3 gives a file: of its content, or of its parts' checksums when it was sent in several."""
    digests = []
    with path.open("rb") as stream:
        while part := _part(stream, part_size):
            digests.append(part)
    if not digests:
        digests.append(hashlib.sha256(b"").digest())
    # A file of exactly one threshold is sent in parts, too.
    whole = len(digests) == 1 and path.stat().st_size < part_size
    return base64.b64encode(digests[0] if whole else hashlib.sha256(b"".join(digests)).digest()).decode()


def _part(stream: Any, size: int) -> bytes:
    digest, left = hashlib.sha256(), size
    while left and (block := stream.read(min(left, 1 << 20))):
        digest.update(block)
        left -= len(block)
    return digest.digest() if left < size else b""
