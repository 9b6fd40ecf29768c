"""What is rendered, handed to the real server and the real agent: they take it, and mean the same by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from kilowait_agents.errors import Refused
from kilowait_agents.settings import Settings as AgentSettings
from kilowait_agents.settings import parse_settings
from kilowait_scheduler.api.app import create_app
from kilowait_scheduler.cli.app import app as command_line
from kilowait_scheduler.core.duration import parse_duration
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.service.compose import Server, compose, read_regions
from kilowait_scheduler.settings import Settings

from .conftest import CHART, MATRIX, REGIONS, Render, Rendered, env_of

pytestmark = pytest.mark.helm

SECRETS = {
    ("kilowait-database", "url"): "postgresql://kilowait:s3cr3t@db/kilowait",
    ("electricity-maps", "token"): "maps-token",
    ("electricity-maps", "api"): "maps-token",
    ("entsoe", "token"): "entsoe-token",
    ("eia", "key"): "eia-key",
    ("watttime", "password"): "watttime-password",
    ("ray-us-west", "token"): "west-token",
    ("ray-eu-north", "bearer"): "north-token",
    ("proxy", "user"): "someone",
}

# Settings that come out of a Secret, by the part of the chart's values that names it, and its key there by default.
SECRET_SETTINGS = {
    "electricity_maps_token": ("electricityMaps", "token"),
    "entsoe_token": ("entsoe", "token"),
    "eia_key": ("eia", "key"),
    "watttime_password": ("wattTime", "password"),
}

WITH_A_SERVER = {name: values for name, values in MATRIX.items() if name != "agents only"}
WITH_AGENTS = {name: values for name, values in MATRIX.items() if name != "no agents"}

Boot = Callable[[Rendered], dict[str, str]]


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boot:
    """Puts this process into the place of the server's pod, its mounted folders in `tmp_path`; the environment."""
    for name in [name for name in os.environ if name.startswith("KILOWAIT_")]:
        monkeypatch.delenv(name)

    def set_up(release: Rendered) -> dict[str, str]:
        container = release.container("Deployment")
        env = env_of(container, SECRETS)
        pod = release.get("Deployment")["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in container["volumeMounts"]:
            folder = tmp_path / mount["mountPath"].strip("/")
            folder.mkdir(parents=True)
            if "configMap" in volumes[mount["name"]]:
                files = release.get("ConfigMap")
                assert volumes[mount["name"]]["configMap"]["name"] == files["metadata"]["name"]
                for name, text in files["data"].items():
                    (folder / name).write_text(text)
        mounted = tuple(mount["mountPath"] for mount in container["volumeMounts"])
        env = {
            name: str(tmp_path / value.strip("/")) if value.startswith(mounted) else value
            for name, value in env.items()
        }
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return env

    return set_up


@pytest.mark.parametrize("values", WITH_A_SERVER.values(), ids=WITH_A_SERVER.keys())
def test_the_servers_environment_is_what_its_settings_read(
    render: Render, boot: Boot, tmp_path: Path, values: dict[str, Any]
) -> None:
    release = render(values)
    env = boot(release)
    settings = Settings()
    container = release.container("Deployment")
    assert (settings.host, settings.port) == ("0.0.0.0", container["ports"][0]["containerPort"])
    assert settings.state_dir == tmp_path / "var/lib/kilowait"
    assert settings.regions is not None and settings.regions.is_file()
    wanted = values.get("server", {}).get("settings", {})
    for name, value in wanted.items():
        meant = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
        if isinstance(getattr(settings, name), timedelta):
            meant = parse_duration(meant)
        assert getattr(settings, name) == meant, name
    database = values.get("database", {})
    if database.get("existingSecret"):
        assert settings.database_url == SECRETS["kilowait-database", "url"]
    elif database.get("url"):
        assert settings.database_url == database["url"]
    else:
        assert settings.database_url == f"sqlite:///{tmp_path}/var/lib/kilowait/kilowait.db"
    for name, (service, key) in SECRET_SETTINGS.items():
        secret = getattr(settings, name)
        wanted_secret = values.get(service, {}).get("existingSecret")
        named = SECRETS[wanted_secret["name"], wanted_secret.get("key", key)] if wanted_secret else None
        assert (secret.get_secret_value() if secret else None) == named, name
    assert "s3cr3t" not in release.text
    # Each variable of ours is a setting, a token of a region, or what client commands read.
    settings_read = {f"KILOWAIT_{name.upper()}" for name in Settings.model_fields}
    for name in env:
        if name.startswith("KILOWAIT_"):
            assert name in settings_read or name == "KILOWAIT_TOKEN_FILE" or name.startswith("KILOWAIT_RAY_TOKEN_")


@pytest.mark.parametrize("values", WITH_A_SERVER.values(), ids=WITH_A_SERVER.keys())
def test_the_regions_are_read_back_as_given_with_their_clusters_tokens(
    render: Render, boot: Boot, values: dict[str, Any]
) -> None:
    env = boot(render(values))
    given = values.get("regions", [])
    read = read_regions(Path(env["KILOWAIT_REGIONS"]))
    assert [region.name for region in read] == [row["name"] for row in given]
    for row, region in zip(given, read, strict=True):
        wanted = {key: value for key, value in row.items() if key != "token_secret"}
        assert region == Region(**wanted, token_env=region.token_env)
        secret = row.get("token_secret")
        assert (region.token_env is None) is (secret is None)
        if secret is not None and region.token_env is not None:
            assert env[region.token_env] == SECRETS[secret["name"], secret["key"]]


@pytest.fixture
def server(render: Render, boot: Boot) -> Server:
    """The real server, composed from what the chart renders; its control loop does not run."""
    boot(render({"regions": REGIONS}))
    return compose(Settings())


async def test_the_probes_ask_what_the_server_answers(render: Render, server: Server) -> None:
    container = render().container("Deployment")
    [port] = container["ports"]
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in asked.values()} == {port["name"]}
    transport = httpx.ASGITransport(app=create_app(server))
    async with httpx.AsyncClient(transport=transport, base_url="http://pod") as client:
        answers = {kind: await client.get(probe["path"]) for kind, probe in asked.items()}
    assert {kind: answer.status_code for kind, answer in answers.items()} == {
        "startup": 200,
        "liveness": 200,
        "readiness": 503,
    }
    assert "has not gone round" in answers["readiness"].text  # it is the question about the control loop
    server.close()


def test_client_commands_in_the_servers_pod_find_its_admin_token(render: Render, server: Server) -> None:
    written = server.token_file
    assert os.environ["KILOWAIT_TOKEN_FILE"] == str(written) and written.is_file()
    # The notes read it by the path it has in the pod.
    assert f"cat /var/lib/kilowait/{written.name}" in render().notes
    server.close()


def test_the_servers_command_is_one(render: Render) -> None:
    container = render().container("Deployment")
    commands = typer.main.get_command(command_line).commands  # type: ignore[attr-defined]
    assert container["command"] == ["kilowait"]
    assert len(container["args"]) == 1 and container["args"][0] in commands


def _agent(release: Rendered, *, token: Path) -> AgentSettings:
    """The real agent's settings from the rendered arguments, `token` in the place of the mounted file."""
    container = release.container("DaemonSet")
    assert container["command"] == ["kilowait"] and container["args"][0] == "agent"
    pod = release.get("DaemonSet")["spec"]["template"]["spec"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "token"]
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "token"]
    mounted = f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"
    assert mounted in container["args"]
    arguments = [str(token) if one == mounted else one for one in container["args"][1:]]
    return parse_settings(arguments, {**env_of(container, {}), "KILOWAIT_NODE": "gpu-node-1"})


@pytest.mark.parametrize("values", WITH_AGENTS.values(), ids=WITH_AGENTS.keys())
def test_the_agents_arguments_are_what_the_agent_reads(render: Render, tmp_path: Path, values: dict[str, Any]) -> None:
    token = tmp_path / "token"
    token.write_text("kw_token\n")
    release = render(values)
    settings = _agent(release, token=token)
    wanted = values.get("agent", {})
    if "server" in wanted:
        assert settings.server == wanted["server"]
    else:
        service = release.get("Service")
        port = service["spec"]["ports"][0]["port"]
        assert settings.server == f"http://{service['metadata']['name']}:{port}"
    assert settings.read_token() == "kw_token"
    assert settings.region == wanted.get("region")
    assert settings.meter == wanted.get("meter", "nvml")
    assert (settings.interval_s, settings.flush_s) == ((0.5, 10.0) if "interval" in wanted else (None, 5.0))
    assert settings.node == "gpu-node-1"
    assert settings.sink is None
    mounts = {mount["mountPath"] for mount in release.container("DaemonSet")["volumeMounts"]}
    assert str(settings.state_dir) in mounts
    assert settings.metrics == (("0.0.0.0", 9101) if "metricsPort" in wanted else None)


def test_the_packages_of_the_host_are_where_the_agent_looks_for_them(render: Render, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("kw_token\n")
    release = render({"agent": {"meter": "rapl"}})
    settings = _agent(release, token=token)
    [mount] = [one for one in release.container("DaemonSet")["volumeMounts"] if one["name"] == "powercap"]
    assert (str(settings.powercap), mount["readOnly"]) == (mount["mountPath"], True)
    [volume] = [
        one for one in release.get("DaemonSet")["spec"]["template"]["spec"]["volumes"] if one["name"] == "powercap"
    ]
    assert volume["hostPath"]["path"] == "/sys/devices/virtual/powercap/intel-rapl"
    assert "powercap" not in render().text


def test_the_model_of_the_host_is_given_its_watts(render: Render, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("kw_token\n")
    settings = _agent(render({"agent": {"meter": "host", "hostIdleW": 210, "hostBusyW": "900.5"}}), token=token)
    assert (settings.meter, settings.host_idle_w, settings.host_busy_w) == ("host", 210, 900.5)


@pytest.mark.parametrize(("given", "watts"), [(0, 0), ("0", 0), (0.5, 0.5), ("", None), (None, None)])
def test_a_machine_without_idle_power_is_not_one_whose_idle_power_is_not_known(
    render: Render, tmp_path: Path, given: object, watts: float | None
) -> None:
    token = tmp_path / "token"
    token.write_text("kw_token\n")
    settings = _agent(render({"agent": {"meter": "host", "hostIdleW": given, "hostBusyW": given}}), token=token)
    assert (settings.host_idle_w, settings.host_busy_w) == (watts, watts)


def test_the_agent_is_named_after_its_node(render: Render) -> None:
    assert env_of(render().container("DaemonSet"), {})["KILOWAIT_NODE"] == "spec.nodeName"


def test_the_chart_offers_each_setting_that_is_not_its_own_to_make() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    made_here = {"host", "port", "state_dir", "database", "regions", *SECRET_SETTINGS}
    for_demonstrations = {"intensity", "intensity_column", "intensity_shift", "clock_speed", "clock_start"}
    offered = set(schema["properties"]["server"]["properties"]["settings"]["properties"])
    assert offered == set(Settings.model_fields) - made_here - for_demonstrations


def test_the_chart_takes_a_region_as_the_server_does() -> None:
    rows = json.loads((CHART / "values.schema.json").read_text())["properties"]["regions"]["items"]
    ours = Region.model_json_schema()
    assert set(rows["properties"]) - {"token_secret"} == set(ours["properties"]) - {"token_env"}
    assert set(rows["required"]) == set(ours["required"])
    for name in ("name", "zone", "address"):
        assert rows["properties"][name]["pattern"] == ours["properties"][name]["pattern"]


def test_the_chart_takes_the_meters_that_the_agent_has(tmp_path: Path) -> None:
    agent = json.loads((CHART / "values.schema.json").read_text())["properties"]["agent"]
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["agent"]
    sink = ["--sink", str(tmp_path / "out.jsonl")]
    for meter in agent["properties"]["meter"]["enum"]:
        assert parse_settings([*sink, "--meter", meter], {}).meter == meter
    with pytest.raises(Refused, match="choose from") as refused:
        parse_settings([*sink, "--meter", "none"], {})
    choices = str(refused.value).partition("choose from")[2]
    offered = set(agent["properties"]["meter"]["enum"])
    assert all(meter in choices for meter in offered)
    # The image has no amdsmi, which comes with ROCm; the chart does not offer what needs it.
    elsewhere = {"amd"}
    assert all(meter in choices for meter in elsewhere) and choices.count(",") == len(offered | elsewhere) - 1
    assert defaults["meter"] in agent["properties"]["meter"]["enum"]


_READER = """
import sys
from pathlib import Path
from kilowait_agents.owners import Owners
run = Owners().identify(int(sys.argv[1]))
print(run.run_id if run else "nobody")
"""
_NOBODY = 65534


def test_the_agents_capabilities_are_needed_and_enough_to_know_another_users_run(render: Render) -> None:
    """The kernel's own answer, for a job that runs as another user than the agent, as in Ray's images."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root on Linux with setpriv can lay capabilities down")
    given = render().container("DaemonSet")["securityContext"]["capabilities"]["add"]

    def seen_with(capabilities: list[str], pid: int) -> str:
        bounds = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities)])
        command = ["setpriv", f"--bounding-set={bounds}", "--no-new-privs", sys.executable, "-c", _READER, str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    with subprocess.Popen(
        ["sleep", "60"], user=_NOBODY, group=_NOBODY, extra_groups=[], env={"KILOWAIT_RUN_ID": "run-1", **os.environ}
    ) as job:
        try:
            assert seen_with(given, job.pid) == "run-1"
            for missing in given:
                assert seen_with([name for name in given if name != missing], job.pid) == "nobody"
        finally:
            job.kill()
