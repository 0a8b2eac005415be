"""The command watches the head of its cluster: where nobody listens any more, it ends by itself, with 75 and a word."""

from __future__ import annotations

import os

CODE = """
import socket, sys, time
from pathlib import Path
from harness.launch import head
from harness.stop import Stop

head.LOST, head.EVERY, head.SAVED = 0.5, 0.1, 0.1
path = Path(sys.argv[1], "asked")
stop = Stop(str(path), heeded=True)
server = socket.create_server(("127.0.0.1", 0))
with head.watched(f"127.0.0.1:{server.getsockname()[1]}", stop, lambda why: print(why, flush=True)):
    time.sleep(1)
    print("still here", flush=True)
    if sys.argv[2] == "lost":
        server.close()
        while not path.exists():
            time.sleep(0.01)
        print("trials were asked to stop", flush=True)
        time.sleep(30)
"""


def test_a_head_that_goes_ends_the_command(run_python, tmp_path):
    process = run_python(CODE, str(tmp_path / "stop"), "lost")
    said, fault = process.communicate(timeout=60)
    assert process.returncode == 75, fault
    first, then, last = said.splitlines()
    assert (first, then) == ("still here", "trials were asked to stop")
    assert last.startswith("the head at 127.0.0.1:") and "has not answered for 0.5 seconds" in last
    assert not os.listdir(tmp_path), "the request is withdrawn"


def test_one_that_stays_does_not(run_python, tmp_path):
    process = run_python(CODE, str(tmp_path / "stop"), "there")
    assert process.communicate(timeout=60)[0] == "still here\n" and process.returncode == 0
