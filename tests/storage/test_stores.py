"""Both kinds of store keep, give back and remove the same bytes, and say in words what is wrong with them."""

import os
import stat
from pathlib import Path

import pytest

from tidings.errors import Invalid, NotFound, Unavailable
from tidings.storage import Folder, Store, open_store, sha256

DATA = os.urandom(700_000)
NAME = sha256(DATA)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = "" if request.param == "folder" else request.getfixturevalue("s3_url")
    return open_store(url, tmp_path)


async def streamed(store: Store, tenant_id: int, digest: str) -> list[bytes]:
    return [chunk async for chunk in store.stream(tenant_id, digest)]


async def test_what_was_put_is_given_back_whole_and_in_pieces(store: Store):
    await store.put(7, NAME, DATA)
    assert await store.get(7, NAME) == DATA
    pieces = await streamed(store, 7, NAME)
    assert b"".join(pieces) == DATA
    assert len(pieces) > 1


async def test_an_empty_file_is_a_file(store: Store):
    await store.put(7, sha256(b""), b"")
    assert await store.get(7, sha256(b"")) == b""
    assert b"".join(await streamed(store, 7, sha256(b""))) == b""


async def test_a_large_file_is_kept(store: Store):
    large = os.urandom(1024 * 1024) * 25
    await store.put(7, sha256(large), large)
    assert await store.get(7, sha256(large)) == large


async def test_putting_twice_and_dropping_twice_is_putting_and_dropping(store: Store):
    for _ in range(2):
        await store.put(7, NAME, DATA)
    for _ in range(2):
        await store.drop(7, NAME)
    with pytest.raises(NotFound, match="is gone"):
        await store.get(7, NAME)
    with pytest.raises(NotFound, match="is gone"):
        await streamed(store, 7, NAME)
    await store.put(7, NAME, DATA)
    assert await store.get(7, NAME) == DATA


async def test_another_tenants_file_is_not_there(store: Store):
    await store.put(7, NAME, DATA)
    await store.drop(8, NAME)
    with pytest.raises(NotFound):
        await store.get(8, NAME)
    assert await store.get(7, NAME) == DATA


async def test_what_is_not_what_was_put_is_not_given_out(store: Store):
    await store.put(7, NAME, b"something else")
    with pytest.raises(NotFound, match="damaged"):
        await store.get(7, NAME)


async def test_nothing_but_a_hash_names_a_file(store: Store):
    for name in ("../../../etc/passwd", NAME.upper(), NAME[:-1], ""):
        with pytest.raises(ValueError, match="no SHA-256"):
            await store.get(7, name)


async def test_a_bucket_holds_the_file_below_its_prefix_and_shows_no_secret(s3_url: str, tmp_path: Path):
    store = open_store(s3_url, tmp_path)
    await store.put(7, NAME, DATA)
    above = open_store(s3_url.replace("/mail/blobs", "/mail"), tmp_path)
    with pytest.raises(NotFound) as gone:
        await above.get(7, NAME)
    assert store.url.startswith("s3://files-")
    assert "/mail/blobs at http://127.0.0.1:" in store.url
    assert "s3cr" not in store.url + gone.value.message


async def test_credentials_come_from_the_environment_where_the_url_has_none(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bare = "s3://" + s3_url.partition("@")[2]
    await open_store(bare, tmp_path).put(7, NAME, DATA)
    assert await open_store(s3_url, tmp_path).get(7, NAME) == DATA


async def test_a_bucket_that_is_not_there_or_a_server_that_is_away_is_unavailable(s3_url: str, tmp_path: Path):
    missing = open_store(s3_url.replace("@files-", "@no-files-"), tmp_path)
    with pytest.raises(Unavailable, match="cannot be reached") as told:
        await missing.put(7, NAME, DATA)
    assert "s3cr" not in told.value.message
    with pytest.raises(Unavailable, match="no such bucket"):
        await missing.get(7, NAME)
    away = open_store("s3://key:secret@files/?endpoint=http://127.0.0.1:1&region=x", tmp_path)
    with pytest.raises(Unavailable, match=r"s3://files at http://127\.0\.0\.1:1 cannot be reached"):
        await away.get(7, NAME)


async def test_a_file_lies_below_its_tenant_readable_by_its_owner_alone_and_nothing_lies_beside_it(tmp_path: Path):
    await Folder(tmp_path / "blobs").put(7, NAME, DATA)
    path = tmp_path / "blobs" / "7" / NAME[:2] / NAME
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [NAME]


async def test_a_folder_that_is_not_there_is_away_and_has_lost_no_file(tmp_path: Path):
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Folder(tmp_path / "share").get(7, NAME)


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Folder(tmp_path / "file").put(7, NAME, DATA)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://host/x", "must begin with s3:// or file:///"),
        ("file://host/x", "an absolute path"),
        ("file:///", "an absolute path"),
        ("s3:///prefix", "names no bucket"),
        ("s3://key@bucket", "half of its credentials"),
        ("s3://bucket?regoin=x", "unknown option 'regoin'"),
        ("s3://bucket?endpoint=minio:9000", "must begin with http"),
        ("s3://bucket?style=wide", "path or virtual"),
    ],
)
def test_a_url_that_means_no_store_is_named(url: str, complaint: str, tmp_path: Path):
    with pytest.raises(Invalid, match=complaint):
        open_store(url, tmp_path)


def test_a_folder_of_its_own_is_used(tmp_path: Path):
    store = open_store(f"file://{tmp_path}/a%20b", Path("elsewhere"))
    assert isinstance(store, Folder)
    assert store.root == tmp_path / "a b"
