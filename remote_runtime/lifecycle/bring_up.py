"""Brings a runtime up: find the machine, connect, start Jupyter, forward local ports to it, verify the connection.

``ensure`` is idempotent: a reconnect runs the same steps, and skips those whose result is still usable.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from ..core import open_files
from ..core.access import InstalledKey, LoginAccess
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, SshError
from ..core.model import Forward, Health, Instance, Server, format_address
from ..jupyter import health
from ..targets import KeyPolicy, LoginOptions, TargetSession
from ..tunnel import ports
from ..tunnel.port_forwarder import PortForwarder
from .context import BringUpContext
from .ensure_server import ensure_server
from .find import apply_lookup, find_instance, report_connected, try_last_address
from .resources import Resources, endpoint
from .rollback import ROLLBACK_S, Rollback, adopt_leftovers
from .upstream import open_upstream

log = logging.getLogger(__name__)
MAX_TRIES = 4  # of an `up` whose connection is lost again and again


def ensure(context: BringUpContext, resources: Resources, *, start: bool, deadline: Deadline) -> Health:
    """Bring the runtime up, or back up. ``start``: a machine that does not run may be started.

    Raises ``RemoteRuntimeError``. What this call did is undone then; ``remains`` of the error says what could not be.
    """
    rollback = Rollback(context.progress)
    try:
        with ExitStack() as stack:
            stack.push(lambda kind, error, trace: None if _is_hung(error) else resources.disconnect())
            stack.push(lambda kind, error, trace: rollback.run(error))
            result = _ensure(context, resources, rollback, deadline, start=start)
            stack.pop_all()
            return result
    except Exception as error:
        shortage = open_files.reported_shortage(error)  # also in a library, or in an import
        failure = shortage or error
        if isinstance(failure, RemoteRuntimeError):
            failure.remains = tuple(rollback.failures)
        if shortage is not None:
            raise shortage from error
        raise


def _ensure(
    context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline, *, start: bool
) -> Health:
    adopt_leftovers(context, rollback)
    forwarder = bind_ports(context, resources, rollback)
    try_last_address(context, resources, deadline)
    max_tries, attempt = MAX_TRIES if start else 1, secrets.token_hex(8)
    tries = 0
    while True:
        tries += 1
        instance = find_instance(context, resources, rollback, deadline, start=start)
        session = connect(context, resources, instance, rollback, deadline)
        try:
            server = ensure_server(
                context,
                resources,
                session,
                rollback,
                deadline,
                user_requested=start,
                attempt=attempt,
                reconnected=tries > 1,
            )
            is_new = open_forwards(context, resources, forwarder, session, server, deadline)
            result = check_path(context, forwarder, session, server, deadline)
            if is_new:
                report_forwards(context, resources, forwarder)
            if start:
                open_files.check_free_files()
        except RemoteRuntimeError as error:
            if error.code != "too-many-files" and (shortage := open_files.shortage_error(error)) is not None:
                raise shortage from error
            if isinstance(error, Interrupted) or not session.closed:
                raise
            lost = SshError("ssh-unreachable", f"The connection to {instance.name} was lost", session.why_closed)
            if tries == max_tries or deadline.passed():
                raise lost from error
            log.info("%s; once more", lost)
            resources.disconnect()
            continue
        if not apply_lookup(resources, context.progress, context.record):
            return result


def _is_hung(error: BaseException | None) -> bool:
    """Whether Jupyter runs and does not answer: the connection stays, and works again when Jupyter does."""
    return isinstance(error, RemoteRuntimeError) and error.code == "jupyter-stuck"


def bind_ports(context: BringUpContext, resources: Resources, rollback: Rollback) -> PortForwarder:
    """Bind the local ports; returns Jupyter's. Raises ``LocalError`` ``port-in-use``."""
    settings, progress, remembered = context.profile.forward, context.progress, context.remembered_port
    if resources.forwarder is not None and resources.is_listening():
        resources.bind_ipv6()
        if owner := resources.forwarder.ipv6_taken_by:
            progress.note(f"The URL uses 127.0.0.1, because localhost may reach another program: {owner}")
        return resources.forwarder
    resources.close()
    rollback.push("", resources.close)
    resources.forwarder = forwarder = PortForwarder(
        ports.bind(settings.local_port, remembered), on_change=resources.on_change
    )
    for extra in settings.extra:
        resources.extra_forwarders.append(
            PortForwarder(ports.bind(extra.local_port), http=False, on_change=resources.on_change)
        )
    resources.exposure_reason = f"another program could listen on local port {remembered or forwarder.port} meanwhile"
    resources.preferred_port = ports.preferred(settings.local_port, remembered)
    context.record(local_port=forwarder.port)
    return forwarder


def connect(
    context: BringUpContext, resources: Resources, instance: Instance, rollback: Rollback, deadline: Deadline
) -> TargetSession:
    """The session that is open, or a new one. Raises as ``Target.connect``, with the cause if it is known."""
    if resources.session is not None and not resources.session.closed:
        return resources.session
    resources.disconnect()
    profile, target, progress = context.profile, context.target, context.progress
    progress.step(f"Connecting to {instance.name}")
    try:
        options = LoginOptions(
            progress,
            deadline.within(profile.timeouts.ssh_s),
            context.prompt,
            context.keys,
            _key_policy(context, resources, instance, rollback) if context.may_install_key else None,
            reconnect=context.single_attempt,
        )
        session = target.connect(replace(instance, started_from=None) if context.single_attempt else instance, options)
    except SshError as error:
        if context.single_attempt:
            raise
        raise target.explain(instance, error, progress=progress, deadline=deadline) from error
    resources.attach_session(session, profile.ssh.keepalive_s, instance.address)
    instance = resources.instance or instance  # with the access of a new key
    connected = session.instance
    if connected is not None and connected.via != instance.via:
        resources.instance = instance = replace(instance, via=connected.via, why_via=connected.why_via)
        context.record(instance=instance)
    if instance.via == "iap":
        progress.note(f"Using Identity-Aware Proxy: {instance.why_via}")
    if instance.access is not None and instance.access.two_factor and not context.single_attempt:
        again = "after a connection loss, run `remote-runtime up PROFILE` to type it"
        progress.note(f"{instance.name} requires a 2FA code at each login: {again}")
    report_connected(progress, session, instance)
    return session


def _key_policy(context: BringUpContext, resources: Resources, instance: Instance, rollback: Rollback) -> KeyPolicy:
    """Records the key before it is written, so that it can be revoked whatever happens then, and afterwards."""

    def new_keys(keys: tuple[InstalledKey, ...]) -> list[InstalledKey]:
        return [key for key in keys if key not in context.keys]

    def before_install(keys: tuple[InstalledKey, ...]) -> None:
        context.record(keys=keys)

        def revoke() -> None:
            context.target.revoke_keys(new_keys(keys), progress=context.progress, deadline=Deadline(ROLLBACK_S))
            context.record(keys=context.keys)

        if new_keys(keys) and not context.single_attempt:  # the next attempt would only have to install it again
            key = f"the SSH key from {instance.name}"
            rollback.push(f"removing {key}", revoke, done=f"removed {key}", key="key")

    def after_install(access: LoginAccess, keys: tuple[InstalledKey, ...]) -> None:
        resources.instance = replace(instance, access=access)
        context.record(keys=keys)
        context.record(instance=resources.instance)
        for key in new_keys(keys)[:1]:
            until = datetime.fromtimestamp(key.until).astimezone().strftime("%Y-%m-%d %H:%M %Z")
            context.progress.note(
                f"Added an SSH key to {instance.name}, valid until {until}; reconnects renew it while the Google "
                "credentials are valid"
            )

    return KeyPolicy(before_install, after_install, renew=not context.single_attempt)


def open_forwards(
    context: BringUpContext,
    resources: Resources,
    forwarder: PortForwarder,
    session: TargetSession,
    server: Server,
    deadline: Deadline,
) -> bool:
    """Forward the local ports to Jupyter's and to the profile's. Returns False if that was so already. Raises as
    ``open_upstream``."""
    context.progress.step(f"Forwarding localhost:{forwarder.port}")
    former_upstream, former_forwards = resources.upstream, resources.forwards
    upstream, extras = resources.upstream, context.profile.forward.extra
    if upstream is None or upstream.closed or upstream.address != server.address:
        upstream = resources.upstream = open_upstream(
            context.target,
            session,
            server.address,
            resources.streams,
            progress=context.progress.note,
            deadline=deadline,
        )
    token = server.token if server.can_prove_identity else None
    forwarder.set_upstream(upstream, token, server.required_listen_address)
    for extra_forwarder, extra in zip(resources.extra_forwarders, extras, strict=True):
        extra_forwarder.set_upstream(upstream.sibling(extra.host, extra.remote_port), None)
    forwards = (
        Forward(forwarder.port, format_address(*server.address)),
        *(Forward(extra.local_port, format_address(extra.host, extra.remote_port)) for extra in extras),
    )
    resources.forwards = forwards
    context.record(forwards=forwards, local_host="127.0.0.1" if forwarder.ipv6_taken_by else "localhost")
    return upstream is not former_upstream or forwards != former_forwards


def check_path(
    context: BringUpContext, forwarder: PortForwarder, session: TargetSession, server: Server, deadline: Deadline
) -> Health:
    """Wait until the connection works end to end. Raises as ``health.wait_until_ready``."""
    context.progress.step("Verifying the connection")
    result = health.wait_until_ready(
        endpoint(forwarder.port, server, context.profile, forwarder),
        deadline.within(context.profile.timeouts.ready_s),
        is_lost=lambda: session.closed,
    )
    for missing in result.missing_settings:
        context.progress.note(missing)
    return result


def report_forwards(context: BringUpContext, resources: Resources, forwarder: PortForwarder) -> None:
    preferred, resources.preferred_port = resources.preferred_port, None
    context.progress.finish(f"Forwarding localhost:{forwarder.port}, verified as Colab sees it")
    if preferred not in (None, forwarder.port):
        context.progress.note(f"Port {preferred} is in use; using {forwarder.port}")
