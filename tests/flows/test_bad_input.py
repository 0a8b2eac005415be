"""Bad input through the command itself: exit 2, the place and what is allowed, no traceback, and nothing written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import machine, spec
from harness.cli.main import main
from harness.cli.resume import WAIT
from harness.errors import UserError
from harness.storage.store import open_folder

TEXT = """\
question: Is bad input refused?
set: {hidden_size: 4, examples: 64, evaluations: 1}
sweep:
  - task: {name: digits, steps: 8}
    cell: elman
    bptt_length: [4, null]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused and return what it said."""

    def command(*words: str, code: int = 2) -> str:
        before = sorted(here.rglob("*"))
        assert main(words) == code
        said = capsys.readouterr()
        assert not said.out and "Traceback" not in said.err and said.err.startswith("error: ")
        assert sorted(here.rglob("*")) == before, "something was written"
        return said.err

    return command


FILES = {
    "empty": ("", "x.yaml:1: the file is empty"),
    "list": ("- a\n- b\n", "x.yaml:1: got ['a', 'b']\n  allowed: a mapping with the keys question, name, seeds"),
    "misspelt key": (TEXT.replace("sweep", "sweeep"), "x.yaml:3: sweeep: unknown key 'sweeep'"),
    "misspelt setting": (TEXT.replace("bptt_len", "bptt_lent"), "try: did you mean 'bptt_length'?"),
    "misspelt cell": (TEXT.replace("elman", "elmann"), "x.yaml:5: sweep[0].cell: unknown cell 'elmann'"),
    "misspelt task": (TEXT.replace("digits", "digit"), "did you mean 'digits'?"),
    "import path": (TEXT.replace("elman", "os.system"), "x.yaml:5: sweep[0].cell: unknown cell 'os.system'"),
    "import path of a task": (TEXT.replace("digits", "os.system"), "unknown task 'os.system'"),
    "class": (TEXT.replace("elman", "{cls: os.system}"), "x.yaml:5: sweep[0].cell: got {cls: 'os.system'}"),
    "class beside a name": (TEXT.replace("elman", "{name: elman, cls: os.system}"), "unknown setting"),
    "tag": (TEXT.replace("elman", "!!python/object/apply:os.system ['touch owned']"), "x.yaml:5: sweep[0].cell: tag"),
    "twice": (TEXT + "    cell: gru\n", "x.yaml:7: sweep[0].cell: duplicate key: it stands on line 5 already"),
    "anchor": (TEXT.replace("elman", "&a elman"), "x.yaml:5: sweep[0].cell: anchor &a: anchors are not read"),
    "bomb": ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "x.yaml:2: b: anchor &b"),
    "text number": (TEXT + "    learning_rate: 1e-3\n", "x.yaml:7: sweep[0].learning_rate: 1e-3 is text"),
    "negative": (TEXT.replace("size: 4", "size: -4"), "x.yaml:2: set.hidden_size: got -4\n  allowed: a whole number"),
    "zero": (TEXT.replace("[4,", "[0,"), "x.yaml:6: sweep[0].bptt_length[0]: got 0\n  allowed: a whole number"),
    "syntax": (TEXT.replace("[4,", "[4"), "x.yaml:6"),
    "binary": ("\0\1\2", "NUL"),
    "hostile name": ("name: ../../x\n" + TEXT, "x.yaml:1: name: '../../x' cannot name a benchmark"),
}


@pytest.mark.parametrize("verb", ["show", "run", "report"])
@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_refused_by_every_verb(here: Path, refused: Callable[..., str], case: str, verb: str) -> None:
    text, words = FILES[case]
    (here / "x.yaml").write_text(text)
    assert words in refused(verb, "x.yaml")


def test_all_faults_of_a_file_and_of_the_command_come_at_once(here: Path, refused: Callable[..., str]) -> None:
    (here / "x.yaml").write_text(TEXT.replace("elman", "elmann").replace("size: 4", "size: 0"))
    said = refused("run", "x.yaml", "--set", "layers=0", "--set", "name=/etc/x")
    places = ["--set name=/etc/x", "x.yaml:2: set.hidden_size", "x.yaml:5: sweep[0].cell", "--set layers=0"]
    assert said.count("error: ") == 4 and all(f"error: {place}: " in said for place in places)


def test_a_value_that_cannot_be_read_hides_no_other_fault_and_is_one_fault(
    here: Path, refused: Callable[..., str]
) -> None:
    (here / "x.yaml").write_text("""\
question: Is everything said at once?
set: {hidden_size: 0, learning_rate: 1e-3, layers: !!str 2, threads: [010, -1]}
sweep:
  - task: {name: digits, steps: 9}
    cell: &a [elmann]
    cell: gru
  - *a
  - task: adding
    cell: gru
    kernel: scan
    examples: 64
""")
    said = refused("run", "x.yaml")
    places = [line.removeprefix("error: x.yaml:").partition(": ")[2] for line in said.splitlines() if "error" in line]
    keys = [place.partition(": ")[0] for place in places]
    assert keys == [
        "set.learning_rate", "set.layers", "set.threads[0]", "sweep[0].cell", "sweep[0].cell", "sweep[1]",
        "set.hidden_size", "set.threads[1]", "sweep[0].task.steps",
    ]  # fmt: skip


def test_a_file_of_100_megabytes_is_answered_at_once(here: Path, refused: Callable[..., str]) -> None:
    with (here / "x.yaml").open("wb") as file:
        file.write(b"a: 1\n")
        file.truncate(100_000_000)
    begin = time.process_time()
    assert "x.yaml: 100,000,000 bytes; a benchmark file has at most 1,000,000" in refused("run", "x.yaml")
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Missing argument 'FILE'"),
        (["run", "absent.yaml"], "absent.yaml: no such file"),
        (["run", "."], "a folder"),
        (["run", "a\0b"], "not a possible file name"),
        (["runn", "x.yaml"], "'runn'"),
        (["run", "x.yaml", "--sett", "a=1"], "--sett"),
        (["run", "x.yaml", "--on", "moon"], "'moon' is not one of"),
        (["run", "x.yaml", "--max-concurrent", "0"], "--max-concurrent"),
        (["run", "x.yaml", "--max-concurrent", "two"], "--max-concurrent"),
        (["submit", "x.yaml", "--on", "y.yaml", "--pack", "two"], "--pack: 'two'"),
        (["run", "x.yaml", "--set", "cell=elmann"], "--set cell=elmann: unknown cell"),
        (["run", "x.yaml", "--set", "cell=elman, lstm"], "try: [elman, lstm]"),
        (["run", "x.yaml", "--results", "r\0"], "--results"),
        (["list", "cels"], "Invalid value for 'what': 'cels' is not one of"),
        (["report", "x.yaml"], "harness run"),
        (["report", "."], "no stored trial in this folder\n  try: harness run FILE first"),
        (["report", "x\0y"], "not a possible file name"),
    ],
)
def test_a_bad_command_line_is_refused(here: Path, refused: Callable[..., str], words: list[str], said: str) -> None:
    (here / "x.yaml").write_text(TEXT)
    assert said in refused(*words)


HOSTILE = [
    "../../x", "/etc/x", "a/b", "a\\b", "..", ".", "", " ", "x.", ".x", "-x", "x" * 300, "a\nb", "a\0b", "a b", "Ä",
    "\u202etxt", "\uff0e\uff0e", "con:", "x\u200b", "~", "$HOME", "$(x)", "`x`", "; x", "a\tb",
    "UPPER", "a\u0307", "%2e%2e",
]  # fmt: skip


@given(st.text(max_size=80) | st.text("abz09._-", max_size=70) | st.sampled_from(HOSTILE))
def test_a_name_that_is_taken_is_one_plain_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.getbasetemp()
    path = root / "named.yaml"
    path.write_text(TEXT)
    try:
        taken = spec.load(path, [f"name={name}"]).name
    except UserError as error:
        assert str(error).isprintable() or str(error).replace("\n", "").isprintable()
    else:
        assert taken == name and taken.isascii() and 0 < len(taken) <= 64
        assert (root / taken).resolve().parent == root.resolve() and not taken.endswith(".")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_reaches_no_folder(here: Path, refused: Callable[..., str], name: str) -> None:
    (here / "x.yaml").write_text(TEXT)
    said = refused("run", "x.yaml", "--set", f"name={name}")
    assert "cannot name a benchmark" in said or "no value" in said
    assert all(character.isprintable() for character in said.replace("\n", "")) and len(said) < 700


@pytest.mark.parametrize("results", ["x.yaml", "x.yaml/r", "/proc/r", "n" * 300])
def test_an_unwritable_results_folder_is_refused_before_anything_runs(
    here: Path, refused: Callable[..., str], results: str
) -> None:
    (here / "x.yaml").write_text(TEXT)
    said = refused("run", "x.yaml", "--on", "inline", "--results", results)
    assert "cannot write results" in said and "or another place: --results DIR" in said


def limited(size: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command with no file allowed to grow beyond `size` bytes, as on a disk that is full."""
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
    code += "from harness.cli.main import main; sys.exit(main(sys.argv[2:]))"
    command = [sys.executable, "-B", "-c", code, str(size), *words]  # -B: no compiled file is cut short and kept
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(here: Path) -> None:
    (here / "x.yaml").write_text(TEXT)
    run = ["run", "x.yaml", "--on", "inline", "--wandb", "off"]
    for size, stored in ((1_000, 0), (20_000, 2)):  # too little for a record; enough for records, not for the page
        done = limited(size, *run)
        assert done.returncode == 75, done.stderr
        assert "Traceback" not in done.stderr and "File too large" in done.stderr and "same command" in done.stderr
        assert len(open_folder(here / "results" / "x")) == stored
        assert not list((here / "results").rglob(".tmp-*"))
    full = limited(2, *run)  # before anything is trained
    assert full.returncode == 2 and "cannot write results" in full.stderr and "ulimit -f" in full.stderr
    assert "Traceback" not in full.stderr
    before = [path.stat().st_mtime_ns for path in sorted(here.rglob("*.parquet"))]
    assert limited(10**9, *run).returncode == 0
    assert before == [path.stat().st_mtime_ns for path in sorted(here.rglob("*.parquet"))]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_far_it_is(here: Path, number: int) -> None:
    (here / "x.yaml").write_text("seeds: 500\n" + TEXT)
    command = [sys.executable, "-m", "harness", "run", "x.yaml", "--on", "inline", "--wandb", "off"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not list(here.rglob("*.parquet")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    stored = len(open_folder(here / "results" / "x"))
    assert process.returncode == 75 and stored
    told = f"error: stopped; {stored} of 1000 trials are stored; type the same command to go on\n"
    assert said in (told, WAIT.decode() + told), "the latter where a trial was training at that moment"


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ("tune", "workers: 60 of 100 threads each, and this machine has"),
        ("inline", "workers: 60 need processes of their own, and --on inline has one\n  try: --on tune"),
    ],
)
def test_workers_that_have_no_room_are_refused(here: Path, refused: Callable[..., str], on: str, words: str) -> None:
    (here / "x.yaml").write_text(TEXT.replace("{hidden", "{workers: 60, threads: 100, batch_size: 64, hidden"))
    assert words in refused("run", "x.yaml", "--on", on)


@pytest.mark.skipif(bool(machine.gpu_names()), reason="there is a GPU here")
@pytest.mark.parametrize("words", [("--on", "tune"), ("--on", "inline"), ("--set", "workers=2")])
def test_a_share_of_a_gpu_that_is_not_there_is_refused(
    here: Path, refused: Callable[..., str], words: tuple[str, str]
) -> None:
    (here / "x.yaml").write_text(TEXT)
    said = refused("run", "x.yaml", "--gpus-per-trial", "0.5", *words)
    assert said == (
        "error: --gpus-per-trial 0.5, and this machine has no GPU\n"
        "  try: leave out --gpus-per-trial: trials then run on CPUs\n"
    )
