"""The part of KubeRay's v1 that cluster/kubernetes uses, by hand: so that its manifests are held where KubeRay's own
schemas are not at hand."""

from __future__ import annotations

from typing import Any


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


TEXT, COUNT, TRUTH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = _object(
    "containers",
    terminationGracePeriodSeconds=COUNT,
    nodeSelector=TEXTS,
    tolerations={"type": "array", "items": _object(key=TEXT, operator=TEXT, value=TEXT, effect=TEXT)},
    containers={
        "type": "array",
        "minItems": 1,
        "items": _object(
            "name",
            "image",
            name=TEXT,
            image=TEXT,
            env={"type": "array", "items": _object("name", "value", name=TEXT, value=TEXT)},
            resources=_object(requests=TEXTS, limits=TEXTS),
            volumeMounts={"type": "array", "items": _object("name", "mountPath", name=TEXT, mountPath=TEXT)},
        ),
    },
    volumes={
        "type": "array",
        "items": _object("name", name=TEXT, persistentVolumeClaim=_object("claimName", claimName=TEXT)),
    },
)
TEMPLATE = _object("spec", spec=POD)
CLUSTER_SPEC = _object(
    "headGroupSpec",
    rayVersion=TEXT,
    authOptions=_object(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=TRUTH,
    autoscalerOptions=_object(idleTimeoutSeconds=COUNT),
    headGroupSpec=_object("template", serviceType=TEXT, rayStartParams=TEXTS, template=TEMPLATE),
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            "groupName",
            "template",
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=TEXTS,
            template=TEMPLATE,
        ),
    },
)
JOB_SPEC = _object(
    "entrypoint",
    entrypoint=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    backoffLimit=COUNT,
    shutdownAfterJobFinishes=TRUTH,
    ttlSecondsAfterFinished=COUNT,
    activeDeadlineSeconds=COUNT,
    rayClusterSpec=CLUSTER_SPEC,
)


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _object(
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=_object("name", name=TEXT),
        spec=spec,
    )


CLUSTER, JOB = _resource("RayCluster", CLUSTER_SPEC), _resource("RayJob", JOB_SPEC)
