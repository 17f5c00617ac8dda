"""The Helm chart: linted and rendered by helm, which `make helm` installs, and compared with image and settings."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings
from tests.support.programs import program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "graftwork"
URLS = {"secret.databaseUrl": "postgresql://a:b@db/graftwork", "secret.brokerUrl": "redis://:c@broker:6379/0"}
KEY = "k" * 32
HOSTS = '["graftwork.example"]'

Manifests = dict[tuple[str, str], Any]


def helm(command: str, home: Path, **values: str) -> "subprocess.CompletedProcess[str]":
    """Run helm on the chart, where a command does not name it."""
    words = [program("helm") / "helm", *shlex.split(command), *([] if "deploy/helm" in command else [str(CHART)])]
    words += [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def rendered(home: Path, **values: str) -> Manifests:
    """What would be installed, by kind and name."""
    done = helm("template mine", home, **{**URLS, **values})
    assert done.returncode == 0, done.stderr
    manifests = [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]
    by_name = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}
    assert len(by_name) == len(manifests)
    return by_name


def pods(manifests: Manifests) -> dict[str, Any]:
    """The pods' specifications by their part."""
    return {
        manifest["metadata"]["labels"]["app.kubernetes.io/component"]: manifest["spec"]["template"]["spec"]
        for (kind, _), manifest in manifests.items()
        if kind == "Deployment"
    }


def environment(container: Any) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_the_chart_is_linted(tmp_path: Path) -> None:
    done = helm("lint --strict", tmp_path, **URLS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"secret.databaseUrl": ""}, "existingSecret"),
        ({"secret.databaseUrl": "mysql://db"}, "databaseUrl"),
        ({"secret.brokerUrl": "amqp://broker"}, "brokerUrl"),
        ({"secret.bootstrapKey": "short"}, "bootstrapKey"),
        ({"worker.replica": "2"}, "replica"),
        ({"env.GRAFTWORK_MAX_JSON_BYTES": "67108864"}, "want string"),
        ({"volume.accessModes[0]": "Sometimes"}, "accessModes"),
        ({"artifactsUrl": "bucket/graftwork"}, "artifactsUrl"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(values: dict[str, str], words: str, tmp_path: Path) -> None:
    done = helm("template mine", tmp_path, **{**URLS, **values})
    assert done.returncode != 0
    assert words in done.stderr


def test_each_part_runs_without_rights_and_with_its_probes(tmp_path: Path) -> None:
    values = {"predictor.enabled": "true", "secret.bootstrapKey": KEY, "env.GRAFTWORK_DATA": "/elsewhere"}
    manifests = rendered(tmp_path, **values, **{"env.GRAFTWORK_ALLOWED_HOSTS": HOSTS.replace('"', '\\"')})
    parts = pods(manifests)
    assert parts.keys() == {"api", "worker", "predictor"}
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"--uid {parts['api']['securityContext']['runAsUser']} " in dockerfile
    for part, pod in parts.items():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["enableServiceLinks"] is False, "GRAFTWORK_PORT would be a URL"
        assert pod["automountServiceAccountToken"] is False
        (migration,), (container,) = pod["initContainers"], pod["containers"]
        assert migration["args"] == ["graftwork", "migrate"]
        for each in (migration, container):
            assert each["securityContext"]["readOnlyRootFilesystem"]
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert each["envFrom"] == [{"secretRef": {"name": "mine-graftwork"}}]
            assert {mount["name"] for mount in each["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
            known = {f"GRAFTWORK_{name.upper()}" for name in Settings.model_fields} | {"HOME"}
            assert set(environment(each)) <= known
            assert environment(each)["GRAFTWORK_DATA"] == "/data", "where the volume is"
        probes = {name: container.get(name, {}).get("httpGet") for name in ("livenessProbe", "readinessProbe")}
        paths = {"livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
        served = {name: {"path": path, "port": "http"} for name, path in paths.items()}
        assert probes == (dict.fromkeys(paths) if part == "worker" else served)
    secret = manifests["Secret", "mine-graftwork"]["stringData"]
    assert secret["GRAFTWORK_BOOTSTRAP_KEY"] == KEY
    assert environment(parts["api"]["containers"][0])["GRAFTWORK_PREDICTOR"] == "http://mine-graftwork-predictor:8000"
    assert environment(parts["api"]["containers"][0])["GRAFTWORK_ALLOWED_HOSTS"] == HOSTS
    predictor = environment(parts["predictor"]["containers"][0])
    assert predictor["GRAFTWORK_PREDICTOR"] == ""
    assert predictor["GRAFTWORK_ALLOWED_HOSTS"] == '["mine-graftwork-predictor"]', "the name that the API asks it by"
    for name, part in (("mine-graftwork", "api"), ("mine-graftwork-predictor", "predictor")):
        service = manifests["Service", name]["spec"]
        labels = manifests["Deployment", f"mine-graftwork-{part}"]["spec"]["template"]["metadata"]["labels"]
        assert service["selector"].items() <= labels.items()
        assert service["ports"][0]["targetPort"] == "http"


def test_a_fleet_has_two_of_each_behind_services_and_a_predictor() -> None:
    values = yaml.safe_load((CHART / "values-fleet.yaml").read_text(encoding="utf-8"))
    assert {part: values[part]["replicas"] for part in values} == {"api": 2, "worker": 2, "predictor": 1}
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert all(values[part].keys() <= defaults[part].keys() for part in values)


def test_the_fleet_is_rendered(tmp_path: Path) -> None:
    done = helm(f"template mine {CHART} --values {CHART / 'values-fleet.yaml'}", tmp_path, **URLS)
    assert done.returncode == 0, done.stderr
    deployments = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "Deployment"]
    replicas = {each["metadata"]["name"].rsplit("-", 1)[1]: each["spec"]["replicas"] for each in deployments}
    assert replicas == {"api": 2, "worker": 2, "predictor": 1}


def test_files_lie_in_a_volume_or_in_a_bucket(tmp_path: Path) -> None:
    manifests = rendered(tmp_path, **{"volume.size": "5Gi"})
    assert manifests["PersistentVolumeClaim", "mine-graftwork"]["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep"
    }
    claims = [pod["volumes"][0]["persistentVolumeClaim"] for pod in pods(manifests).values()]
    assert claims == [{"claimName": "mine-graftwork"}] * 2, "all parts share it"
    own = rendered(tmp_path, **{"volume.existingClaim": "theirs"})
    assert pods(own)["worker"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "theirs"}
    bucket = rendered(tmp_path, artifactsUrl="s3://bucket/graftwork", existingSecret="ours")
    for each in (own, bucket):
        assert not [name for kind, name in each if kind == "PersistentVolumeClaim"]
    assert not [name for kind, name in bucket if kind == "Secret"]
    (container,) = pods(bucket)["worker"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "ours"}}]
    assert environment(container)["GRAFTWORK_ARTIFACTS_URL"] == "s3://bucket/graftwork"
    assert pods(bucket)["worker"]["volumes"][0] == {"name": "data", "emptyDir": {}}


def test_the_guide_installs_what_is_rendered(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (words,) = re.findall(r"^helm install (.*?)^```", page, re.MULTILINE | re.DOTALL)
    command = re.sub(r"\$\(.*?\)", KEY, words.replace("\\\n", " "))
    done = helm(f"template {command}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "name: graftwork-worker" in done.stdout
    assert 'image: "registry.example/graftwork:' in done.stdout
    for value in ("postgresql://user:password@db/graftwork", "redis://:password@broker:6379/0", KEY):
        assert f'"{value}"' in done.stdout


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]
