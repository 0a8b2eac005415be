"""A server that speaks S3, on loopback: moto's, over real HTTP, in a thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

KEYS = {"AWS_ACCESS_KEY_ID": "canary-key-4711", "AWS_SECRET_ACCESS_KEY": "canary-secret-4711"}
"""Any will do; these are looked for in what is said."""
PLAIN = {**KEYS, "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}


@contextmanager
def serving(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve, and yield HOST:PORT."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(host, port, verbose=False)
    server.start()
    try:
        found = server.get_host_and_port()
        yield f"{found[0]}:{found[1]}"
    finally:
        server.stop()


def make(bucket: str, address: str) -> None:
    """Make a bucket."""
    from pyarrow.fs import S3FileSystem

    S3FileSystem(endpoint_override=address, scheme="http", region="us-east-1", allow_bucket_creation=True,
                 access_key="any", secret_key="any").create_dir(bucket)  # fmt: skip
