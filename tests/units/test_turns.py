"""Tests that compare seconds run alone, and files of minutes begin first: what tests/turns.py promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import turns


def started(folder: Path, alone: bool) -> tuple[threading.Event, Callable[[], None]]:
    """Take a turn in a thread; return what tells that it has begun, and how to end it."""
    inside, over = threading.Event(), threading.Event()

    def work() -> None:
        with turns.turn(folder, alone):
            inside.set()
            over.wait(30)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def end() -> None:
        over.set()
        thread.join(30)

    return inside, end


def test_who_is_to_be_alone_waits_for_those_inside_and_nobody_overtakes_him(tmp_path):
    first, second = started(tmp_path, False), started(tmp_path, False)
    assert first[0].wait(30) and second[0].wait(30), "the others run side by side"
    alone, end = started(tmp_path, True)
    assert not alone.wait(0.3)
    later, end_later = started(tmp_path, False)
    first[1]()
    assert not alone.wait(0.3) and not later.wait(0.3)
    second[1]()
    assert alone.wait(30) and not later.wait(0.3)
    end()
    assert later.wait(30)
    end_later()


def test_long_files_begin_first_and_the_others_stay_in_their_order():
    names = ["units/test_turns.py", *reversed(turns.FIRST), "contracts/test_cells.py"]
    ordered = sorted((turns.TESTS / name for name in names), key=turns.place)
    assert ordered == [turns.TESTS / name for name in (*turns.FIRST, "units/test_turns.py", "contracts/test_cells.py")]
    assert turns.place(Path("/elsewhere/test_own.py")) == len(turns.FIRST)
