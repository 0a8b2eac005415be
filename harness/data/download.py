"""One file over HTTP: with progress, taken up again where it was cut, and never under its name before it is whole.

What has come so far lies in a `.part` beside the place, which nothing reads as data. The caller checks the content.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import Fault, Stopped, UserError
from harness.storage.files import explained, make_folder

PIECE = 1 << 16
TRIES = 3
TIMEOUT = (10, 60)
"""Seconds to connect, and without any byte."""
MOST_BYTES = 2 << 30
Progress = Callable[[int, int | None], object]
"""Told bytes so far and bytes in all, if the server says so."""


def download(url: str, part: Path, progress: Progress = lambda done, whole: None, most: int = MOST_BYTES) -> Path:
    """Fetch into `part`, from where it ends if something lies there already, and return it when it is whole.

    Raises Stopped (the same command goes on) without a network, after a cut, or on a full disk; UserError where the
    server has no such file.
    """
    import requests
    import urllib3

    make_folder(part.parent)
    for attempt in range(1, TRIES + 1):
        before = _size(part)
        with explained("the download", part):
            try:
                return _once(url, part, progress, most)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:  # some are OSErrors too
                came, why = _size(part), _plainly(error)
        if came <= before and attempt > 1:  # nothing more comes: trying on would only wait
            break
    have = f"; {came:,} bytes are kept, from which it goes on" if came else ""
    raise Stopped(f"cannot download {url}: {why}{have}\n  try: run the same command again, or set HARNESS_DATA_MIRROR")


def _once(url: str, part: Path, progress: Progress, most: int) -> Path:
    import requests

    start = _size(part)
    headers = {"Accept-Encoding": "identity", "User-Agent": "rnn-harness"}
    headers |= {"Range": f"bytes={start}-"} if start else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # what is there is no beginning of what the server has, or all of it
            whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if whole == str(start):
                return part
            part.unlink()
            raise requests.ConnectionError("what was kept is no part of the file")
        if 400 <= answer.status_code < 500:
            what = f"the server answers {answer.status_code} {answer.reason}"
            raise UserError(Fault(what, where=url, remedy="set HARNESS_DATA_MIRROR to a folder of local copies"))
        answer.raise_for_status()
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        _write(answer, part, start if goes_on else 0, progress, most)
    return part


def _write(answer: Any, part: Path, start: int, progress: Progress, most: int) -> None:
    length = answer.headers.get("Content-Length")
    whole = start + int(length) if length and length.isdecimal() else None
    with part.open("r+b" if start else "wb") as file:
        done = file.seek(start)
        file.truncate()
        while piece := answer.raw.read1(PIECE):  # what has come before a cut is kept, to the last byte
            done += len(piece)
            if done > most:
                file.truncate(0)
                raise UserError(Fault(f"more than {most:,} bytes come", where=answer.url, allowed=f"up to {most:,}"))
            file.write(piece)
            progress(done, whole)


def _plainly(error: Exception) -> str:
    """The innermost reason of an error of the network, in a line."""
    while error.__cause__ or (error.args and isinstance(error.args[0], Exception)):
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error.args[0]
    text = str(getattr(error, "reason", "") or error) or type(error).__name__
    return text.splitlines()[0][:200]


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
