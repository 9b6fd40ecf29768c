"""The chart itself: what it refuses, whether Kubernetes would take what it renders, what it tells people."""

from __future__ import annotations

import functools
import json
import re
import tarfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from .conftest import CHART, MATRIX, REGIONS, ROOT, Render, Rendered

pytestmark = pytest.mark.helm

WARNING = 2
KUBERNETES = ("1.29", "1.33", "newest")
DOCS = (ROOT / "docs" / "kubernetes.md").read_text()


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
@pytest.mark.parametrize("kube_version", ["v1.29.0", "v1.37.0"])
def test_lint_has_nothing_to_complain_about(helm: Any, values: dict[str, Any], kube_version: str) -> None:
    found = helm.lint(CHART, values, strict=True, kube_version=kube_version)
    assert found["errors"] == []
    assert [message for message in found["messages"] if message["severity"] >= WARNING] == []


@pytest.fixture(scope="session")
def validate(lane_missing: Callable[[str], NoReturn]) -> Callable[[dict[str, Any], str], str]:
    """Checks an object against a Kubernetes version's schema, unknown keys included; the version that was used."""
    try:
        from kubernetes_validate import utils
    except ImportError as error:
        lane_missing(f"the Kubernetes schemas are not there ({error}); pip install kubernetes-validate")
    patch = pytest.MonkeyPatch()
    patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))  # 1 MB, read anew each time

    @functools.cache  # rows of the matrix share most of their objects
    def checked(text: str, version: str) -> str:
        wanted = utils.latest_version() if version == "newest" else version
        return str(utils.validate(json.loads(text), wanted, strict=True))

    def check(one: dict[str, Any], version: str) -> str:
        return checked(json.dumps(one, sort_keys=True), version)

    return check


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid_in_kubernetes(
    release: Rendered, validate: Callable[[dict[str, Any], str], str], version: str
) -> None:
    assert release.objects
    for one in release.objects:
        used = validate(one, version)
        assert used == version or version == "newest"


def test_the_schemas_would_find_a_misspelt_key(render: Render, validate: Callable[[dict[str, Any], str], str]) -> None:
    deployment = render().get("Deployment")
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(Exception, match="enableServiceLink"):
        validate(deployment, "newest")


def test_no_two_objects_of_a_release_share_a_name(release: Rendered) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in release.objects]
    assert len(names) == len(set(names))
    assert {one["metadata"]["namespace"] for one in release.objects} == {"carbon"}


@pytest.mark.parametrize("name", ["kilowait", "green-team", "a" * 53])
def test_names_fit_whatever_the_release_is_called(render: Render, name: str) -> None:
    release = render(name=name)
    for one in release.objects:
        assert len(one["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in one["metadata"]["labels"].values())
    server = release.get("Service")["metadata"]["name"]
    assert f"http://{server}:80" in release.container("DaemonSet")["args"]


def test_services_and_policies_select_the_pods_they_are_for(release: Rendered) -> None:
    workloads = {"server": "Deployment", "agent": "DaemonSet"}
    for one in release.objects:
        if one["kind"] in workloads.values():
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
        if one["kind"] in ("Service", "NetworkPolicy"):
            chosen = one["spec"]["selector"] if one["kind"] == "Service" else one["spec"]["podSelector"]["matchLabels"]
            workload = release.get(workloads[one["metadata"]["labels"]["app.kubernetes.io/component"]])
            assert chosen.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
            assert chosen["app.kubernetes.io/component"] == one["metadata"]["labels"]["app.kubernetes.io/component"]


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"replicas": 2}, "replicas"),
        ({"server": {"replica": 2}}, "/server.*replica"),
        ({"server": {"replicas": "2"}}, "/server/replicas.*string"),
        ({"server": {"replicas": 0}}, "/server/replicas"),
        ({"server": {"uid": 0}}, "/server/uid"),
        ({"server": {"settings": {"margn": 0.2}}}, "/server/settings.*margn"),
        ({"server": {"settings": {"host": "::"}}}, "/server/settings.*host"),
        ({"server": {"settings": {"tick": 5}}}, "/server/settings/tick"),
        ({"server": {"settings": {"tick": "5"}}}, "/server/settings/tick"),
        ({"server": {"extraEnv": [{"name": "KILOWAIT_HOST", "value": "::"}]}}, "/server/extraEnv/0/name"),
        ({"server": {"resources": {"limit": {}}}}, "/server/resources.*limit"),
        ({"image": {"tag": "latest"}}, "/image/tag"),
        ({"regions": {"us-west": {}}}, "/regions.*object"),
        ({"regions": [{"name": "us-west"}]}, "/regions/0.*zone"),
        ({"regions": [{**REGIONS[0], "name": "US West"}]}, "/regions/0/name"),
        ({"regions": [{**REGIONS[0], "capacity_gpus": "8"}]}, "/regions/0/capacity_gpus"),
        ({"regions": [{**REGIONS[0], "token": "s3cr3t"}]}, "/regions/0.*token"),
        ({"regions": [{**REGIONS[0], "token_secret": {"name": "x"}}]}, "/regions/0/token_secret.*key"),
        ({"persistence": {"accessMode": "ReadOnlyMany"}}, "/persistence/accessMode"),
        ({"persistence": {"size": "ten"}}, "/persistence/size"),
        ({"service": {"port": 70000}}, "/service/port"),
        ({"networkPolicy": {"from": [{"pods": {}}]}}, "/networkPolicy/from/0.*pods"),
        ({"agent": {"meter": "amd"}}, "/agent/meter"),
        ({"agent": {"server": "kilowait:8080"}}, "/agent/server"),
        ({"agent": {"token": {"existingSecret": {"name": ""}}}}, "/agent/token/existingSecret/name"),
        ({"agent": {"nodeSelector": {"gpu": True}}}, "/agent/nodeSelector/gpu"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(render: Render, values: dict[str, Any], path: str) -> None:
    with pytest.raises(Exception, match=f"(?s){path}") as refused:
        render(values)
    assert type(refused.value).__name__ == "HelmValuesError"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"server": {"replicas": 2}}, "SQLite serves one pod"),
        (
            {"server": {"replicas": 2}, "database": {"existingSecret": {"name": "db"}}},
            "persistence.accessMode to ReadWriteMany",
        ),
        ({"persistence": {"accessMode": "ReadWriteMany"}}, "ReadWriteMany is for PostgreSQL"),
        ({"database": {"url": "postgresql://a@b/c", "existingSecret": {"name": "db"}}}, "exclude each other"),
        ({"database": {"url": "sqlite:////var/lib/kilowait/x.db"}}, "must begin with postgresql://"),
        ({"database": {"url": "postgres://a@b/c"}}, "must begin with postgresql://"),
        ({"database": {"url": "postgresql://a:s3cr3t@b/c"}}, "holds a password"),
        ({"database": {"url": "postgresql://a:s3/cr3t@b/c"}}, "holds a password"),
        ({"database": {"url": "postgresql://b/c?user=a&password=s3cr3t"}}, "holds a password"),
        ({"regions": [REGIONS[0], REGIONS[0]]}, "us-west is given twice"),
        ({"server": {"enabled": False}}, "agent.server is empty"),
        ({"server": {"enabled": False}, "agent": {"enabled": False}}, "nothing to install"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_a_way_out(
    render: Render, values: dict[str, Any], why: str
) -> None:
    with pytest.raises(Exception, match=why) as refused:
        render(values)
    assert "s3" not in str(refused.value), "the password is shown"


def _leaves(schema: Mapping[str, Any], values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, bool]]:
    """Each key of the values with whether the schema knows it, for objects with fixed keys."""
    for key, value in values.items():
        known = schema["properties"].get(key)
        yield f"{path}/{key}", known is not None
        if isinstance(value, dict) and known is not None and "properties" in known:
            yield from _leaves(known, value, f"{path}/{key}")


def test_the_schema_knows_each_value_and_each_value_of_the_schema_has_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    known = dict(_leaves(schema, values))
    assert all(known.values()), known

    def closed(part: Any, path: str) -> None:
        if isinstance(part, dict):
            if "properties" in part and "$ref" not in part and "allOf" not in path:
                assert part.get("additionalProperties") is False, path
            for key, value in part.items():
                closed(value, f"{path}/{key}")
        elif isinstance(part, list):
            for index, value in enumerate(part):
                closed(value, f"{path}/{index}")

    closed(schema, "")

    def defaulted(part: Mapping[str, Any], given: Mapping[str, Any], path: str) -> None:
        for key, value in part["properties"].items():
            if (path, key) == ("", "global"):
                continue  # Helm's own
            assert key in given, f"{path}/{key} has no default in values.yaml"
            if isinstance(given[key], dict) and given[key] and "properties" in value:
                defaulted(value, given[key], f"{path}/{key}")

    defaulted(schema, values, "")


def test_each_key_of_the_values_is_described() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if re.match(r"\s*[A-Za-z_]+:", line):
            assert before.strip().startswith("# "), line


def test_the_chart_is_of_the_version_of_the_program(helm: Any) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert helm.Chart.load(CHART).metadata["appVersion"] == project["version"]


def test_the_chart_can_be_packaged_and_renders_the_same_from_the_package(
    helm: Any, render: Render, tmp_path: Path
) -> None:
    archive = Path(helm.package(CHART, destination=tmp_path))
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
    files = {path for path in CHART.rglob("*") if path.is_file()}
    assert names == {f"kilowait/{path.relative_to(CHART)}" for path in files}
    rendered = helm.Chart.load(archive).render({}, name="kilowait", namespace="carbon", is_install=True)
    texts = [text for path, text in sorted(rendered.items()) if not path.endswith("NOTES.txt")]
    assert "\n---\n".join(texts) == render().text


def test_the_notes_name_commands_for_objects_that_are_there(release: Rendered) -> None:
    there = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in release.objects}
    named = set(re.findall(r"\b((?:deployment|service|daemonset)/[a-z0-9-]+)", release.notes))
    assert named and named <= there
    agents = [one for one in release.objects if one["kind"] == "DaemonSet"]
    assert ("--role agent" in release.notes) is bool(agents)
    for agent in agents:
        [token] = [v["secret"] for v in agent["spec"]["template"]["spec"]["volumes"] if v["name"] == "token"]
        key = token["items"][0]["key"]
        assert f"secret generic {token['secretName']} --from-file={key}=/dev/stdin" in release.notes


def test_the_values_in_the_documentation_install(render: Render) -> None:
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL)]
    assert len(examples) == 3
    for values in examples:
        assert render(values).objects


def test_the_documentation_names_values_that_exist() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    tops = "|".join(values)
    named = re.findall(rf"`((?:{tops})(?:\.[A-Za-z]+)+)(?:=[^`]*)?`", DOCS)
    assert len(named) > 5
    for name in named:
        functools.reduce(lambda part, key: part[key], name.split("."), values)
