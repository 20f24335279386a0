"""Codes of SSH connections and logins."""

from __future__ import annotations

from .catalogue import CatalogueEntry

SSH = {
    "ssh-unreachable": CatalogueEntry(
        "Can't connect to the machine's SSH port.",
        "The machine is off or still booting, its address has changed, or a firewall drops the connection.",
        "Check that the machine is on, and its address with `remote-runtime profiles show PROFILE`.",
    ),
    "ssh-refused": CatalogueEntry(
        "The SSH server refused the connection or the command.",
        "Too many connections are open, the login shell exits at once, forwarding is disabled, or the server shares no "
        "algorithm with this client.",
        "Check the SSH server's log on the machine with `sudo journalctl -u ssh`.",
    ),
    "forwarding-disabled": CatalogueEntry(
        "The SSH server does not forward connections.",
        "`AllowTcpForwarding` or `DisableForwarding` in sshd_config, or an option of your key, forbids it. Copying "
        "files needs it.",
        "Set `AllowTcpForwarding yes` in /etc/ssh/sshd_config on the machine, or copy with `scp`.",
    ),
    "machine-booting": CatalogueEntry(
        "The machine is still booting.",
        "It started a moment ago, and its SSH server is not running yet.",
        "Run `remote-runtime up PROFILE` again, or set `timeouts.ssh: 3m` in the profile.",
    ),
    "machine-not-booted": CatalogueEntry(
        "The machine's operating system or SSH server failed to start.",
        "The kernel panicked, the system is in emergency mode, or the SSH server failed.",
        "Run `gcloud compute instances get-serial-port-output INSTANCE` to see the boot log.",
    ),
    "os-login-required": CatalogueEntry(
        "The machine accepts only OS Login users.",
        "Its metadata, or the project's, has `enable-oslogin`: it ignores keys in metadata and in files.",
        "Run `gcloud compute os-login describe-profile` and set `ssh.user` to your login name.",
    ),
    "ssh-config-unsupported": CatalogueEntry(
        "~/.ssh/config has an unsupported option.",
        "The option is not supported, and without it the connection would reach another host.",
        "Set it in the profile: `target.host`, `target.port`, `target.jump`, `ssh.user`, `ssh.identity_file`.",
    ),
    "host-key-unknown": CatalogueEntry(
        "The machine's host key can't be verified.",
        "This is the first connection to the machine, and it publishes no host keys.",
        "Compare the fingerprint in the message with the machine's, then set `ssh.host_key: accept-new`.",
    ),
    "host-key-changed": CatalogueEntry(
        "The host key doesn't match the pinned host key.",
        "The machine was recreated under the same name, or the connection is being intercepted.",
        "If you know that it was recreated, run `remote-runtime host-key forget PROFILE`.",
    ),
    "no-usable-key": CatalogueEntry(
        "The machine rejects all of your SSH keys.",
        "The login name is wrong, your key is not authorized there, or no key on this computer can be used.",
        "Set `ssh.user` and `ssh.identity_file` in the profile. For a VM, `remote-runtime up PROFILE` adds a key.",
    ),
    "passphrase-needed": CatalogueEntry(
        "An SSH key needs its passphrase.",
        "The key is encrypted, and the background process has no terminal to prompt on.",
        "Run `remote-runtime up PROFILE` in a terminal, or add the key to an agent with `ssh-add`.",
    ),
    "two-factor-needed": CatalogueEntry(
        "The machine requires a 2FA code.",
        "The server requires a code at each login, also when the background process reconnects.",
        "Run `remote-runtime up PROFILE` in a terminal and type the code.",
    ),
    "iap-refused": CatalogueEntry(
        "Identity-Aware Proxy refused the connection.",
        "The account lacks `iap.tunnelInstances.accessViaIAP`, or an organization policy forbids the connection.",
        "Ask the project's owner for the role `roles/iap.tunnelResourceAccessor`.",
    ),
    "iap-backend-unreachable": CatalogueEntry(
        "Identity-Aware Proxy can't reach the machine.",
        "No firewall rule allows 35.235.240.0/20 to the SSH port, or the SSH server is not running yet.",
        "Run `gcloud compute firewall-rules create allow-ssh-from-iap --source-ranges=35.235.240.0/20 --allow=tcp:22`.",
    ),
    "iap-unreachable": CatalogueEntry(
        "Can't reach Identity-Aware Proxy.",
        "This computer is offline, a proxy or firewall blocks WebSockets, or the certificate can't be verified.",
        "Check the connection with `curl -sSI https://tunnel.cloudproxy.app`, and `HTTPS_PROXY`.",
    ),
}
