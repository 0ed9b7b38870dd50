"""S3-compatible storage for tests: moto's server on a free port, one for the run, a bucket for each test."""

import itertools
from collections.abc import Iterator

import httpx2
import pytest
from moto.server import ThreadedMotoServer

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(s3_endpoint: str) -> str:
    """The storage URL of a fresh bucket."""
    name = f"files-{next(NUMBERS)}"
    assert (
        httpx2.put(
            f"{s3_endpoint}/{name}", headers={"authorization": "AWS4-HMAC-SHA256 Credential=k/20250101/us-east-1/s3/aws4_request"}
        ).status_code
        == 200
    )
    return f"s3://key:s3cr%2Fet@{name}/mail/blobs?endpoint={s3_endpoint}&region=us-east-1"
