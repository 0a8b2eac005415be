"""Every verb against a head on loopback: Ray's own client, real HTTP, no cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from ray_head import Head, serving

from harness.cli import main as cli
from harness.errors import UserError
from harness.jobs import client, cluster, follow
from harness.jobs.client import Job, Unreachable

BENCHMARK = """
question: Does it go?
seeds: 1
set: {examples: 100, hidden_size: 4}
sweep:
  - {task: {name: adding, length: 8}, cell: elman}
"""
VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")


@pytest.fixture
def head():
    with serving(Head()) as served:
        yield served


@pytest.fixture
def place(tmp_path, monkeypatch, head):
    """A folder with a benchmark and a cluster's file, and an environment without a token."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what the command sets is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(follow, "NAP", 0.02)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "go.yaml").write_text(BENCHMARK)
    (tmp_path / "shared").mkdir()
    cluster = f"dashboard: {head.url}\nresults: {tmp_path}/shared\ncache: /shared/cache\n"
    (tmp_path / "here.yaml").write_text(cluster)
    return tmp_path


def harness(*words: str) -> int:
    return cli.main(list(words))


def submitted(capsys) -> str:
    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml") == 0
    return capsys.readouterr().out


def test_submit_sends_the_allowed_files_and_says_the_plain_command(place, head, capsys):
    out = submitted(capsys)
    (job,) = head.jobs
    asked = json.loads(head.bodies[0])
    results = f"{place}/shared"
    command = f"python -m harness run benchmarks/go.yaml --on cluster --results {results}"
    assert asked["entrypoint"] == command and job.startswith("go-")
    assert asked["runtime_env"]["env_vars"] == {"HARNESS_CACHE": "/shared/cache"}
    assert asked["metadata"]["benchmark"] == "go"
    files = head.uploaded()
    assert files["benchmarks/go.yaml"].decode() == BENCHMARK
    assert {"harness/cli/main.py", "harness/COMMIT", "harness/data/sets/ptb.yaml"} <= files.keys()
    assert not [name for name in files if not name.startswith(("harness/", "benchmarks/go.yaml"))]
    assert "upload: " in out and " KiB" in out
    assert f"ray job submit --address {head.url} --submission-id {job} --working-dir" in out
    assert f"harness status {job} --follow" in out


def test_a_dry_run_sends_nothing(place, head, capsys):
    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml", "--dry-run") == 0
    assert not head.requests and "nothing was sent" in capsys.readouterr().out


CANARY = "canary-8c1f0e6b"


def test_no_secret_leaves_this_machine(place, head, capfd, monkeypatch):
    """Whatever lies about, and whatever the environment holds: nothing that is sent, said or kept holds the canary."""
    for name in ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "HARNESS_SECRET"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("RAY_AUTH_TOKEN", CANARY)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    secrets = [
        ".env",
        ".netrc",
        "id_rsa",
        "server.pem",
        ".git/config",
        "wandb/run/x",
        "results/go/x.csv",
        ".aws/credentials",
    ]
    for name in [*secrets, *(f"benchmarks/{name}" for name in secrets)]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(CANARY)
    (place / "benchmarks" / "passwords").symlink_to(place / ".env")
    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml") == 0
    said = capfd.readouterr()
    kept = [path.read_bytes() for path in (place / "results" / ".jobs").rglob("*") if path.is_file()]
    everything = [*head.uploaded().values(), *kept, *(body.encode() for body in head.bodies)]
    everything += [said.out.encode(), said.err.encode(), "".join(head.requests).encode()]
    assert kept and not [1 for content in everything if CANARY.encode() in content]


@pytest.mark.parametrize(
    ("state", "more", "code"),
    [
        ("SUCCEEDED", {"driver_exit_code": 0}, 0),
        ("FAILED", {"driver_exit_code": 5}, 5),
        ("FAILED", {"driver_exit_code": 2}, 2),
        ("FAILED", {"driver_exit_code": 1}, 1),
        ("FAILED", {"driver_exit_code": 137}, 75),
        ("FAILED", {"message": "Job supervisor actor died unexpectedly"}, 75),
        ("FAILED", {"message": "runtime_env setup failed"}, 1),
        ("STOPPED", {}, 75),
        ("RUNNING", {}, 4),
        ("PENDING", {}, 4),
    ],
)
def test_status_ends_with_the_truth(place, head, capsys, state, more, code):
    head.add("go-1", state, **more)
    assert harness("status", "go-1", "--on", "here.yaml") == code
    assert f"go-1: {state}" in capsys.readouterr().out


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("STOPPED", 75), ("FAILED", 1)])
def test_following_takes_a_broken_stream_up_again_and_says_each_line_once(place, head, capsys, state, code):
    log = "".join(f"line {i}\n" for i in range(50))
    head.add("go-1", "RUNNING", log)
    head.breaks, head.ends = 3, {"status": state, "message": "it ended"}
    assert harness("logs", "go-1", "--on", "here.yaml", "--follow") == code
    out = capsys.readouterr().out
    assert out.startswith(log) and out.count("line 7\n") == 1 and head.streams == 4


def test_a_stream_that_stands_still_is_asked_again(place, head, capsys, monkeypatch):
    monkeypatch.setattr(follow, "QUIET", 1.0)
    head.add("go-1", "RUNNING", "one\ntwo\nthree\n")
    head.hangs, head.ends = 2, {"status": "SUCCEEDED"}
    assert harness("logs", "go-1", "--on", "here.yaml", "--follow") == 0
    assert capsys.readouterr().out.startswith("one\ntwo\nthree\ngo-1: SUCCEEDED") and head.streams >= 3


def test_who_stops_following_is_told_that_the_job_goes_on(place, head, run_python):
    head.add("go-1", "RUNNING", "a line\n" * 10)
    head.hangs = 10
    code = """
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background ignores it
        from harness.cli import main as cli
        sys.exit(cli.main(["logs", "go-1", "--on", "here.yaml", "--follow"]))
    """
    process = run_python(code)
    assert process.stdout.readline() == "a line\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75 and "go-1 goes on" in err and "Traceback" not in err


def test_a_cluster_that_falls_silent_is_no_success(place, head, capsys):
    head.add("go-1", "RUNNING", "a line\n")
    there = cluster.read("here.yaml")
    connected = client.connect(there)
    head.token = "another from now on"
    with pytest.raises(UserError, match="token"):
        follow.follow(connected, there, "go-1", print, patience=0.2)
    head.token, head.breaks = "", 10**6
    gone = there.model_copy(update={"dashboard": "http://127.0.0.1:9"})
    connected._address = gone.dashboard
    with pytest.raises(Unreachable, match="silent") as caught:
        follow.follow(connected, gone, "go-1", print, patience=0.2)
    assert caught.value.exit_code == 75


def test_an_unknown_job_is_named_beside_those_that_exist(place, head, capsys):
    head.add("go-20260101", "RUNNING")
    assert harness("status", "go-20260102", "--on", "here.yaml") == 2
    err = capsys.readouterr().err
    assert "no job 'go-20260102'" in err and "did you mean 'go-20260101'?" in err


def test_every_job_of_a_cluster_is_listed(place, head, capsys):
    head.add("one", "RUNNING", start_time=1_000)
    head.add("two", "STOPPED", start_time=2_000, end_time=3_000)
    assert harness("status", "--on", "here.yaml") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["two", "one"]


def test_stop_waits_for_the_end_and_resume_goes_on(place, head, capsys):
    submitted(capsys)
    (job,) = head.jobs
    assert harness("resume") == 2 and "still PENDING" in capsys.readouterr().err
    assert harness("stop") == 0 and f"{job}: STOPPED" in capsys.readouterr().out
    assert harness("stop", job) == 2 and "has ended already" in capsys.readouterr().err
    assert harness("status", job) == 75
    assert harness("resume", job) == 0
    first, second = (json.loads(body) for body in head.bodies)
    assert first["entrypoint"] == second["entrypoint"] and first["submission_id"] != second["submission_id"]


def test_a_job_that_cannot_be_stopped_is_said_to_go_on(place, head, capsys, monkeypatch):
    monkeypatch.setattr("harness.cli.jobs.STOPPING", 0.1)
    head.add("go-1", "PENDING")
    head.stops = False
    assert harness("stop", "go-1", "--on", "here.yaml") == 4


def test_resume_shows_how_the_benchmark_changed_and_refuses(place, head, capsys):
    submitted(capsys)
    harness("stop")
    (place / "benchmarks" / "go.yaml").write_text(BENCHMARK.replace("100", "200"))
    assert harness("resume") == 2
    err = capsys.readouterr().err
    assert "-set: {examples: 100" in err and "+set: {examples: 200" in err and "--changed" in err
    assert harness("resume", "--changed") == 0


def test_resume_refuses_when_own_data_have_changed(place, head, capsys):
    (place / "mine.txt").write_text("some text to learn\n" * 50)
    task = "{name: autocomplete, data: mine.txt}, bptt_length: 8"
    text = BENCHMARK.replace("{name: adding, length: 8}", task).replace("examples", "tokens")
    (place / "benchmarks" / "go.yaml").write_text(text)
    submitted(capsys)
    assert "mine.txt" in head.uploaded()
    harness("stop")
    (place / "mine.txt").write_text("another text to learn\n" * 50)
    assert harness("resume") == 2 and "its own data, or the code, have changed" in capsys.readouterr().err
    assert harness("resume", "--changed") == 0


def test_a_trial_that_no_node_can_hold_is_refused_before_it_waits_for_ever(place, head, capsys):
    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml", "--set", "threads=3") == 2
    assert "needs 3 CPUs on one node, and the largest node has 2" in capsys.readouterr().err
    assert not head.jobs
    with (place / "here.yaml").open("a") as file:
        file.write("node: {cpus: 4}\n")
    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml", "--set", "threads=3") == 0


def test_a_share_of_a_gpu_goes_with_the_job_and_needs_a_gpu(place, head, capsys):
    asked = ("submit", "benchmarks/go.yaml", "--on", "here.yaml")
    assert harness(*asked, "--gpus-per-trial", "0.5") == 2 and not head.jobs
    assert "--gpus-per-trial 0.5, and no node of the cluster has a GPU\n  try: leave out" in capsys.readouterr().err
    head.nodes = [{"CPU": 2.0, "GPU": 1.0}]
    with open(place / "here.yaml", "a") as file:
        file.write("gpus_per_trial: 0.25\n")
    assert harness(*asked) == harness(*asked, "--gpus-per-trial", "0.5") == 0
    head.jobs[next(reversed(head.jobs))]["status"] = "STOPPED"
    assert harness("resume") == 0
    ends = [json.loads(body)["entrypoint"].partition("shared ")[2] for body in head.bodies]
    assert ends == [f"--gpus-per-trial {share}" for share in ("0.25", "0.5", "0.5")]
    assert harness(*asked, "--gpus-per-trial", "2") == 2


def test_a_job_is_told_how_long_to_wait_for_gpus_that_are_not_up(place, head):
    head.nodes = [{"CPU": 2.0}]
    with open(place / "here.yaml", "a") as file:
        file.write("gpu_wait: 60\n")
    asked = ("submit", "benchmarks/go.yaml", "--on", "here.yaml")
    assert harness(*asked, "--gpus-per-trial", "0.5") == 0
    head.jobs[next(reversed(head.jobs))]["status"] = "STOPPED"
    assert harness("resume") == harness(*asked) == 0
    ends = [json.loads(body)["entrypoint"].partition("shared")[2] for body in head.bodies]
    assert ends == [*[" --gpus-per-trial 0.5 --gpu-wait 60"] * 2, ""]


def test_a_cluster_that_does_not_answer_is_refused_before_anything_goes(place, head, capsys):
    (place / "gone.yaml").write_text(f"dashboard: http://127.0.0.1:9\nresults: {place}/shared\n")
    assert harness("submit", "benchmarks/go.yaml", "--on", "gone.yaml") == 2
    assert "error: gone.yaml: no answer at http://127.0.0.1:9\n  try: is the tunnel up" in capsys.readouterr().err
    assert not head.jobs and not (place / "results").exists()


def test_another_ray_is_refused(place, head, capsys):
    head.ray_version = "2.59.0"
    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml") == 2
    assert "runs Ray 2.59.0" in capsys.readouterr().err and not head.jobs


def test_a_token_goes_with_every_request_and_is_said_to_be_missing(place, head, capsys, run_python):
    """In processes of their own: Ray reads how it authenticates once."""
    head.token = "t0ken-of-this-test-0123456789abcdef"
    code = "import sys; from harness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ("submit", "benchmarks/go.yaml", "--on", "here.yaml")
    out, err = run_python(code, *words).communicate(timeout=120)
    assert "wants a token" in err and "RAY_AUTH_TOKEN_PATH" in err and not head.jobs
    environment = {**os.environ, "RAY_AUTH_TOKEN": head.token}
    process = run_python(code, *words, env=environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert len(head.jobs) == 1 and head.token not in out + err + "".join(head.bodies)


def test_who_says_twice_to_go_without_a_token_sends_none(place, head, run_python):
    Path("open.yaml").write_text(Path("here.yaml").read_text() + "\ntoken: none\n")
    code = (
        "from harness.cli.main import main; main(['submit', 'benchmarks/go.yaml', '--on', 'open.yaml', '--no-token'])"
    )
    process = run_python(code, env={**os.environ, "RAY_AUTH_TOKEN": "t0ken-of-this-test-0123456789abcdef"})
    assert process.communicate(timeout=120) and len(head.jobs) == 1 and not head.authorized


def test_the_missing_extra_is_named(place, run_python):
    code = """import sys; sys.modules["ray.job_submission"] = None
from harness.cli.main import main
sys.exit(main(["submit", "benchmarks/go.yaml", "--on", "here.yaml"]))"""
    process = run_python(code)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "rnn-harness[cluster]" in err


def test_fetch_brings_whole_records_home_once(place, head, capsys, make_record):
    from harness.storage.store import Store

    submitted(capsys)
    there = Store(place / "shared", "go", "box-1c-00000000")
    there.write(make_record("0123456789abcdef", benchmark="go"))
    (there.folder / "secret.parquet").symlink_to(place / "here.yaml")
    (place / "shared" / "go" / "go.csv").write_text("a table")
    assert harness("fetch") == 0 and "1 records came, 0 were here, with 1 other" in capsys.readouterr().out
    home = place / "results" / "go"
    assert (home / "box-1c-00000000" / "0123456789abcdef.parquet").exists() and (home / "go.csv").exists()
    assert not (home / "box-1c-00000000" / "secret.parquet").exists()
    assert harness("fetch") == 0 and "0 records came, 1 were here" in capsys.readouterr().out
    there.write(make_record("1" * 16, benchmark="go"))
    path = there.path("1" * 16)
    path.write_bytes(path.read_bytes()[:-20])
    assert harness("fetch") == 6 and "1111111111111111" in capsys.readouterr().err


def test_fetch_by_the_command_that_the_cluster_names(place, head, capsys, make_record):
    from harness.storage.store import Store

    Store(place / "shared", "go", "box-1c-00000000").write(make_record(benchmark="go"))
    with (place / "here.yaml").open("a") as file:
        file.write('fetch: [cp, -r, "{from}/.", "{to}/"]\n')
    submitted(capsys)
    assert harness("fetch") == 0 and "1 records came" in capsys.readouterr().out
    shutil.rmtree(place / "shared")
    assert harness("fetch") == 2 and "cp ended with 1" in capsys.readouterr().err
    assert not list(Path("results").glob(".fetch-*"))


def test_fetch_without_the_folder_says_how(place, head, capsys):
    submitted(capsys)
    assert harness("fetch") == 2
    assert "rsync" in capsys.readouterr().err


def test_outcomes_of_states_unheard_of_are_never_zero():
    assert [Job("j", state).outcome for state in ("NEW", "", "succeeded")] == [4, 4, 4]


def test_the_doctor_runs_a_job_that_looks_at_the_nodes(place, head, capsys):
    head.ends = {"status": "SUCCEEDED"}
    assert harness("doctor", "--on", "here.yaml") == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert "ok       resources: 1 nodes up, 2 CPUs" in out and "ok       nodes: every one" in out
    assert f"ok       fetch: {place}/shared can be read and written here" in out
    (asked,) = map(json.loads, head.bodies)
    assert asked["entrypoint"] == f"python -m harness doctor --inside --results {place}/shared"
    head.ends = {"status": "FAILED", "message": "node 10.0.0.2: torch 2.12.0"}
    assert harness("doctor", "--on", "here.yaml") == 2
    assert "MISSING  nodes" in (out := capsys.readouterr().out) and "torch 2.12.0" in out
