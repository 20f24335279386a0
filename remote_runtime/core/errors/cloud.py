"""Codes of Compute Engine."""

from __future__ import annotations

from .catalogue import CatalogueEntry

CLOUD = {
    "no-credentials": CatalogueEntry(
        "no usable Google credentials",
        "Nobody has signed in on this computer, the sign-in has expired, or no project is known.",
        "`gcloud auth application-default login` signs in; `target.project` names the project.",
    ),
    "instance-not-found": CatalogueEntry(
        "the project has no such instance",
        "The name, zone or project is mistyped, or the instance was deleted.",
        "`gcloud compute instances list` shows what is there; then mend `target` in the profile.",
    ),
    "instance-ambiguous": CatalogueEntry(
        "several instances fit the profile",
        "The name exists in several zones, or several instances have the labels.",
        "Set `target.zone`, `target.instance` or more `target.labels`.",
    ),
    "instance-stopped": CatalogueEntry(
        "the instance is not running and the profile or the command does not start it",
        "`target.start` is false, or a command that only looks met a stopped instance.",
        "`remote-runtime up PROFILE` starts it where the profile says `target.start: true`.",
    ),
    "instance-not-startable": CatalogueEntry(
        "Compute Engine could not start the instance",
        "The zone has no machine of that kind free, a disk is gone, or the instance stops right after its start.",
        "Try later or in another zone; the reason that Compute Engine gives is in the message.",
    ),
    "no-address": CatalogueEntry(
        "the instance has no address of the kind the profile asks for",
        "`target.connect` asks for an external or internal address that the instance does not have.",
        "Change `target.connect`, or give the instance an address: `gcloud compute instances add-access-config`.",
    ),
    "permission-denied": CatalogueEntry(
        "these credentials may not do this",
        "The account lacks a permission, or an API, billing, a quota project or a policy of the organization stands in "
        "the way: the message names what.",
        "Follow the command in the message; for a permission, ask the project's owner for a role that has it.",
    ),
    "key-not-added": CatalogueEntry(
        "our key could not be put on the instance",
        "Compute Engine or OS Login refuses the write; the reason it gives is in the message.",
        "Put a key there yourself and name it in `ssh.identity_file`: `gcloud compute ssh INSTANCE` does it.",
    ),
    "quota-exceeded": CatalogueEntry(
        "the project's quota does not allow this",
        "The project uses as many CPUs, GPUs or addresses as it may, or was never given any.",
        "Stop what is not needed, or ask for more on the Quotas page of the Google Cloud console.",
    ),
    "firewall-blocked": CatalogueEntry(
        "no firewall rule lets SSH in from where the connection comes",
        "The network's rules, or a policy of the organisation, do not allow the SSH port from there.",
        "`gcloud compute firewall-rules create` lets it in; the message has the whole command.",
    ),
    "cloud-unreachable": CatalogueEntry(
        "the Compute Engine API does not answer",
        "This computer is offline, a proxy stands between, or an endpoint override names a wrong address.",
        "Check the network, `HTTPS_PROXY` and `CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE`.",
    ),
    "cloud-client-killed": CatalogueEntry(
        "the process with Google's client was ended before it had an answer",
        "This computer's memory is used up, so the system ended it; or a limit of memory or processes (`ulimit`) did.",
        "Free memory (Google's client needs 200 MB for a moment), then run the command again.",
    ),
    "demo-failed": CatalogueEntry(
        "the demo machine could not be started",
        "The packages of the `demo` extra are missing, or its process was ended.",
        "`scripts/quickstart` installs what it needs; `remote-runtime down PROFILE` clears what is left of it.",
    ),
}
