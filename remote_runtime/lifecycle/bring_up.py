"""The story of `up`: find the machine, enter it, start Jupyter, lead a local port to it, check the whole path.

``ensure`` is idempotent: a repair is the same story with what still holds skipped.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from ..core.access import InstalledKey, LoginAccess
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, SshError
from ..core.model import Forward, Health, Instance, Server, format_address
from ..core.profile import ExtraForward
from ..jupyter import health
from ..targets import KeyPolicy
from ..tunnel import open_files, ports
from ..tunnel.port_forwarder import PortForwarder
from . import debts
from .context import BringUpContext as BringUpContext
from .ensure_server import ensure_server as ensure_server
from .find import apply_lookup as apply_lookup
from .find import find_instance as find_instance
from .find import try_last_address
from .resources import Resources as Resources
from .resources import endpoint as endpoint
from .rollback import ROLLBACK_S, Rollback
from .upstream import open_upstream

log = logging.getLogger(__name__)
MAX_TRIES = 4  # of an `up`, while the connection is lost again and again


def ensure(context: BringUpContext, resources: Resources, *, start: bool, deadline: Deadline) -> Health:
    """Bring it up, or back. ``start``: whether a machine that does not run may be started.

    Raises ``RemoteRuntimeError``; what this call did is undone then, and its ``remains`` says what could not be.
    """
    rollback = Rollback(context.progress.step)
    try:
        with ExitStack() as stack:
            stack.push(lambda kind, error, trace: None if _is_hung(error) else resources.disconnect())
            stack.callback(rollback.run)
            debts.adopt_leftovers(context, rollback)
            bind_ports(context, resources, rollback)
            try_last_address(context, resources, deadline)
            tries, attempt = MAX_TRIES if start else 1, secrets.token_hex(8)
            while True:
                find_instance(context, resources, rollback, deadline, start=start)
                connect(context, resources, deadline, rollback)
                tries -= 1
                try:
                    reconnected = tries < MAX_TRIES - 1
                    ensure_server(
                        context,
                        resources,
                        rollback,
                        deadline,
                        user_requested=start,
                        attempt=attempt,
                        reconnected=reconnected,
                    )
                    open_forwards(context, resources, deadline)
                    seen = check_path(context, resources, deadline)
                    if start:
                        open_files.check_free_files()
                except RemoteRuntimeError as error:
                    if error.code != "too-many-files" and (cause := open_files.shortage_error(error)) is not None:
                        raise cause from error
                    lost_error = _connection_lost_error(resources, error)
                    if lost_error is None:
                        raise
                    if tries == 0 or deadline.passed():
                        raise lost_error from error
                    log.info("%s; once more", lost_error)
                    resources.disconnect()
                    continue
                if not apply_lookup(context, resources):
                    break
            stack.pop_all()
            return seen
    except RemoteRuntimeError as error:
        cause = open_files.reported_shortage(error)
        (cause or error).remains = tuple(rollback.failures)
        if cause is not None:
            raise cause from error
        raise


def _connection_lost_error(resources: Resources, error: RemoteRuntimeError) -> SshError | None:
    """What it is called when ``error`` comes of a link that dropped meanwhile; None when it does not."""
    session, instance = resources.session, resources.instance
    if isinstance(error, Interrupted) or session is None or not session.closed or instance is None:
        return None
    return SshError("ssh-unreachable", f"The connection to {instance.name} was lost", session.why_closed)


def _is_hung(error: BaseException | None) -> bool:
    """Jupyter lives and does not answer: what leads to it serves again when it does."""
    return isinstance(error, RemoteRuntimeError) and error.code == "jupyter-stuck"


def bind_ports(context: BringUpContext, resources: Resources, rollback: Rollback) -> None:
    """The local ports. Raises ``LocalError`` ``port-in-use``."""
    if resources.forwarder is not None and resources.is_listening():
        resources.bind_ipv6()
        if resources.forwarder.ipv6_taken_by:
            context.progress.note(
                f"The URL has 127.0.0.1, as localhost may be another program: {resources.forwarder.ipv6_taken_by}"
            )
        return
    resources.close()
    settings = context.profile.forward
    rollback.push("", resources.close)
    resources.forwarder = PortForwarder(ports.bind(settings.local_port, context.remembered_port))
    for extra in settings.extra:
        resources.extra_forwarders.append(PortForwarder(ports.bind(extra.local_port), http=False))
    resources.exposure_reason = (
        f"another program could listen on local port {context.remembered_port or resources.forwarder.port} meanwhile"
    )
    if context.remembered_port != resources.forwarder.port and ports.accepts(
        settings.local_port, context.remembered_port
    ):
        context.progress.note(
            f"Local port {context.remembered_port} is in use now; this runtime has {resources.forwarder.port}"
        )
    context.record(local_port=resources.forwarder.port)


def connect(context: BringUpContext, resources: Resources, deadline: Deadline, rollback: Rollback) -> None:
    """The connection to the machine that was found. Raises as ``Machines.connect``, with the cause if it is known."""
    if resources.is_connected():
        return
    if resources.instance is None:
        raise ValueError("the machine is found before it is entered")
    resources.disconnect()
    context.progress.step(f"Connecting to {resources.instance.name}")
    within = deadline.within(context.profile.timeouts.ssh_s)
    profile, target, progress = context.profile, context.target, context.progress
    instance = replace(resources.instance, started_from=None) if context.single_attempt else resources.instance
    try:
        session = target.connect(
            instance,
            prompt=context.prompt,
            progress=progress,
            deadline=within,
            installed_keys=context.keys,
            key_policy=_key_policy(context, resources, rollback, instance) if context.may_install_key else None,
            reconnect=context.single_attempt,
        )
    except SshError as error:
        if context.single_attempt:
            raise
        raise target.explain(resources.instance, error, progress=progress, deadline=deadline) from error
    resources.attach_session(session, profile.ssh.keepalive_s, instance.address)
    connected = session.instance
    if connected is not None and connected.via != resources.instance.via:
        resources.instance = replace(resources.instance, via=connected.via, why_via=connected.why_via)
        context.record(instance=resources.instance)
    if resources.instance.via == "iap":
        progress.note(f"Through Identity-Aware Proxy: {resources.instance.why_via}")
    if resources.instance.access is not None and resources.instance.access.two_factor and not context.single_attempt:
        again = "after a lost connection answer it with `remote-runtime up PROFILE`"
        progress.note(f"{resources.instance.name} asks for a second factor at each login: {again}")


def _key_policy(context: BringUpContext, resources: Resources, rollback: Rollback, found: Instance) -> KeyPolicy:
    """Records our key before and after it is written, so that it can be revoked whatever happens in between."""

    def new_keys(keys: tuple[InstalledKey, ...]) -> list[InstalledKey]:
        return [key for key in keys if key not in context.keys]

    def before_install(keys: tuple[InstalledKey, ...]) -> None:
        context.record(keys=keys)

        def revoke() -> None:
            context.target.revoke_keys(new_keys(keys), progress=context.progress, deadline=Deadline(ROLLBACK_S))
            context.record(keys=context.keys)

        if new_keys(keys) and not context.single_attempt:  # the next attempt would only have to install it again
            rollback.push(f"taking our key off {found.name}", revoke, key="key")

    def after_install(access: LoginAccess, keys: tuple[InstalledKey, ...]) -> None:
        context.record(keys=keys)
        resources.instance = replace(resources.instance or found, access=access)
        context.record(instance=resources.instance)
        for key in new_keys(keys)[:1]:
            until = datetime.fromtimestamp(key.until).astimezone().strftime("%Y-%m-%d %H:%M %Z")
            context.progress.note(
                f"Our key on {found.name} is valid until {until}; a lost connection renews it as long as the "
                "Google credentials are valid"
            )

    return KeyPolicy(before_install, after_install, renew=not context.single_attempt)


def open_forwards(context: BringUpContext, resources: Resources, deadline: Deadline) -> None:
    """The local ports to the machine's. Raises as ``open_way``."""
    forwarder, session, server = resources.forwarder, resources.session, resources.server
    if forwarder is None or session is None or server is None or resources.instance is None:
        raise ValueError("the tunnel is opened last")
    context.progress.step("Opening the tunnel")
    if resources.upstream is None or resources.upstream.closed or resources.upstream.address != server.address:
        resources.upstream = open_upstream(
            context.target,
            session,
            server.address,
            progress=context.progress.note,
            deadline=deadline,
        )
    forwarder.set_upstream(
        resources.upstream, server.token if server.can_prove_identity else None, server.required_listen_address
    )
    for extra, at in zip(resources.extra_forwarders, context.profile.forward.extra, strict=True):
        extra.set_upstream(resources.upstream.sibling(at.host, at.remote_port), None)
    forwards = _forwards(forwarder, server, context.profile.forward.extra)
    context.record(forwards=forwards, local_host="127.0.0.1" if forwarder.ipv6_taken_by else "localhost")


def check_path(context: BringUpContext, resources: Resources, deadline: Deadline) -> Health:
    context.progress.step("Checking the path as Colab will use it")
    within = deadline.within(context.profile.timeouts.ready_s)
    seen = health.wait_until_ready(
        resources.endpoint(context.profile), within, is_lost=lambda: not resources.is_connected()
    )
    for lack in seen.missing_settings:
        context.progress.note(lack)
    return seen


def _forwards(forwarder: PortForwarder, server: Server, extras: tuple[ExtraForward, ...]) -> tuple[Forward, ...]:
    return (
        Forward(forwarder.port, format_address(*server.address)),
        *(Forward(extra.local_port, format_address(extra.host, extra.remote_port)) for extra in extras),
    )
