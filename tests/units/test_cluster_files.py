"""Every file in cluster/ is held against the schema of whoever reads it, offline."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import yaml
from kuberay_schema import CLUSTER, JOB

from harness import machine
from harness.jobs import cluster

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster"
KUBERAY = ROOT.parent / "shared" / "schemas"
OURS, AUTOSCALER = sorted(FOLDER.glob("*.yaml")), sorted((FOLDER / "ray").glob("*.yaml"))
MANIFESTS = {"raycluster": CLUSTER, "rayjob": JOB}
SECRET = re.compile(r"(?i)\b(AKIA[0-9A-Z]{16}|ghp_\w{20,}|password\s*:|-----BEGIN|api_key\s*:)")


def read(path: Path):
    return yaml.safe_load(path.read_text())


def ray_schema():
    return json.loads(Path(find_spec("ray").origin).with_name("autoscaler").joinpath("ray-schema.json").read_text())


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_for_on_is_one(path):
    found = cluster.read(path)
    assert found.loopback, "examples go through a tunnel"
    assert not found.fetch or found.fetch[0] in {"ray", "kubectl"}


@pytest.mark.parametrize("path", AUTOSCALER, ids=lambda path: path.name)
def test_autoscaler_files_are_those_of_ray(path):
    found = read(path)
    jsonschema.validate(found, ray_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found | {"max_worker": 1}, ray_schema())
    assert found["head_node_type"] in found["available_node_types"]
    assert "RAY_AUTH_MODE=token" in " ".join(found["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in " ".join(found["head_start_ray_commands"])


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_workers_are_preemptible_the_head_is_not_and_no_node_is_larger_than_is_said(name):
    found, types = cluster.read(FOLDER / f"{name}.yaml"), read(FOLDER / "ray" / f"{name}.yaml")["available_node_types"]
    head = types.pop("head")
    assert head["resources"]["CPU"] == 0 and "spot" not in str(head).lower()
    assert all("spot" in str(one["node_config"]).lower() for one in types.values())
    assert any(one["resources"].get("GPU") for one in types.values())
    assert found.node.cpus == max(one["resources"]["CPU"] for one in types.values())


def manifests():
    return [pytest.param(name, MANIFESTS[name], id=f"{name}-ours") for name in MANIFESTS] + [
        pytest.param(name, json.loads((KUBERAY / f"{name}.v1.json").read_text()), id=f"{name}-kuberay")
        for name in MANIFESTS
        if (KUBERAY / f"{name}.v1.json").exists()
    ]


def strict(schema):
    """A schema of a resource definition in which a misspelt field is a fault."""
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    elif isinstance(schema, list):
        schema = [strict(part) for part in schema]
    return schema


@pytest.mark.slow
@pytest.mark.parametrize(("name", "schema"), manifests())
def test_manifests_are_those_of_kuberay(name, schema):
    found, schema = read(FOLDER / "kubernetes" / f"{name}.yaml"), strict(schema)
    jsonschema.validate(found, schema)
    found["spec"]["headGroupSpek"] = {}
    with pytest.raises(jsonschema.ValidationError, match="headGroupSpek"):
        jsonschema.validate(found, schema)


def test_both_manifests_start_one_cluster():
    one, job = (read(FOLDER / "kubernetes" / f"{name}.yaml") for name in ("raycluster", "rayjob"))
    assert job["spec"]["rayClusterSpec"] == one["spec"]
    assert one["spec"]["authOptions"] == {"mode": "token"}, "other pods reach the dashboard"
    assert one["spec"]["rayVersion"] == machine.version("ray"), "the image has what constraints.txt pins"
    pools = {group["groupName"]: group for group in one["spec"]["workerGroupSpecs"]}
    for pool in pools.values():
        spec = pool["template"]["spec"]
        assert "spot" in str(spec["nodeSelector"]) and "spot" in str(spec["tolerations"]) and pool["minReplicas"] == 0
    limits = {n: p["template"]["spec"]["containers"][0]["resources"]["limits"] for n, p in pools.items()}
    assert sum("nvidia.com/gpu" in one for one in limits.values()) == 1
    assert cluster.read(FOLDER / "kubernetes.yaml").node.cpus == max(int(one["cpu"]) for one in limits.values())
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:4] == ["python", "-m", "harness", "run"] and "cluster" in words
    assert (ROOT / Path(words[4]).relative_to("/opt/rnn-harness")).exists()


def test_the_slurm_script_is_bash_and_names_what_is_missing(tmp_path):
    script = FOLDER / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "export RAY_AUTH_MODE=token" in script.read_text(), "other users of the nodes reach the dashboard"
    for words, says in (([], "name a benchmark"), (["b.yaml"], "name a folder"), (["b.yaml", "here"], "absolute path")):
        done = subprocess.run(["bash", str(script), *words], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode and says in done.stderr


def test_the_slurm_script_runs_the_benchmark_on_every_node(tmp_path):
    """With a Slurm of one node that runs what `srun` is given, and a Ray that runs what follows `--`."""
    programs = {"scontrol": "echo node-1", "srun": 'while [ "$1" != ray ]; do shift; done; "$@"'}
    programs["ray"] = (
        'case $1 in get-auth-token) exit ;; esac; echo "ray $*"; while [ "$1" != -- ]; do shift; done; shift; "$@"'
    )
    programs["python"] = 'echo "python $* at $RAY_ADDRESS"; exit 5'
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    given = {
        "SLURM_JOB_NODELIST": "node-1",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_PER_TASK": "2",
    }
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), **given}
    words = ["bash", str(FOLDER / "slurm.sh"), "b.yaml", "/r", "--wandb", "off"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 5, done.stderr
    assert "python -m harness run b.yaml --on cluster --results /r --wandb off at node-1:20007" in done.stdout
    assert "--min-nodes 1 --num-cpus 2" in done.stdout


def test_the_image_copies_what_the_installation_reads():
    text = (FOLDER / "Containerfile").read_text()
    copied = [word for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / word).exists() for word in copied)
    assert {"harness", "benchmarks", "constraints.txt", "pyproject.toml"} <= set(copied) and "[cluster]" in text


def test_nothing_in_the_folder_holds_a_secret():
    for path in FOLDER.rglob("*"):
        assert path.is_dir() or not SECRET.search(path.read_text()), path
