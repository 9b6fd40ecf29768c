"""What the pods may do: as little as their work takes, and no secret is written down anywhere."""

from __future__ import annotations

import pytest
import yaml

from .conftest import REGIONS, Render, Rendered, env_of

pytestmark = pytest.mark.helm


def test_no_object_is_a_secret_and_no_variable_with_a_token_has_a_value(release: Rendered) -> None:
    assert "Secret" not in {one["kind"] for one in release.objects}
    for pod in release.pods():
        for variable in pod["containers"][0].get("env", ()):
            if "TOKEN" in variable["name"] and not variable["name"].endswith("_FILE"):
                assert set(variable["valueFrom"]) == {"secretKeyRef"}, variable["name"]


def test_no_pod_can_talk_to_the_kubernetes_api(release: Rendered) -> None:
    assert not {one["kind"] for one in release.objects} & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}
    accounts = {
        one["metadata"]["name"]: one["automountServiceAccountToken"]
        for one in release.objects
        if one["kind"] == "ServiceAccount"
    }
    for pod in release.pods():
        assert accounts[pod["serviceAccountName"]] is False
        assert pod["automountServiceAccountToken"] is False


def test_services_put_no_variables_into_the_pods(release: Rendered) -> None:
    """A Service named kilowait would set KILOWAIT_PORT=tcp://10.0.0.1:80, which is a setting of the server."""
    for pod in release.pods():
        assert pod["enableServiceLinks"] is False


def test_every_container_says_what_it_takes_and_cannot_write_its_image(release: Rendered) -> None:
    for pod in release.pods():
        [container] = pod["containers"]
        assert container["resources"]["requests"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not context.get("privileged")
        assert not pod.get("hostNetwork") and not pod.get("hostIPC")


def test_the_memory_of_both_is_limited_by_default(render: Render) -> None:
    release = render()
    for kind in ("Deployment", "DaemonSet"):
        assert release.container(kind)["resources"]["limits"]["memory"]


def test_images_have_a_version(release: Rendered) -> None:
    for pod in release.pods():
        _, _, tag = pod["containers"][0]["image"].rpartition(":")
        assert tag and tag != "latest"


def test_the_server_meets_the_restricted_pod_security_level(release: Rendered) -> None:
    """As the Pod Security Standards word it: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    servers = [one for one in release.objects if one["kind"] == "Deployment"]
    for server in servers:
        pod = server["spec"]["template"]["spec"]
        assert not pod.get("hostPID")
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert "add" not in pod["containers"][0]["securityContext"]["capabilities"]
        allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
        assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])


def test_the_agent_sees_the_hosts_processes_and_has_two_capabilities(render: Render) -> None:
    release = render()
    assert release.get("DaemonSet")["spec"]["template"]["spec"]["hostPID"] is True
    context = release.container("DaemonSet")["securityContext"]
    assert context["runAsUser"] == 0
    assert sorted(context["capabilities"]["add"]) == ["DAC_READ_SEARCH", "SYS_PTRACE"]


def test_agents_run_on_gpu_nodes_and_reserve_no_gpu(render: Render) -> None:
    release = render()
    pod = release.get("DaemonSet")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "nvidia.com/gpu" not in yaml.safe_dump(pod["containers"][0]["resources"])
    assert env_of(pod["containers"][0], {})["NVIDIA_VISIBLE_DEVICES"] == "all"


def test_a_lone_server_is_replaced_and_several_are_rolled(render: Render) -> None:
    assert render().get("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    many = render(
        {
            "server": {"replicas": 3},
            "database": {"url": "postgresql://kilowait@db/kilowait"},
            "persistence": {"existingClaim": "shared"},
        }
    )
    assert many.get("Deployment")["spec"]["strategy"] == {"type": "RollingUpdate"}
    assert many.get("Deployment")["spec"]["replicas"] == 3
    assert "PersistentVolumeClaim" not in {one["kind"] for one in many.objects}


def test_the_ledger_outlives_the_release(render: Render) -> None:
    claim = render().get("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_a_change_of_regions_starts_the_server_anew(render: Render) -> None:
    def checksum(capacity: int) -> str:
        server = render({"regions": [{**REGIONS[2], "capacity_gpus": capacity}]}).get("Deployment")
        return str(server["spec"]["template"]["metadata"]["annotations"]["checksum/regions"])

    assert checksum(8) == checksum(8) != checksum(16)


def test_a_network_policy_lets_the_namespace_in_unless_told_whom(render: Render) -> None:
    def peers(**values: object) -> object:
        policy = render({"networkPolicy": {"enabled": True, **values}}).get("NetworkPolicy", component="server")
        [rule] = policy["spec"]["ingress"]
        assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
        return rule["from"]

    assert peers() == [{"podSelector": {}}]
    ingress = [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]
    assert peers(**{"from": ingress}) == ingress


def test_nobody_may_connect_to_an_agent_under_network_policies(render: Render) -> None:
    policy = render({"networkPolicy": {"enabled": True}}).get("NetworkPolicy", component="agent")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in policy["spec"]
