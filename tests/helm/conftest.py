"""The chart, rendered by the real Helm engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "kilowait"

Values = Mapping[str, Any]
Object = dict[str, Any]

REGIONS = [
    {
        "name": "us-west",
        "zone": "US-CAL-CISO",
        "address": "http://ray-west:8265",
        "capacity_gpus": 64,
        "pue": 1.1,
        "gpu_type": "H100",
        "token_secret": {"name": "ray-us-west", "key": "token"},
    },
    {
        "name": "eu-north",
        "zone": "SE",
        "address": "https://ray-north.example.com",
        "capacity_gpus": 1_000_000,
        "intensity_g_per_kwh": 25.5,
        "token_secret": {"name": "ray-eu-north", "key": "bearer"},
    },
    {"name": "gb", "zone": "GB", "address": "http://ray-gb:8265", "capacity_gpus": 8},
]

MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "PostgreSQL with two servers": {
        "server": {"replicas": 2},
        "database": {"existingSecret": {"name": "kilowait-database"}},
        "persistence": {"accessMode": "ReadWriteMany", "storageClass": "shared"},
    },
    "PostgreSQL without a password": {
        "database": {"url": "postgresql://kilowait@db:5432/kilowait?sslmode=verify-full"},
        "persistence": {"existingClaim": "mine"},
    },
    "no agents": {"agent": {"enabled": False}},
    "agents only": {
        "server": {"enabled": False},
        "agent": {"server": "https://kilowait.example.com", "region": "eu-north", "hostStateDir": ""},
        "networkPolicy": {"enabled": True},
    },
    "network policies": {"networkPolicy": {"enabled": True}},
    "network policies for others": {
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        },
    },
    "regions with tokens": {
        "regions": REGIONS,
        "electricityMaps": {"existingSecret": {"name": "electricity-maps"}},
        "agent": {"region": "us-west"},
    },
    "everything set": {
        "image": {"repository": "registry.example.com/kilowait", "tag": "1.2.3", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "fullnameOverride": "carbon",
        "regions": REGIONS,
        "electricityMaps": {"existingSecret": {"name": "electricity-maps", "key": "api"}},
        "entsoe": {"existingSecret": {"name": "entsoe"}},
        "eia": {"existingSecret": {"name": "eia"}},
        "wattTime": {"existingSecret": {"name": "watttime"}},
        "server": {
            "settings": {
                "entsoe_url": "http://entsoe.example.com/api",
                "eia_url": "http://eia.example.com/v2",
                "carbon_aware_sdk_url": "http://sdk.example.com",
                "carbon_aware_sdk_signal": "average/direct",
                "watttime_user": "someone",
                "watttime_url": "http://watttime.example.com",
                "open_meteo": False,
                "open_meteo_url": "http://weather.example.com/v1",
                "open_meteo_past_url": "http://past-weather.example.com/v1",
                "providers": "electricity-maps, neso",
                "quotas": "electricity-maps 1000/day",
                "reports_timezone": "Europe/Berlin",
                "electricity_maps_url": "http://maps.example.com/v4",
                "neso": False,
                "neso_url": "http://neso.example.com",
                "energy_charts": True,
                "energy_charts_url": "http://charts.example.com",
                "forecast_every": "10m",
                "stale_after": "PT3H",
                "tick": "2s",
                "slot": "30m",
                "margin": 0.2,
                "power_per_gpu_w": 650,
                "fence": "1m30s",
            },
            "extraEnv": [
                {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
                {"name": "PROXY_USER", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "user"}}},
            ],
            "uid": 1234,
            "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "4Gi"}},
            "podAnnotations": {"prometheus.io/scrape": "true"},
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "system", "operator": "Equal", "value": "yes", "effect": "NoExecute"}],
            "affinity": {"podAntiAffinity": {}},
        },
        "persistence": {"accessMode": "ReadWriteOncePod", "size": "1.5Ti"},
        "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"internal": "true"}},
        "networkPolicy": {"enabled": True},
        "agent": {
            "region": "us-west",
            "token": {"existingSecret": {"name": "nodes", "key": "secret"}},
            "meter": "auto",
            "hostIdleW": 200,
            "hostBusyW": "750.5",
            "interval": "500ms",
            "flush": "10s",
            "hostStateDir": "/var/lib/kilowait-agent",
            "metricsPort": 9101,
            "runtimeClassName": "nvidia",
            "priorityClassName": "system-node-critical",
            "nodeSelector": {},
            "tolerations": [],
            "resources": {"requests": {"cpu": "50m"}},
            "podAnnotations": {"a": "b"},
        },
    },
}


@dataclass(frozen=True)
class Rendered:
    """A release as it would be applied: its objects, its text, and what it says to the person."""

    objects: list[Object]
    text: str
    notes: str

    def get(self, kind: str, *, component: str | None = None) -> Object:
        """The one object of a kind (and component)."""
        found = [
            one
            for one in self.objects
            if one["kind"] == kind and component in (None, one["metadata"]["labels"]["app.kubernetes.io/component"])
        ]
        assert len(found) == 1, [(one["kind"], one["metadata"]["name"]) for one in self.objects]
        return found[0]

    def pods(self) -> list[Object]:
        """The pod specs of all workloads."""
        return [o["spec"]["template"]["spec"] for o in self.objects if o["kind"] in ("Deployment", "DaemonSet")]

    def container(self, kind: str) -> Object:
        """The only container of the one workload of a kind."""
        [container] = self.get(kind)["spec"]["template"]["spec"]["containers"]
        return dict(container)


def env_of(container: Object, secrets: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """A container's environment as its process sees it; each name once. KeyError for a Secret that is not there."""
    env: dict[str, str] = {}
    for one in container["env"]:
        assert one["name"] not in env, one["name"]
        if "value" in one:
            env[one["name"]] = one["value"]
        elif "secretKeyRef" in one["valueFrom"]:
            reference = one["valueFrom"]["secretKeyRef"]
            env[one["name"]] = secrets[reference["name"], reference["key"]]
        else:
            env[one["name"]] = one["valueFrom"]["fieldRef"]["fieldPath"]
    return env


@pytest.fixture(scope="session")
def helm(lane_missing: Callable[[str], NoReturn]) -> Any:
    """The engine's module `helm_python.chart`."""
    try:
        from helm_python import chart
    except (ImportError, OSError) as error:
        lane_missing(f"the Helm engine is not there ({error}); pip install helm-python-sdk")
    return chart


Render = Callable[..., Rendered]


@pytest.fixture(scope="session")
def render(helm: Any) -> Render:
    """Renders the chart with values over its defaults; the engine's error where they are refused."""
    chart = helm.Chart.load(CHART)

    def rendered(values: Values | None = None, *, name: str = "kilowait") -> Rendered:
        files = chart.render(dict(values or {}), name=name, namespace="carbon", is_install=True)
        notes = "".join(text for path, text in files.items() if path.endswith("NOTES.txt"))
        texts = [text for path, text in sorted(files.items()) if not path.endswith("NOTES.txt")]
        objects = [one for text in texts for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]
        return Rendered(objects=objects, text="\n---\n".join(texts), notes=notes)

    return rendered


@pytest.fixture(params=list(MATRIX.values()), ids=list(MATRIX))
def release(request: pytest.FixtureRequest, render: Render) -> Rendered:
    """The chart rendered with one row of the matrix after another."""
    return render(request.param)
