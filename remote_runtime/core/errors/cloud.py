"""Codes of Compute Engine."""

from __future__ import annotations

from .catalogue import CatalogueEntry

CLOUD = {
    "no-credentials": CatalogueEntry(
        "Not signed in to Google Cloud.",
        "No credentials were found on this computer, they have expired, or they would be sent unencrypted.",
        "Run `gcloud auth application-default login`. It is part of the Google Cloud CLI "
        "(https://cloud.google.com/sdk/docs/install).",
    ),
    "no-project": CatalogueEntry(
        "No Google Cloud project is set.",
        "The profile, the environment, the gcloud configuration and the credentials name no project, or an invalid "
        "one.",
        "Set `target.project` in the profile, or run `gcloud config set project PROJECT_ID`.",
    ),
    "instance-not-found": CatalogueEntry(
        "The project has no such instance.",
        "The name, zone or project is misspelled, or the instance was deleted.",
        "Run `gcloud compute instances list` to see the instances, then fix `target` in the profile.",
    ),
    "instance-ambiguous": CatalogueEntry(
        "Several instances match the profile.",
        "The name exists in several zones, or several instances have the labels.",
        "Set `target.zone`, `target.instance` or more `target.labels`.",
    ),
    "instance-stopped": CatalogueEntry(
        "The instance is not running, and `target.start` or the command does not start it.",
        "`target.start` is false, or a command such as `doctor` or `ssh` found a stopped instance.",
        "Set `target.start: true` and run `remote-runtime up PROFILE`.",
    ),
    "instance-not-startable": CatalogueEntry(
        "Compute Engine could not start the instance.",
        "A disk is missing, the request is rejected, or the instance stops right after it starts. The message has "
        "Compute Engine's reason.",
        "Follow the command in the message, then run `remote-runtime up PROFILE`.",
    ),
    "no-capacity": CatalogueEntry(
        "No zone has capacity for this VM now.",
        "Compute Engine has no free machine of this type in the zones that were tried. The message lists each zone.",
        "Move a stopped VM to another zone with `remote-runtime up PROFILE --move`. For a new VM, add zones to "
        "`target.zones`, or use another `machine_type`. Or try again later.",
    ),
    "instance-not-movable": CatalogueEntry(
        "The VM can't move to another zone.",
        "A move would lose data, or the VM depends on its zone. Nothing was created. The message has the reason.",
        "Follow the message, then run `remote-runtime up PROFILE --move`.",
    ),
    "instance-not-created": CatalogueEntry(
        "The VM could not be created.",
        "Compute Engine rejected the request, or the profile asks for an image, a machine type or a size that does not "
        "exist. The message has the reason.",
        "Fix `target.create` in the profile, then run `remote-runtime up PROFILE`.",
    ),
    "not-created-here": CatalogueEntry(
        "The VM was not created by this runtime, so it is not deleted.",
        "The VM does not have the label `remote-runtime-created-by` with the id of this runtime.",
        "Stop it with `remote-runtime down PROFILE --stop-instance`, or delete it with `gcloud compute instances "
        "delete`.",
    ),
    "no-address": CatalogueEntry(
        "The instance has no address of the requested kind.",
        "`target.connect` requests an external or internal address that the instance does not have.",
        "Change `target.connect`, or add an address with `gcloud compute instances add-access-config`.",
    ),
    "permission-denied": CatalogueEntry(
        "The account does not have permission for a request.",
        "The account lacks an IAM permission, or an API, billing, a quota project or an organization policy blocks the "
        "request. The message names it.",
        "Run the command in the message. For a missing permission, ask the project's owner for a role that includes "
        "it.",
    ),
    "key-not-added": CatalogueEntry(
        "The SSH key could not be added to the instance.",
        "Compute Engine or OS Login refused the change. The message has the reason.",
        "Add a key with `gcloud compute ssh INSTANCE`, then set `ssh.identity_file`.",
    ),
    "quota-exceeded": CatalogueEntry(
        "The project's quota is too low.",
        "The project already uses all the CPUs, GPUs or addresses of its quota, or has no quota for them.",
        "Stop instances that you don't need, or request a higher quota on the Quotas page of the Google Cloud console.",
    ),
    "no-egress": CatalogueEntry(
        "The VM would have no internet access.",
        "The profile creates a VM without an external address, and no Cloud NAT serves its subnet. `up` installs "
        "Jupyter from a package registry, unless the image has it.",
        "Run the `gcloud compute routers` commands in the message, or set `target.create.external_address: true`.",
    ),
    "firewall-blocked": CatalogueEntry(
        "A firewall blocks the SSH port.",
        "No rule of the network, or of an organization policy, allows SSH from this source.",
        "Run the `gcloud compute firewall-rules create` command in the message.",
    ),
    "cloud-unreachable": CatalogueEntry(
        "Can't reach the Compute Engine API.",
        "This computer is offline, a proxy blocks the connection, or an endpoint override has a wrong address.",
        "Check the network, `HTTPS_PROXY` and `CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE`.",
    ),
    "cloud-client-killed": CatalogueEntry(
        "The process of Google's client library was killed.",
        "This computer ran out of memory, or a limit on memory or processes (`ulimit`) ended the process.",
        "Free 200 MB of memory, then run the command again.",
    ),
    "demo-failed": CatalogueEntry(
        "The demo VM could not start.",
        "A package that the demo needs is not installed, or its process was killed.",
        "Run `remote-runtime down PROFILE`, then `remote-runtime up PROFILE`.",
    ),
}
