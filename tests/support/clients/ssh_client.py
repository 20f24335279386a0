"""What tests of SSH share: a machine to enter, and a person who answers or is away."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import SshError
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import SshSettings
from remote_runtime.ssh.session import Session

from ..servers.sshd import Sshd


@dataclass
class Person:
    """Reads what is told and answers questions from ``answers``; without answers nobody is there."""

    answers: Iterable[str] = ()
    told: list[str] = field(default_factory=list)
    asked: list[tuple[str, bool, str]] = field(default_factory=list)

    def tell(self, text: str) -> None:
        self.told.append(text)

    def ask(self, prompt: str, *, secret: bool, code: str) -> str:
        self.asked.append((prompt, secret, code))
        for answer in self.answers:
            self.answers = list(self.answers)[1:]
            return answer
        raise SshError(code, "nobody is there")


class Visitor:
    """Enters ``server`` from a HOME of its own, where no key and no known host is."""

    def __init__(self, server: Sshd, home: Path) -> None:
        home.mkdir(exist_ok=True)
        (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        self.home = home
        self.pins = home / "known_hosts"
        self.environ: Mapping[str, str] = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
        self.instance = Instance(
            "ssh", "box", address=server.address, port=server.port, host_key_name=f"[{server.address}]:{server.port}"
        )
        self.settings = SshSettings(user=server.user, identity_file=str(server.key_path), host_key="accept-new")
        self.person = Person()
        self.keys = ssh.Keys()
        self.called_off = threading.Event()

    def enter(
        self,
        *,
        within_s: float = 20.0,
        wanted: Iterable[str] = (),
        key_just_added: bool = False,
        answers_within_s: float | None = None,
        reconnect: bool = False,
        **settings: Any,
    ) -> Session:
        deadline = Deadline(within_s, self.called_off)
        request = ssh.ConnectRequest(
            self.instance,
            replace(self.settings, **settings),
            deadline,
            pins=self.pins,
            keys=self.keys,
            prompt=self.person.ask,
            progress=self.person.tell,
            environ=self.environ,
            respond_by=deadline if answers_within_s is None else deadline.within(answers_within_s),
            accepted_keys=tuple(wanted),
            reconnect=reconnect,
        )
        return ssh.connect(request, key_just_added=key_just_added)
