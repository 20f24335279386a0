"""`profiles new`: a profile from a few answers. Flags give them, or a person is asked; the rest is proposed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from .. import compute, profiles, ssh
from ..core.callbacks import Tell
from ..core.deadline import Deadline
from ..core.errors import Interrupted, LocalError, RemoteRuntimeError, UsageError
from ..core.frozen import dataclass
from ..core.private_file import write_private
from ..core.profile import GceTarget, LocalTarget, SshTarget
from ..profiles import Draft

Kind = Literal["gce", "ssh", "local"]
OnDown = Literal["keep", "stop", "suspend"]
LOOK_S = 60.0
KINDS = (
    ("gce", "a Compute Engine VM"),
    ("ssh", "any host that you reach with ssh"),
    ("local", "this computer"),
)


class Person(Protocol):
    """Who answers. ``ask`` and ``choose`` come back only with what ``why_not`` has nothing against."""

    def tell(self, text: str) -> None: ...
    def trouble(self, error: RemoteRuntimeError) -> None:
        """It failed, and the conversation goes on."""

    def working(self, text: str) -> AbstractContextManager[Tell]:
        """Around what takes a while."""

    def ask(self, question: str, *, default: str, why_not: Callable[[str], str]) -> str: ...
    def choose(
        self,
        question: str,
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        default: str,
        why_not: Callable[[str], str],
    ) -> Sequence[str]:
        """One of ``rows``, or what was typed instead as the only cell."""

    def confirm(self, question: str, *, default: bool) -> bool: ...


@dataclass(frozen=True)
class Given:
    """What the command line says; None is not given."""

    name: str | None = None
    kind: Kind | None = None
    project: str | None = None
    zone: str | None = None
    instance: str | None = None
    host: str | None = None
    user: str | None = None
    on_down: OnDown | None = None
    idle: str | None = None

    def is_enough(self) -> bool:
        """Whether nobody needs to be asked."""
        return bool(self.kind == "local" or self.instance or self.host)

    def of_a_kind(self) -> Given:
        """With the kind that the other flags imply. Raises ``UsageError`` when they contradict each other."""
        kinds: set[Kind] = {self.kind} if self.kind else set()
        if self.project or self.zone or self.instance or self.on_down or self.idle:
            kinds.add("gce")
        if self.host:
            kinds.add("ssh")
        if len(kinds) > 1:
            raise UsageError("usage", f"Some flags are for a target of kind {', others for '.join(sorted(kinds))}")
        for key in profiles.ASKED:
            value = getattr(self, key)
            why = profiles.why_not(key, value) if value is not None else ""
            if why:
                raise UsageError("usage", f"--{key}: {why}")
        return replace(self, kind=next(iter(kinds), None))


def drafted(given: Given, environ: Mapping[str, str]) -> Draft:
    """The profile that the flags alone describe. Raises ``UsageError`` when they are not enough."""
    given = given.of_a_kind()
    if not given.is_enough():
        raise UsageError(
            "usage",
            "Nobody can be asked here, and the flags do not say which machine",
            "",
            "Give --instance, --host, or --kind local",
        )
    return _draft(given, given.name or next(_proposals(given, environ)))


def interview(given: Given, person: Person, environ: Mapping[str, str]) -> Draft:
    """Asks for what the flags do not say. Raises ``UsageError``, ``EOFError``, ``KeyboardInterrupt``."""
    given = given.of_a_kind()
    if given.kind is None:
        kind = person.choose("Which machine?", ("KIND", "IT IS"), KINDS, default="gce", why_not=_no_kind)[0]
        given = replace(given, kind=kind)  # type: ignore[arg-type]  # one of KINDS
    about = ""
    if given.kind == "gce":
        given, about = _choose_instance(given, person, environ)
    elif given.kind == "ssh" and not given.host:
        given = _choose_host(given, person, environ)
    name = given.name or person.ask(
        "Name of the profile", default=next(_proposals(given, environ)), why_not=profiles.why_no_name
    )
    return _draft(given, name, about)


def write(draft: Draft, *, force: bool, environ: Mapping[str, str]) -> Path:
    """The file, in the user's own folder, 0600. Raises ``UsageError`` when there is one that ``force`` does not allow
    to be written over or hidden, and ``LocalError`` ``profile-not-written``."""
    why = profiles.why_no_name(draft.name)
    if why:
        raise UsageError("profile-invalid", f"{draft.name!r:.80} is not a name", why)
    path = where(draft.name, environ)
    others = [found for found in profiles.find_all(environ) if found.name == draft.name and not found.shadowed]
    for other in others:
        if other.path != path and other.origin == "environment":
            raise UsageError(
                "usage",
                f"There is a profile {draft.name} already",
                f"{other.path} would hide the new one",
                "Give it another name",
            )
        if not force:
            raise UsageError(
                "usage",
                f"There is a profile {draft.name} already",
                str(other.path),
                "Give it another name; --force writes it anyway",
            )
    text = draft.text()
    profiles.restore(draft.name, str(path), text)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, text.encode())
    except OSError as error:
        raise LocalError("profile-not-written", f"{path} cannot be written", error.strerror or str(error)) from error
    return path


def where(name: str, environ: Mapping[str, str]) -> Path:
    """The file of a profile of this name in the user's own folder."""
    return profiles.user_folder(environ, Path.cwd()) / f"{name}.yaml"


def is_taken(name: str, environ: Mapping[str, str]) -> bool:
    return any(found.name == name for found in profiles.find_all(environ))


def _choose_instance(given: Given, person: Person, environ: Mapping[str, str]) -> tuple[Given, str]:
    """With project, zone and instance, and a few words on it."""
    signed_in, about = True, ""
    if given.project is None:
        given, signed_in = _choose_project(given, person, environ)
    if given.instance is None:
        found = _candidates(given, person, environ) if signed_in and given.project else []
        rows = [_row(each) for each in found]
        chosen = _ask_instance(person, rows)
        given = replace(given, instance=chosen[0])
        if chosen in rows:
            machine = found[rows.index(chosen)]
            given = replace(given, zone=machine.zone)
            about = " with ".join(part for part in (machine.machine_type, machine.gpus) if part)
        elif given.zone is None:
            zone = person.ask(
                "Its zone (Enter: looked for in the whole project)", default="", why_not=_or_nothing("zone")
            )
            given = replace(given, zone=zone or None)
    if given.on_down is None:
        stop = person.confirm("Stop the VM at `down` too? It costs money while it runs", default=False)
        given = replace(given, on_down="stop" if stop else "keep")
    if given.idle is None:
        question = "Stop it too when nobody has used it for so long (2h, or never)"
        given = replace(given, idle=person.ask(question, default="never", why_not=_is_no("idle")))
    return given, about


def _choose_project(given: Given, person: Person, environ: Mapping[str, str]) -> tuple[Given, bool]:
    """Whether there are credentials too."""
    seen, signed_in = compute.Projects(), True
    try:
        with person.working("Looking for your projects") as tell:
            seen = compute.projects(tell=tell, deadline=Deadline(LOOK_S), environ=environ)
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        person.trouble(error)
        person.tell("Without them nothing can be looked up: type the names.")
        signed_in = False
    if seen.why_none:
        person.tell(f"Your projects cannot be listed: {seen.why_none}")
    if seen.ids:
        rows = [(each, f"from {seen.source}" if each == seen.default else "") for each in seen.ids]
        default = seen.default if seen.default in seen.ids or len(seen.ids) > 1 else seen.ids[0]
        project = person.choose("Project", ("PROJECT", "DEFAULT"), rows, default=default, why_not=_is_no("project"))[0]
    else:
        found = "gcloud's or the credentials'" if signed_in else "the one that gcloud is configured for"
        optional = "Project ID" if seen.default else f"Project ID (Enter: {found})"
        project = person.ask(optional, default=seen.default, why_not=_or_nothing("project"))
    return replace(given, project=project or None), signed_in


def _candidates(given: Given, person: Person, environ: Mapping[str, str]) -> list[compute.Candidate]:
    project = given.project or ""
    try:
        with person.working(f"Looking for the instances of {project}") as tell:
            found = compute.candidates(project, tell=tell, deadline=Deadline(LOOK_S), environ=environ)
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        person.trouble(error)
        return []
    fitting = [each for each in found if given.zone in (None, each.zone)]
    if not fitting:
        person.tell(f"There is no instance in project {project}" + (f", zone {given.zone}" if given.zone else ""))
    return fitting


def _ask_instance(person: Person, rows: Sequence[Sequence[str]]) -> Sequence[str]:
    if not rows:
        return [person.ask("Name of the instance", default="", why_not=_is_no("instance"))]
    head = ("INSTANCE", "ZONE", "STATUS", "GPU", "LABELS")
    default = str(rows[0][0]) if len(rows) == 1 else ""
    return person.choose("Instance", head, rows, default=default, why_not=_is_no("instance"))


def _row(machine: compute.Candidate) -> tuple[str, ...]:
    labels = ", ".join(f"{key}={value}" for key, value in machine.labels.items())
    return machine.name, machine.zone, machine.status, machine.gpus, labels


def _choose_host(given: Given, person: Person, environ: Mapping[str, str]) -> Given:
    rows = [(name, address) for name, address in ssh.hosts(environ).items()]

    def why_not(text: str) -> str:
        user, _, host = text.rpartition("@")
        return profiles.why_not("host", host) or (profiles.why_not("user", user) if user else "")

    if rows:
        typed = person.choose("Host", ("HOST", "ADDRESS"), rows, default="", why_not=why_not)[0]
    else:
        typed = person.ask("Host (a name or an address; USER@HOST)", default="", why_not=why_not)
    user, _, host = typed.rpartition("@")
    if host not in dict(rows) and not ssh.is_known(host):
        person.tell(f"This computer finds no host {host}: `up` fails unless ~/.ssh/config or a VPN leads to it")
    return replace(given, host=host, user=given.user or user or None)


def _draft(given: Given, name: str, about: str = "") -> Draft:
    target: GceTarget | SshTarget | LocalTarget
    if given.kind == "gce":
        target = GceTarget(given.instance, project=given.project, zone=given.zone)
    elif given.kind == "ssh":
        target = SshTarget(given.host or "")
    else:
        target = LocalTarget()
    idle = given.idle if given.idle not in (None, "never") else ""
    return Draft(name, target, given.user or "", given.on_down or "keep", idle or "", about)


def _proposals(given: Given, environ: Mapping[str, str]) -> Iterator[str]:
    """Names that are free: the machine's own first."""
    machine = given.instance or given.host or "here"
    plain = re.sub("[^A-Za-z0-9._-]+", "-", machine).strip("-.")[:60] or "machine"
    for name in itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2))):
        if not profiles.why_no_name(name) and not is_taken(name, environ):
            yield name


def _no_kind(text: str) -> str:
    return "" if text in {kind for kind, _ in KINDS} else "gce, ssh or local"


def _is_no(key: str) -> Callable[[str], str]:
    return lambda text: profiles.why_not(key, text)


def _or_nothing(key: str) -> Callable[[str], str]:
    return lambda text: profiles.why_not(key, text) if text else ""
