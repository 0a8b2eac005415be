"""A server that speaks S3, on loopback: moto's, over real HTTP, in a thread or as a process of its own.

python tests/s3_server.py HOST PORT      # serves until it is killed; makes the bucket `bucket`
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.objects import place

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


def tell(root: str, file: Path) -> None:
    """Write again and again what lies there, of claims their holders, for a test that is on another network."""
    while True:
        time.sleep(0.3)
        seen = {}
        for path in place(root).rglob("*"):
            with suppress(OSError):
                seen[str(path)] = path.read_bytes().decode() if "/.locks/" in str(path) else ""
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(seen))
        draft.replace(file)


if __name__ == "__main__":
    os.environ |= PLAIN
    with serving(sys.argv[1], int(sys.argv[2])) as there:
        make("bucket", there)
        tell(f"s3://bucket?endpoint_override={there}&scheme=http", Path(sys.argv[3]))
