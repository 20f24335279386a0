"""From a connected socket to an encrypted link; and what is said of a server with which that fails."""

from __future__ import annotations

import time

import paramiko

from ..core.errors import SshError
from ..core.sanitize import clean_line
from .connect_options import Entry, NotYet, Waiting
from .proxy_command import ProxyCommand
from .reach import NotGreeted, Passage
from .transport.algorithms import nothing_in_common
from .transport.transport import Link

LONGER = "`timeouts.ssh` in the profile gives it longer, for example `3m`"
_SERVER_LOG = "The log of its SSH server tells more: `sudo journalctl -u ssh` on the machine"
# Loss shows after that; and a server that is only slow has answered after this.
_LOST_AFTER_S, _SLOW_S = 0.9, 8.0
# What OpenSSH says instead of its version: since 9.8 (PerSourcePenalties), and since 8.5 (MaxStartups).
_NOT_NOW = {
    "Not allowed at this time": "it refuses this address for a while, after logins that failed (PerSourcePenalties)",
    "Exceeded MaxStartups": "too many logins are under way there at once (MaxStartups)",
}


def negotiate(link: Link, where: str, entry: Entry, passage: Passage | None) -> None:
    """Raises ``NotYet``, ``SshError``, ``Interrupted``. ``passage``: what leads there, if it is no plain socket."""
    deadline = entry.answer_by
    began = time.monotonic()
    waiting = Waiting(entry.tell, lambda: f"{where} ({_so_far(link, passage)})", deadline)
    try:
        link.negotiate(deadline, waiting)
    except (EOFError, OSError, paramiko.SSHException) as error:
        if isinstance(error, TimeoutError) or deadline.passed():
            raise _out_of_time(link, where, passage, time.monotonic() - began) from error
        raise _failed(link, where, passage, error) from error


def hung_up(where: str, why: str, hint: str = _SERVER_LOG) -> NotYet:
    return NotYet("hung up", SshError("ssh-refused", f"The SSH server at {where} closes the connection", why, hint))


def ended_on_the_way(where: str, when: str, why: str, *, is_command: bool) -> NotYet:
    """Not by the server. ``is_command``: through a ProxyCommand."""
    hint = "Correct `ProxyCommand` in ~/.ssh/config" if is_command else ""
    return NotYet("hung up", SshError("ssh-unreachable", f"The connection to {where} ended {when}", why, hint))


def _so_far(link: Link, passage: Passage | None) -> str:
    if link.remote_version:
        return "it has greeted, and the key exchange does not get on"
    said = passage.says() if isinstance(passage, ProxyCommand) else ""
    return f"no greeting yet; the ProxyCommand says: {said}" if said else link.said.after("no greeting yet")


def _out_of_time(link: Link, where: str, passage: Passage | None, waited_s: float) -> NotYet:
    if link.remote_version:
        version = clean_line(link.remote_version, 80)
        how_far = "the key exchange began and got no further" if link.offered else "nothing of the key exchange arrived"
        since_s = time.monotonic() - link.greeted_at
        why = f"the server greets ({version}), and {how_far} in the {since_s:.1f} s after that"
        if since_s < _LOST_AFTER_S:
            return NotYet("silent", SshError("ssh-unreachable", f"No key exchange with {where}", why, LONGER))
        why += ": large packets may get lost on the way, as with the MTU of a VPN"
        hint = "Give the VPN's network interface a smaller MTU: `sudo ip link set dev INTERFACE mtu 1280` on Linux"
        if since_s < _SLOW_S:
            hint = f"{LONGER}; if that does not help: {hint[0].lower()}{hint[1:]}"
        return NotYet("silent", SshError("ssh-unreachable", f"No key exchange with {where}", why, hint))
    if isinstance(passage, ProxyCommand):
        why = f"no SSH server answered through the ProxyCommand in {waited_s:.0f} s"
        if ended := passage.why_ended():
            why += f"; {ended}, and what it has left running keeps the connection open"
        elif passage.says():
            why += f"; it says: {passage.says()}"
    elif str(link.said):
        why = link.said.after(f"it sends text, and no SSH version in {waited_s:.0f} s")
    else:
        why = f"it accepts connections and says nothing for {waited_s:.0f} s"
    return NotYet("silent", NotGreeted("ssh-unreachable", f"No SSH server answers at {where}", why, LONGER))


def _failed(link: Link, where: str, passage: Passage | None, error: Exception) -> NotYet | SshError:
    if not link.remote_version:
        return _not_greeted(link, where, passage, error)
    why, hint = ("", "")
    if link.offered:
        why, hint = nothing_in_common(link.offered, link.get_security_options(), link.remote_version)
    if why:
        return SshError("ssh-refused", f"The SSH server at {where} has no algorithm in common with this end", why, hint)
    if ended := link.why_sock_ended():
        return ended_on_the_way(where, "during the key exchange", ended, is_command=isinstance(passage, ProxyCommand))
    if link.disconnect_text:
        return hung_up(where, link.said.after(link.disconnect_text))
    if isinstance(error, paramiko.SSHException):
        why = clean_line(str(error), 300)
        return SshError("ssh-refused", f"The key exchange with {where} fails", why, _SERVER_LOG)
    return hung_up(where, link.said.after("the server closes the connection during the key exchange"))


def _not_greeted(link: Link, where: str, passage: Passage | None, error: Exception) -> NotYet | SshError:
    if ended := link.why_sock_ended():
        is_command = isinstance(passage, ProxyCommand)
        when = "before the greeting of an SSH server"
        problem = ended_on_the_way(where, when, link.said.after(ended), is_command=is_command)
        return problem.error if isinstance(passage, ProxyCommand) and passage.cannot_run else problem
    said = str(link.said)
    for words, meaning in _NOT_NOW.items():
        if words in said:
            hint = (
                "Wait some minutes; a `PerSourcePenaltyExemptList` or a larger `MaxStartups` in its sshd_config helps"
            )
            what = f"The SSH server at {where} takes no connection now"
            return NotYet("not now", SshError("ssh-refused", what, f"{meaning}: {words}", hint))
    if link.said.first.startswith("HTTP/"):
        hint = "Set the port of its SSH server: `target.port`, or `ssh.port` for a VM"
        what, why = f"An HTTP server answers at {where}, not SSH", f"it says: {link.said.first}"
        return SshError("ssh-refused", what, why, hint)
    if isinstance(error, paramiko.SSHException):
        what = f"No SSH server that is understood answers at {where}"
        return SshError("ssh-refused", what, link.said.after(clean_line(str(error), 200)), "Check the port")
    return hung_up(where, link.said.after("the server closes the connection before the greeting"))
