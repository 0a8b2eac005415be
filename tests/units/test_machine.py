"""What is said of the machine is true here, and the fingerprint moves with what can change a number, and only that."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from harness import machine
from harness.errors import UserError

KNOWN = {
    "cpu": "AMD EPYC 7R13 48-Core Processor (25/1)",
    "cpu_features": ["avx2"],
    "logical_cores": 8,
    "usable_cores": 4,
    "memory_bytes": 2**34,
    "gpus": ["NVIDIA H200", "NVIDIA H200"],
    "os": "Linux-6.1",
    "python": "3.11.7",
    "packages": {
        "torch": "2.13.0", "pytorch-lightning": "2.6.6", "ray": "2.60.0", "numpy": "2.4.6", "wandb": "0.31.0",
        "harness": "0.1.0",
    },
}  # fmt: skip


def changed(*path_and_value):
    known = copy.deepcopy(KNOWN)
    *path, last, value = path_and_value
    inner = known
    for key in path:
        inner = inner[key]
    inner[last] = value
    return machine.fingerprint_of(known)


def test_facts_are_plain_and_true():
    facts = machine.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu"] and facts["memory_bytes"] > 2**28
    assert 1 <= facts["usable_cores"] <= facts["logical_cores"] == os.cpu_count()
    assert facts["packages"]["numpy"] == numpy.__version__
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(facts["packages"]) == {"torch", "pytorch-lightning", "ray", "numpy", "wandb", "harness"}


def test_fingerprint_is_readable_and_a_folder_name():
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", machine.fingerprint())
    assert re.fullmatch(r"epyc-7r13-4c-2x-h200-[0-9a-f]{8}", machine.fingerprint_of(KNOWN))


def test_fingerprint_is_the_same_in_another_process(run_python):
    out, _ = run_python("from harness import machine; print(machine.fingerprint())").communicate(timeout=60)
    assert out.strip() == machine.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        ("cpu", "Intel(R) Xeon(R) CPU"),
        ("cpu_features", ["avx2", "avx512f"]),
        ("usable_cores", 8),
        ("gpus", []),
        ("gpus", ["NVIDIA H200"]),
        ("python", "3.12.1"),
        ("packages", "torch", "2.13.1"),
        ("packages", "pytorch-lightning", "2.6.7"),
    ],
    ids=str,
)
def test_what_can_change_a_number_changes_the_fingerprint(change):
    assert changed(*change) != machine.fingerprint_of(KNOWN)


@pytest.mark.parametrize(
    "change",
    [
        ("python", "3.11.9"),
        ("memory_bytes", 2**35),
        ("logical_cores", 96),
        ("os", "Linux-7.0"),
        ("packages", "wandb", "0.32.0"),
        ("packages", "ray", "2.61.0"),
        ("packages", "harness", "0.2.0"),
    ],
    ids=str,
)
def test_what_cannot_change_a_number_leaves_it(change):
    assert changed(*change) == machine.fingerprint_of(KNOWN)


def test_the_protocol_is_part_of_the_fingerprint(monkeypatch):
    before = machine.fingerprint_of(KNOWN)
    monkeypatch.setattr(machine, "PROTOCOL", machine.PROTOCOL + 1)
    assert machine.fingerprint_of(KNOWN) != before


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "xeon-platinum-8259cl"),
        ("13th Gen Intel(R) Core(TM) i7-13700K", "i7-13700k"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "ryzen-9-7950x"),
        ("AMD EPYC (25/17)", "epyc"),
        ("Apple M2 Pro", "apple-m2-pro"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("", ""),
    ],
)
def test_slug(model, expected):
    assert machine.slug(model) == expected


# cores


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({}, "", None),
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu.max": "100000 100000"}, "0::/", 1),
        ({"cpu.max": "150000 100000"}, "0::/", 1),
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/x", 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/x", None),
        ({"cpu.max": "rubbish"}, "rubbish", None),
        ({"cpu.max": "100000 0"}, "0::/", None),
    ],
)
def test_cpu_count_is_bounded_by_a_containers_quota(tmp_path, files, own, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text(own + "\n")
    free = len(os.sched_getaffinity(0))
    assert machine.cpu_count(tmp_path, tmp_path / "own") == min(expected or free, free)


def test_cpu_count_is_bounded_by_affinity(run_python):
    code = """
        import os
        from harness import machine
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        print(machine.cpu_count())
    """
    assert run_python(code).communicate(timeout=60)[0].strip() == "1"


@pytest.mark.gpu
def test_the_gpu_is_named_as_torch_names_it():
    import torch

    assert machine.gpu_names()[0] == torch.cuda.get_device_name(0)


# the commit


def git(folder: Path, *args: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", *who, *args]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=env).stdout.strip()


def test_git_commit_names_the_tree_and_tells_a_changed_one(tmp_path):
    commit = machine.git_commit.__wrapped__
    assert commit(tmp_path) == ""
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) == ""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")[:12]
    (tmp_path / "results.md").write_text("a result is no change of the code")
    assert commit(tmp_path) == head
    (tmp_path / "harness" / "new_cell.py").write_text("a new file is")
    assert commit(tmp_path) == f"{head}-dirty"
    (tmp_path / "harness" / "new_cell.py").unlink()
    (tmp_path / "harness" / "a.py").write_text("2")
    assert commit(tmp_path) == f"{head}-dirty"
    (tmp_path / "site-packages").mkdir()
    assert commit(tmp_path / "site-packages") == ""


def test_git_commit_is_not_led_astray_by_a_hook(tmp_path, monkeypatch):
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q")
        git(tmp_path / name, "commit", "-q", "--allow-empty", "-m", name)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs" / ".git"))
    found = machine.git_commit.__wrapped__(tmp_path / "ours")
    monkeypatch.delenv("GIT_DIR")
    assert found == git(tmp_path / "ours", "rev-parse", "HEAD")[:12]


# the installation


def test_this_installation_is_fine():
    machine.check_installation()


@pytest.mark.parametrize(
    ("versions", "says"),
    [
        ({"pytorch-lightning": "2.6.2"}, "pytorch-lightning 2.6.2 was a malicious upload"),
        ({"pytorch-lightning": "2.6.3"}, "pytorch-lightning 2.6.3 was a malicious upload"),
        ({"pytorch-lightning": "2.6.6", "lightning": "2.6.3"}, "lightning 2.6.3 was a malicious upload"),
        ({"pytorch-lightning": "2.6.6", "lightning": "2.5.0"}, "lightning 2.5.0 is installed beside pytorch-lightning"),
        ({}, "pytorch-lightning is not installed"),
    ],
    ids=str,
)
def test_a_bad_installation_is_refused_with_a_remedy(versions, says):
    with pytest.raises(UserError, match=says) as caught:
        machine.check_installation(lambda package: versions.get(package, ""))
    assert caught.value.exit_code == 2 and "try: " in str(caught.value)


def test_equal_versions_side_by_side_are_allowed():
    machine.check_installation(lambda package: "2.6.6")
