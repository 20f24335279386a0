"""The methods of ``instances``: each answers a ``Call`` with JSON or raises ``ApiError``."""

from __future__ import annotations

from . import filters
from .api_errors import guest_attribute_not_found, invalid
from .creation import read_instance
from .instance import EmulatedInstance
from .operations import BASE
from .request import Call, no_results_warning, page, parse_metadata, unreachable_warning, zones_of
from .state import Cloud
from .values import Json

# What an instance writes to its first serial port when it boots.
BOOT = """\
SeaBIOS (version 1.8.2-google)
Booting from Hard Disk 0...
[    0.000000] Linux version 6.1.0-26-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC
[    2.317441] systemd[1]: Detected virtualization google.
[    2.401120] systemd[1]: Hostname set to <{name}>.
[  OK  ] Started ssh.service - OpenBSD Secure Shell server.
google_guest_agent[612]: GCE Agent Started
[  OK  ] Reached target multi-user.target - Multi-User System.
{name} login:
"""


def _instance(cloud: Cloud, call: Call) -> EmulatedInstance:
    return cloud.instance(call.project, call.zone, call.names["instance"])


def get(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return _instance(cloud, call).as_json()


def list_(cloud: Cloud, call: Call) -> Json:
    found = [instance for instance in _filtered(cloud, call) if instance["zone"].endswith(f"/{call.zone}")]
    return page(call, "compute#instanceList", found)


def aggregated_list(cloud: Cloud, call: Call) -> Json:
    found = page(call, "compute#instanceAggregatedList", _filtered(cloud, call))
    scopes: Json = {f"zones/{zone}": no_results_warning(zone) for zone in zones_of(cloud, call.project)}
    unreached = sorted(cloud.unreachable_zones & {scope.removeprefix("zones/") for scope in scopes})
    scopes |= {f"zones/{zone}": unreachable_warning(zone) for zone in unreached}
    if unreached:
        found["unreachables"] = [f"{BASE}projects/{call.project}/zones/{zone}" for zone in unreached]
    for instance in found.pop("items", []):
        scope = "zones/" + instance["zone"].rpartition("/")[2]
        scopes[scope].pop("warning", None)
        scopes[scope].setdefault("instances", []).append(instance)
    return found | {"items": scopes}


def insert(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        new = read_instance(cloud, call)
        return cloud.insert(EmulatedInstance(new.vm, new.parts, valid_for_s=new.valid_for_s), new.disks).as_json()


def delete(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        return cloud.delete(_instance(cloud, call)).as_json()


def change(cloud: Cloud, call: Call) -> Json:
    verb = call.path.rpartition("/")[2]
    with cloud.changed:
        instance = _instance(cloud, call)
        runs = instance.status == "RUNNING"
        if verb in ("stop", "suspend") and runs and instance.vm.local_ssds and "discardLocalSsd" not in call.query:
            raise invalid(
                "VM has a Local SSD attached but an undefined value for `discard-local-ssd`. If using gcloud, please "
                "add `--discard-local-ssd=false` or `--discard-local-ssd=true` to your command."
            )
        return cloud.change(verb, instance).as_json()


def set_metadata(cloud: Cloud, call: Call) -> Json:
    metadata, fingerprint = parse_metadata(call.body)
    with cloud.changed:
        return cloud.set_metadata(_instance(cloud, call), metadata, fingerprint).as_json()


def get_guest_attributes(cloud: Cloud, call: Call) -> Json:
    query_path = call.query.get("queryPath", "")
    with cloud.changed:
        instance = _instance(cloud, call)
        enabled = cloud.guest_attributes_enabled(instance)
        found = {key: value for key, value in instance.guest_attributes.items() if key.startswith(query_path)}
    if not enabled or not found:
        raise guest_attribute_not_found(query_path)
    entries = [
        {"namespace": key.partition("/")[0], "key": key.partition("/")[2], "value": value}
        for key, value in found.items()
    ]
    return {
        "kind": "compute#guestAttributes",
        "queryPath": query_path,
        "queryValue": {"items": entries},
        "selfLink": f"{BASE}{call.path}",
    }


def get_serial_port_output(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        instance = _instance(cloud, call)
        contents = serial_output(instance.vm.name, instance.boot_count, instance.vm.boot_log)
    start = int(call.query.get("start", "0"))
    return {
        "kind": "compute#serialPortOutput",
        "selfLink": f"{BASE}{call.path}",
        "contents": contents[start:],
        "start": str(start),
        "next": str(len(contents)),
    }


def serial_output(name: str, boots: int, boot_log: str = "") -> str:
    """The log of all boots so far; lines end with CR LF."""
    return ((boot_log or BOOT).format(name=name) * boots).replace("\n", "\r\n")


def get_effective_firewalls(cloud: Cloud, call: Call) -> Json:
    with cloud.changed:
        _instance(cloud, call)
        answer: Json = {"firewalls": [dict(rule) for rule in cloud.networks[call.project]["firewalls"]]}
        policies = [dict(policy) for policy in cloud.firewall_policies]
    return answer | ({"firewallPolicys": policies} if policies else {})


def test_iam_permissions(cloud: Cloud, call: Call) -> Json:
    """Unlike the other methods, this one also answers for an instance that does not exist."""
    requested = (call.body or {}).get("permissions", [])
    granted = [permission for permission in requested if cloud.permits(permission)]
    return {"permissions": granted} if granted else {}


def _filtered(cloud: Cloud, call: Call) -> list[Json]:
    test = filters.parse(call.query.get("filter", ""))
    with cloud.changed:
        reached = [found for found in cloud.instances if found.vm.zone not in cloud.unreachable_zones]
        resources = [found.as_json() for found in reached if found.vm.project == call.project]
    return [resource for resource in resources if test(resource)]
