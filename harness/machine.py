"""Which machine and which versions a number is bound to.

`facts` is everything worth reading beside a result; `fingerprint` hashes only what can change one. Unlike
fingerprints are never ranked together and lie in folders of their own. Nothing here imports torch or starts
anything heavy: GPUs are read from the driver's own files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import Fault, UserError
from harness.trial import PROTOCOL

PACKAGES = {
    "torch": "torch",
    "pytorch-lightning": "pytorch-lightning",
    "ray": "ray",
    "numpy": "numpy",
    "wandb": "wandb",
    "harness": "rnn-harness",
}
"""What `facts` calls a package: the name it is installed under."""
MALICIOUS = frozenset({"2.6.2", "2.6.3"})
"""Uploads of Lightning that were not its authors'."""

# Instruction sets by which torch, oneDNN and BLAS choose a kernel, so the same model name can round differently.
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "asimd", "sve")
_NOISE = re.compile(r"\([^)]*\)|\d+th gen|\b(nvidia|amd|intel|cpu|processor|core|\d+-core)\b|@.*", re.IGNORECASE)


@cache
def facts() -> dict[str, Any]:
    """Return hardware and software as plain data; "" or None where this system does not tell."""
    return {
        "cpu": cpu_model(),
        "cpu_features": cpu_features(),
        "logical_cores": os.cpu_count(),
        "usable_cores": cpu_count(),
        "memory_bytes": _memory_bytes(),
        "gpus": gpu_names(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(package) for name, package in PACKAGES.items()},
    }


@cache
def fingerprint(device: str = "cpu") -> str:
    """Return a readable name and a hash of all that can change a number: `epyc-2c-3f9a2c1b`. `device`: the kind that
    trials train on, of which "cpu" has the name that it always had."""
    return fingerprint_of(facts(), device)


def fingerprint_of(known: dict[str, Any], device: str = "cpu") -> str:
    """Return the fingerprint of `facts()`."""
    hashed = decisive(known) | {"protocol": PROTOCOL} | ({} if device == "cpu" else {"device": device})
    hashed["cpu"] = [hashed.pop("cpu"), hashed.pop("cpu_features"), hashed.pop("usable_cores")]
    digest = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:8]
    gpus = known["gpus"]
    parts = [slug(known["cpu"]) or "cpu", f"{known['usable_cores']}c"]
    parts += [f"{len(gpus)}x-{slug(gpus[0])}"] if gpus else []
    parts += [] if device == "cpu" else ["on", device]
    return "-".join([*parts, digest])


def decisive(known: dict[str, Any]) -> dict[str, Any]:
    """Return what of `facts()` can change a number; versions that only orchestrate or draw (ray, wandb) cannot."""
    named = {name: known.get(name) for name in ("cpu", "cpu_features", "usable_cores", "gpus")}
    packages = known.get("packages", {})
    versions = {"torch": packages.get("torch"), "lightning": packages.get("pytorch-lightning")}
    return named | {"python": known.get("python", "").rpartition(".")[0]} | versions


def slug(model: str) -> str:
    """Shorten a maker's model name: "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz" is `xeon-platinum-8259cl`."""
    words = re.findall(r"[a-z0-9]+", _NOISE.sub(" ", model).lower())
    return "-".join(words[:3])[:30]


@cache
def version(package: str) -> str:
    """Return the installed version of a package, or "" where it is not installed. Imports nothing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def check_installation(installed: Callable[[str], str] = version) -> None:
    """Raise UserError for an installation whose results or safety cannot be trusted. `installed` names versions."""
    ours, beside = installed("pytorch-lightning"), installed("lightning")
    faults = [
        Fault(
            f"{name} {found} was a malicious upload; treat this machine's credentials as stolen",
            allowed="pytorch-lightning 2.6.4 or later",
            remedy=f"pip uninstall {name}; make install",
        )
        for name, found in (("pytorch-lightning", ours), ("lightning", beside))
        if found in MALICIOUS
    ]
    if not ours:
        faults.append(Fault("pytorch-lightning is not installed", remedy="make install"))
    elif beside and beside != ours:
        faults.append(
            Fault(
                f"the package lightning {beside} is installed beside pytorch-lightning {ours}, and Ray would take the "
                "wrong one",
                remedy="pip uninstall lightning",
            )
        )
    if faults:
        raise UserError(faults)


@cache
def cpu_model() -> str:
    """Return the CPU's model name, with family and model number where the name alone is generic ("AMD EPYC")."""
    info = _cpuinfo()
    name = info.get("model name") or info.get("Model") or platform.processor() or platform.machine()
    number = "/".join(info[key] for key in ("cpu family", "model") if key in info)
    return f"{name} ({number})" if number else name


def cpu_features() -> list[str]:
    """Return those instruction sets of this CPU by which math libraries choose their kernels."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return [name for name in _FEATURES if name in flags]


def cpu_count(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many threads this process may keep busy: affinity and a container's CPU quota, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *_quotas(cgroups, own)]))


def _quotas(cgroups: Path, own: Path) -> list[int]:
    """Return the whole CPUs that each enclosing control group grants; a group without a limit is left out."""
    folders = _groups(cgroups, own)
    limits = [_text(folder / "cpu.max").split() for folder in folders]
    for name in ("cpu", "cpu,cpuacct"):  # version 1
        limits.append([_text(cgroups / name / f"cpu.cfs_{part}_us").strip() for part in ("quota", "period")])
    return [
        int(limit[0]) // int(limit[1])
        for limit in limits
        if len(limit) == 2 and all(part.isdigit() for part in limit) and int(limit[1])
    ]


def _groups(cgroups: Path, own: Path) -> list[Path]:
    """Return the folders of the control groups around this process, the innermost first."""
    group = cgroups / _text(own).rpartition("::")[2].strip().strip("/")  # version 2: one line, 0::/path
    return [group, *(parent for parent in group.parents if parent.is_relative_to(cgroups))]


@cache
def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs of this machine, in the driver's order; [] without a driver."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [re.search(r"^Model:\s*(.+)$", _text(path), re.MULTILINE) for path in found]
    if names and all(names):
        return [name[1].strip() for name in names if name]
    listed = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return [line.strip() for line in listed.splitlines() if line.strip()]


@cache
def git_commit(root: Path | None = None) -> str:
    """Return the short hash of the source tree that runs, `-dirty` if harness/ differs from it; "" outside git."""
    root = root or Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # installed as a package: an enclosing repository is somebody else's
        return _text(root / "harness" / "COMMIT").strip()  # what was uploaded to a cluster says it in a file
    lines = _output("git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--", "harness").splitlines()
    hashes = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if not hashes or hashes[0] == "(initial)":
        return ""
    changed = any(not line.startswith("#") for line in lines)
    return hashes[0][:12] + ("-dirty" if changed else "")


def _output(*command: str) -> str:
    """Return what a short command prints, or "" if it is missing, fails or hangs."""
    # GIT_DIR and its kin, set while git runs a hook, would point at another tree; a lock would disturb its owner.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=env).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


@cache
def _cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo; {} where there is none."""
    lines = _text(Path("/proc/cpuinfo")).partition("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory_bytes() -> int | None:
    """Return the machine's physical memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def memory_left(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Return the bytes that this process may still take: of the machine and of each group around it; inf: unknown."""
    told = re.search(r"^MemAvailable:\s*(\d+) kB$", _text(Path("/proc/meminfo")), re.MULTILINE)
    left = [1024.0 * int(told[1])] if told else []
    for folder in _groups(cgroups, own):
        limit, used = (_text(folder / f"memory.{part}").strip() for part in ("max", "current"))
        left += [float(limit) - float(used)] if limit.isdigit() and used.isdigit() else []
    return min(left, default=math.inf)


def _text(path: Path) -> str:
    """Return a file's text, or "" where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
