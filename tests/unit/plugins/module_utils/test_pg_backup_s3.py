"""What is uploaded is in the bucket whole and encrypted, or the upload failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import pg_backup_s3
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_backup_s3 import Bucket
from moto import mock_aws


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="backups")
        yield client


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    names = ["amy.dump", "amy.dump.sha256", "amy.dump.json"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * (number * 1000 + 1))
    return [tmp_path / name for name in names]


@pytest.mark.parametrize("encryption", ["AES256", "aws:kms"])
def test_all_files_arrive_encrypted(client: Any, files: list[Path], encryption: str) -> None:
    bucket = Bucket("backups", prefix="/amy/", encryption=encryption)
    assert pg_backup_s3.upload(bucket, files, client) == "s3://backups/amy/amy.dump"
    for path in files:
        found = client.get_object(Bucket="backups", Key=f"amy/{path.name}")
        assert (found["Body"].read(), found["ServerSideEncryption"]) == (path.read_bytes(), encryption)


def test_a_bucket_that_is_not_there_is_named_with_the_remedy(client: Any, files: list[Path]) -> None:
    with pytest.raises(WebappsError, match=r"nobodys.*NoSuchBucket.*Correct pg_backup_s3\.bucket"):
        pg_backup_s3.upload(Bucket("nobodys"), files, client)


@pytest.mark.parametrize(
    "change",
    [{"ContentLength": 2}, {"ChecksumSHA256": "other"}, {"ChecksumSHA256": None}, {"ServerSideEncryption": "none"}],
)
def test_what_did_not_arrive_as_it_is_is_an_error(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "amy.dump"
    path.write_bytes(b"x")
    head = {"ContentLength": 1, "ChecksumSHA256": pg_backup_s3.checksum(path), "ServerSideEncryption": "AES256"}
    pg_backup_s3.assert_arrived(Bucket("backups"), path, head)
    with pytest.raises(WebappsError, match=r"s3://backups/amy\.dump"):
        pg_backup_s3.assert_arrived(Bucket("backups"), path, {**head, **change})


def test_a_file_in_parts_has_the_checksum_of_its_parts(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "amy.dump"
    path.write_bytes(bytes(range(256)) * (5 << 13))
    part = 5 << 20
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    arguments = {"ChecksumAlgorithm": "SHA256"}
    client.upload_file(str(path), "backups", "amy.dump", ExtraArgs=arguments, Config=config)
    head = client.head_object(Bucket="backups", Key="amy.dump", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"].partition("-")[0] == pg_backup_s3.checksum(path, part)


def test_no_bucket_means_no_upload_and_a_key_means_kms() -> None:
    assert pg_backup_s3.bucket_of({"bucket": None, "encryption": "AES256"}) is None
    with pytest.raises(WebappsError, match="set it to aws:kms"):
        pg_backup_s3.bucket_of({"bucket": "b", "encryption": "AES256", "kms_key_id": "key"})
