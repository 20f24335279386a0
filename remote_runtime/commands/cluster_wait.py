"""The wait of `up --workers N` for workers of the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import profiles
from ..core.cluster import Cluster, ClusterWorker
from ..core.deadline import Deadline
from ..core.documents import runtime_document
from ..core.errors import DeadlinePassed, Interrupted, LocalError, RemoteRuntimeError, UsageError, from_code
from ..core.profile import Profile
from ..state import store
from .context import CommandContext

if TYPE_CHECKING:
    from ..state.ipc import ControlChannel

POLL_S = 0.2


def check_workers(profile: Profile, count: int | None, environ: Mapping[str, str]) -> None:
    """Raises ``UsageError`` if the profile of a worker has a mistake, or there are not so many."""
    workers = len(profiles.load_cluster_workers(profile, environ))
    if count is not None and count > workers:
        why = f"its cluster has {workers}" if workers else "it has no `cluster`"
        raise UsageError("usage", f"--workers {count} is more than {profile.name} has", why)


def wait_for_workers(
    profile: Profile, count: int, channel: ControlChannel, context: CommandContext, timeout_s: float | None
) -> dict[str, Any]:
    """RUNTIME when ``count`` workers have joined; each is shown as it joins. The runtime stays when this fails.
    ``timeout_s``: None for the profile's. Raises ``RemoteRuntimeError``: the scheduler's or a worker's,
    ``DeadlinePassed``, ``Interrupted``."""
    name, view, shown = profile.name, context.view, set[str]()
    deadline = Deadline(timeout_s or profile.up_timeout_s)
    view.step(name, f"Waiting for {_count(count, 'worker')}", f"{_count(count, 'worker')} joined")
    while True:
        if context.cancelled.is_set():
            raise Interrupted(why=f"{name} keeps running, and its workers continue to join")
        _answer(channel, context, name)
        runtime = store.load_if_readable(context.state, name)
        cluster = runtime.cluster if runtime else None
        if runtime is None or cluster is None or runtime.state == "down":
            raise LocalError("not-up", f"{name} is not running any more", runtime.why if runtime else "")
        for worker in cluster.workers:
            if worker.state == "joined" and worker.name not in shown:
                shown.add(worker.name)
                view.note(name, f"Worker {worker.name} joined ({_count(worker.threads, 'thread')})")
        if cluster.joined >= count:
            return runtime_document(runtime)
        if (error := _failure(cluster, count)) is not None:
            raise error
        if deadline.passed():
            raise _late_error(cluster, count, deadline)


def _answer(channel: ControlChannel, context: CommandContext, name: str) -> None:
    """A worker's login may ask for something."""
    try:
        event = channel.receive(POLL_S)
    except (EOFError, OSError) as error:
        raise LocalError("keeper-died", f"The background process of {name} has ended") from error
    if event is not None and event["event"] == "ask":
        try:
            answer: str | None = context.view.prompt(name, event["prompt"], secret=event["secret"])
        except EOFError:
            answer = None
        channel.send({"op": "answer", "id": event["id"], "text": answer})


def _failure(cluster: Cluster, count: int) -> RemoteRuntimeError | None:
    """Why so many workers will not join until a person changes something."""
    if cluster.state == "failed":
        return _error("The cluster's scheduler did not start", cluster)
    failed = [each for each in cluster.workers if each.state == "failed"]
    usable = [each for each in cluster.workers if each.state not in ("failed", "removed")]
    if len(usable) >= count or not failed:
        return None
    return _error(f"Worker {failed[0].name} did not join", failed[0])


def _error(what: str, failed: Cluster | ClusterWorker) -> RemoteRuntimeError:
    return from_code(failed.code or "bug", what, failed.why)


def _late_error(cluster: Cluster, count: int, deadline: Deadline) -> DeadlinePassed:
    missing = [f"{each.name}: {each.why or each.state}" for each in cluster.workers if each.state != "joined"]
    what = f"{cluster.joined} of {count} workers joined within {deadline.timeout_s:.0f} s"
    return DeadlinePassed(what, "; ".join(missing), "`remote-runtime status PROFILE` shows the workers")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
