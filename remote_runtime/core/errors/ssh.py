"""Codes of reaching and entering the machine."""

from __future__ import annotations

from .catalogue import CatalogueEntry

SSH = {
    "ssh-unreachable": CatalogueEntry(
        "nothing answers at the machine's SSH port",
        "The machine is off or still booting, its address has changed, or a firewall drops the connection.",
        "Check that it is on, and its address in `remote-runtime profiles show PROFILE`; `ssh -v` shows how far a "
        "connection gets.",
    ),
    "ssh-refused": CatalogueEntry(
        "the machine's SSH server refuses the connection or the command",
        "Too many connections at once, a login shell that ends at once, a server that forbids forwarding, or one that "
        "has no algorithm in common with this end.",
        "The log of its SSH server says why: `sudo journalctl -u ssh` on the machine.",
    ),
    "machine-booting": CatalogueEntry(
        "the machine is not up yet",
        "It was started a moment ago, and its SSH server does not answer yet.",
        "`timeouts.ssh: 3m` in the profile waits longer; `remote-runtime up PROFILE` tries again.",
    ),
    "machine-not-booted": CatalogueEntry(
        "the machine's system, or its SSH server, did not come up",
        "Its kernel panicked, it is in emergency mode, or its SSH server failed to start.",
        "`gcloud compute instances get-serial-port-output INSTANCE` shows the boot.",
    ),
    "os-login-required": CatalogueEntry(
        "the machine lets only OS Login users in",
        "Its metadata, or the project's, says `enable-oslogin`: keys in metadata and in files there do not count.",
        "`gcloud compute os-login describe-profile` shows your login name; set it as `ssh.user`.",
    ),
    "ssh-config-unsupported": CatalogueEntry(
        "~/.ssh/config asks for something that is not supported",
        "An option cannot be honoured, and without it the connection would go elsewhere.",
        "Say it in the profile instead: `target.host`, `target.port`, `target.jump`, `ssh.user`, `ssh.identity_file`.",
    ),
    "host-key-unknown": CatalogueEntry(
        "the machine's host key cannot be verified",
        "The machine was never connected to from here, and it publishes no host keys.",
        "Compare the fingerprint in the message on the machine, then set `ssh.host_key: accept-new`.",
    ),
    "host-key-changed": CatalogueEntry(
        "the machine shows another host key than the one we know",
        "The machine was made anew under the same name, or somebody is in between.",
        "If you know that it was made anew: `remote-runtime host-key forget PROFILE`.",
    ),
    "no-usable-key": CatalogueEntry(
        "the machine accepts none of the keys",
        "The login name is wrong, the machine does not know your key, or no key here can be used.",
        "Set `ssh.user` and `ssh.identity_file`; `remote-runtime up PROFILE` puts a key on a VM that knows none.",
    ),
    "passphrase-needed": CatalogueEntry(
        "a key is encrypted and nobody is there to unlock it",
        "The background process asks through `up`, and no terminal was there to ask on.",
        "Run `remote-runtime up PROFILE` in a terminal, or `ssh-add` the key to an agent first.",
    ),
    "two-factor-needed": CatalogueEntry(
        "the machine wants a second factor and nobody is there to give it",
        "The server asks for a code with every login, the reconnects of the background process included.",
        "Run `remote-runtime up PROFILE` in a terminal and type the code.",
    ),
    "iap-refused": CatalogueEntry(
        "Identity-Aware Proxy refuses the connection",
        "The account lacks `iap.tunnelInstances.accessViaIAP`, or the organisation's policy forbids it.",
        "Ask the project's owner for the role `roles/iap.tunnelResourceAccessor`.",
    ),
    "iap-backend-unreachable": CatalogueEntry(
        "Identity-Aware Proxy cannot reach the machine",
        "No firewall rule lets 35.235.240.0/20 in to the SSH port, or the SSH server is not up yet.",
        "Let IAP in: `gcloud compute firewall-rules create allow-ssh-from-iap --source-ranges=35.235.240.0/20 "
        "--allow=tcp:22`.",
    ),
    "iap-unreachable": CatalogueEntry(
        "Identity-Aware Proxy itself does not answer",
        "This computer is offline, a proxy or firewall here forbids WebSockets, or its certificate cannot be verified.",
        "`curl -sSI https://tunnel.cloudproxy.app` shows whether it is reached; `HTTPS_PROXY` names a proxy.",
    ),
}
