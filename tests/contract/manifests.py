"""What Kubernetes would make of manifests: the objects, and what each of our containers is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

K8S: Final = Path(__file__).resolve().parents[2] / "deploy" / "k8s"
OVERLAYS: Final = ("tls", "monitoring", "pooler", "usage-token")
Object = dict[str, Any]


@cache
def rendered(*overlays: str) -> list[Object]:
    """deploy/k8s with these overlays, by kubectl's kustomize; the test is skipped without it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("overlays: kubectl, whose kustomize applies them, is not here")
    with tempfile.TemporaryDirectory(prefix="agentworkspace-overlays-") as scratch:
        here = os.path.relpath(K8S, Path(scratch).resolve())
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [here],
            "components": [f"{here}/overlays/{each}" for each in overlays],
        }
        Path(scratch, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        command = (kubectl, "kustomize", scratch)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: Sequence[Object], *kinds: str) -> dict[str, Object]:
    """Objects of these kinds by their name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] in kinds}


def containers(objects: Sequence[Object], service: str) -> Iterator[tuple[Object, Object]]:
    """Each container of a service with the specification of its pod."""
    for name, each in of_kind(objects, "Deployment", "Job").items():
        if name.startswith(service):
            pod = each["spec"]["template"]["spec"]
            for container in [*pod.get("initContainers", ()), *pod["containers"]]:
                yield pod, container


def environments(objects: Sequence[Object], service: str) -> list[dict[str, str]]:
    """What each container of a service finds in its environment."""
    return [environment_of(objects, each) for _, each in containers(objects, service)]


def environment_of(objects: Sequence[Object], container: Object) -> dict[str, str]:
    shared = of_kind(objects, "ConfigMap")
    told: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        told |= shared[source["configMapRef"]["name"]]["data"]
    return told | {each["name"]: each["value"] for each in container.get("env", ())}


def mounted(pod: Object, container: Object) -> set[str]:
    """Every file of a secret that the container sees."""
    volumes = {each["name"]: each["secret"] for each in pod["volumes"]}
    return {
        f"{mount['mountPath']}/{item}"
        for mount in container["volumeMounts"]
        for item in _files(volumes[mount["name"]])
    }


def _files(secret: Object) -> list[str]:
    if "items" in secret:
        return [each["path"] for each in secret["items"]]
    assert secret["secretName"].endswith("-tls"), "a whole Secret, of which nobody says what it has"
    return ["tls.crt", "tls.key", "ca.crt"]
