"""What the idle watch counts: a training that is begun in each of many ways, with the real programs, and what waits."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from tests.support.clients.page import Page
from tests.support.environment.processes import commands_of, end_processes_of
from tests.support.machines.local_machine import LocalMachine
from tests.support.servers.sshd import Sshd, running_sshd

from .faults import tell

REPOSITORY = Path(__file__).resolve().parents[2]
WITHIN_S, BETWEEN_S = 20.0, 2.0
WANTED = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))
LOOKING = """
import sys
from remote_runtime.jupyter.remote import activity
probe = activity.ActivityProbe("", sessions=True, everywhere=True)
for _ in sys.stdin:
    print(probe.check().what, flush=True)
"""
BEGIN = "import time; open('HOME/begun', 'w').close()\n"
COMPUTES = BEGIN + "end = time.time() + 600\nwhile time.time() < end: pass\n"
WAITS = BEGIN + "time.sleep(600)\n"


class Field:
    """A machine with an SSH server, an account whose home is ``home``, and the watch that looks at it."""

    def __init__(self, sshd: Sshd, programs: Path) -> None:
        self.home, self._sshd = sshd.home, sshd
        self.machine = LocalMachine(sshd.home)
        self.children: list[subprocess.Popen[bytes]] = []
        path = f"{programs}:{os.environ['PATH']}"
        self.environ = {"HOME": str(self.home), "PATH": path, "TMUX_TMPDIR": str(self.home), "PYTHONPATH": ""}
        self._watch = subprocess.Popen(
            [sys.executable, "-c", LOOKING],
            env={**self.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        (self.home / "train.py").write_text(COMPUTES.replace("HOME", str(self.home)))
        (self.home / "wait.py").write_text(WAITS.replace("HOME", str(self.home)))
        (self.home / "train.sh").write_text("#!/bin/bash\npython3 ~/train.py\necho done\n")
        (self.home / "train.sh").chmod(0o755)

    def ssh(self, line: str = "", *, typed: str = "", terminal: bool = False) -> subprocess.Popen[bytes]:
        """A session that runs ``line``, or a shell in which ``typed`` is typed."""
        options = ["-F", "none", "-o", "LogLevel=QUIET", "-o", "StrictHostKeyChecking=no"]
        options += ["-o", "UserKnownHostsFile=/dev/null", "-i", str(self._sshd.key_path), "-p", str(self._sshd.port)]
        command = ["ssh", *options, *(["-tt"] if terminal else []), f"{self._sshd.user}@127.0.0.1"]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        session = subprocess.Popen([*command, *([line] if line else [])], stdin=pipe, stdout=null, stderr=null)
        self.children.append(session)
        if typed and session.stdin is not None:
            session.stdin.write(f"{typed}\n".encode())
            session.stdin.flush()
        return session

    def and_leave(self, line: str) -> None:
        """A session that runs ``line`` and has ended."""
        self.ssh(line).communicate(timeout=WITHIN_S)

    def begun(self) -> bool:
        return (self.home / "begun").exists()

    def look(self) -> str:
        """What is in use, in words: two looks, as processor time is seen between two only."""
        for _ in range(2):
            time.sleep(BETWEEN_S)
            if self._watch.stdin is None or self._watch.stdout is None:
                raise AssertionError("it was started with pipes")
            self._watch.stdin.write("\n")
            self._watch.stdin.flush()
            seen = self._watch.stdout.readline().strip()
        return seen

    def clear(self) -> None:
        for session in self.children:
            session.kill()
            session.communicate()
        self.children.clear()
        for pid in commands_of(self.home):
            if pid != self._watch.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        (self.home / "begun").unlink(missing_ok=True)

    def close(self) -> None:
        self.clear()
        self._watch.kill()
        self._watch.communicate()
        end_processes_of(self.home)


@dataclass(frozen=True)
class Way:
    """``counts``: whether it should, for the ``reason``. ``needs``: the program without which it cannot be tried."""

    name: str
    begin: Callable[[Field], object]
    counts: bool
    reason: str
    needs: str = "sh"
    begins: bool = True  # whether the training says that it has begun


def cron(field: Field) -> None:
    """A cron of its own, with a table of its own: in its own mount namespace."""
    table = f"HOME={field.home}\nPATH={field.environ['PATH']}\n* * * * * python3 ~/train.py\n"
    own = "mount -t tmpfs t /run && mount -t tmpfs t /var/spool/cron && mkdir /var/spool/cron/crontabs"
    line = f"{own} && crontab - && exec cron -f"
    daemon = subprocess.Popen(["unshare", "--mount", "sh", "-c", line], stdin=subprocess.PIPE, env=field.environ)
    field.children.append(daemon)
    if daemon.stdin is not None:
        daemon.stdin.write(table.encode())
        daemon.stdin.close()
        daemon.stdin = None


def at(field: Field) -> None:
    field.children.append(subprocess.Popen(["atd", "-f"]))
    field.and_leave("echo 'python3 ~/train.py' | at now")


def typed(line: str) -> Callable[[Field], object]:
    """In a shell on a terminal."""
    return lambda field: field.ssh(typed=line, terminal=True)


def told(line: str, *, terminal: bool = False) -> Callable[[Field], object]:
    """A session's command."""
    return lambda field: field.ssh(line, terminal=terminal)


def left(line: str) -> Callable[[Field], object]:
    """By a session that has ended."""
    return lambda field: field.and_leave(line)


def cell(code: str, *, end: bool = False) -> Callable[[Field], None]:
    """``end``: its kernel ends then."""

    def begin(field: Field) -> None:
        server = jupyter.ensure(field.machine.run, WANTED, progress=lambda text: None, deadline=Deadline(60))
        page = Page(f"http://127.0.0.1:{server.port}/?token={server.token.reveal()}")
        kernel = page.start_kernel()
        page.run(kernel, code.replace("HOME", str(field.home)))
        if end:
            page.ask("DELETE", f"/api/kernels/{kernel}")

    return begin


def gpu(field: Field) -> None:
    (field.home / "load").write_text("87\n")


THREAD = (
    "import threading\nthreading.Thread(target=lambda: exec(open('HOME/train.py').read(), {}), daemon=True).start()"
)
POPEN = "import subprocess; subprocess.Popen(['python3', 'HOME/train.py']"
AWAY = ">/dev/null 2>&1 </dev/null &"
NAMESPACE = "setsid env -i PATH=$PATH unshare --pid --fork --mount-proc"
MANY = "nohup sh -c 'touch ~/begun; while :; do python3 -c 1; done'"
STUFF = "screen -dmS a; sleep 1; screen -S a -X stuff 'python3 ~/wait.py\\n'"
SEND = "tmux new -d -s a; tmux send-keys -t a 'python3 ~/wait.py' Enter"
COMPUTING, NOTHING = "takes processor time", "takes neither processor nor GPU"
TERMINAL, NO_SHELL, LAST_TYPED = "a terminal", "its leader is no shell", "counts from what was last typed"
SHELLS = ("bash", "zsh", "fish", "tcsh", "mksh", "dash")

WAYS = [
    Way("typed in a shell, `ssh -t`", typed("python3 ~/wait.py"), True, TERMINAL),
    Way("`exec` in that shell", typed("exec python3 ~/wait.py"), True, NO_SHELL),
    Way("`ssh -t HOST python3 …`", told("python3 ~/wait.py", terminal=True), True, NO_SHELL),
    Way("`ssh HOST python3 …`", told("python3 ~/wait.py"), True, "a live session"),
    Way("`exec ./train.sh`", typed("exec ~/train.sh"), True, "a script is no shell"),
    Way("`exec bash train.sh`", typed("exec bash ~/train.sh"), True, "the shell runs a script"),
    Way("`sudo python3 …`", typed("sudo -E python3 ~/wait.py"), True, "below a person's shell", "sudo"),
    Way("tmux, typed", left(SEND), True, TERMINAL, "tmux"),
    Way("tmux new-session -d '…'", left("tmux new-session -d 'python3 ~/wait.py'"), True, NO_SHELL, "tmux"),
    Way("screen, typed", left(STUFF), True, TERMINAL, "screen"),
    Way("screen -dm …", left("screen -dmS a python3 ~/wait.py"), True, NO_SHELL, "screen"),
    Way("script -c …", left(f"setsid script -qc 'python3 ~/wait.py' /dev/null {AWAY}"), True, TERMINAL, "script"),
    Way("nohup … &", left(f"nohup python3 ~/train.py {AWAY}"), True, COMPUTING),
    Way("setsid …", left(f"setsid python3 ~/train.py {AWAY}"), True, COMPUTING),
    Way("many short processes", left(f"{MANY} {AWAY}"), True, COMPUTING),
    Way("cron", cron, True, COMPUTING, "cron"),
    Way("at", at, True, COMPUTING, "at"),
    Way("systemd-run --user", left("systemd-run --user python3 ~/train.py"), True, COMPUTING, "systemd-run"),
    Way("a container's namespace", left(f"{NAMESPACE} python3 $HOME/train.py {AWAY}"), True, COMPUTING),
    Way("docker run -d", left("docker run -d -v ~:$HOME python:3 python3 $HOME/train.py"), True, COMPUTING, "docker"),
    Way("cell: subprocess.Popen", cell(f"{POPEN})"), True, "below the kernel"),
    Way("cell: system_raw('… &')", cell(f"get_ipython().system_raw('python3 ~/train.py {AWAY}')"), True, COMPUTING),
    Way("cell: Popen, kernel ended", cell(f"{POPEN}, start_new_session=True)", end=True), True, COMPUTING),
    Way("cell: a thread continues", cell(THREAD), True, "the kernel's process works"),
    Way("a GPU (emulated nvidia-smi)", gpu, True, "GPU time", begins=False),
    Way("a kernel at rest", cell("1"), False, NOTHING, begins=False),
    *(Way(f"a waiting {shell}", typed(f"touch ~/begun; exec {shell}"), False, LAST_TYPED, shell) for shell in SHELLS),
    Way("a waiting shell in a shell", typed("touch ~/begun; bash"), False, LAST_TYPED),
    Way("a waiting sudo -i", typed("touch ~/begun; sudo -i"), False, LAST_TYPED, "sudo"),
    Way("a waiting shell in tmux", left("touch ~/begun; tmux new-session -d"), False, LAST_TYPED, "tmux"),
    Way("tmux, attached", told("touch ~/begun; tmux new-session", terminal=True), False, LAST_TYPED, "tmux"),
    Way("a waiting shell in screen", left("touch ~/begun; screen -dmS a"), False, LAST_TYPED, "screen"),
    Way("`ssh -T`, a waiting shell", lambda field: field.ssh(typed="touch ~/begun"), False, NOTHING),
    Way("nohup, waits only", left(f"nohup python3 ~/wait.py {AWAY}"), False, NOTHING),
    Way("system_raw, waits only", cell(f"get_ipython().system_raw('python3 ~/wait.py {AWAY}')"), False, NOTHING),
]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak idle-ways", description=__doc__)
    parser.add_argument("--only", default="", help="the ways whose name holds this")
    only = parser.parse_args(arguments).only
    wrong = 0
    tell("| Way | Watch says | Counts | Should, since |\n| --- | --- | --- | --- |")
    with _field() as field:
        for way in WAYS:
            if only in way.name:
                seen, trouble = _try(way, field)
                counts = bool(seen)
                wrong += not trouble and counts != way.counts
                says = f"{trouble or seen or '–'} | {'–' if trouble else _word(counts)}"
                tell(f"| {way.name} | {says} | {_word(way.counts)}: {way.reason} |")
    tell(f"{wrong} of {len(WAYS)} are not as they should be")
    return 1 if wrong else 0


def _word(yes: bool) -> str:
    return "yes" if yes else "no"


def _try(way: Way, field: Field) -> tuple[str, str]:
    """What the watch says; and why it could not be tried."""
    if shutil.which(way.needs) is None:
        return "", f"no {way.needs} here"
    try:
        way.begin(field)
        until = time.monotonic() + (75.0 if way.begin is cron else WITHIN_S)
        while way.begins and not field.begun():
            if time.monotonic() > until:
                return "", "did not begin here"
            time.sleep(0.1)
        time.sleep(1.0)  # the typing is over
        seen = field.look()
        for _ in range(10):  # fish begins with a program of its own; the time itself is what is tested
            if seen and not way.counts:
                seen = field.look()
        return seen, ""
    finally:
        field.clear()
        if (field.home / "load").exists():
            (field.home / "load").unlink()
        jupyter.stop(field.machine.run, WANTED, deadline=Deadline(40))


@contextlib.contextmanager
def _field() -> Iterator[Field]:
    with tempfile.TemporaryDirectory(prefix="rr-") as folder, running_sshd(Path(folder)) as sshd:
        programs = Path(folder) / "programs"
        programs.mkdir()
        (programs / "nvidia-smi").write_text(f"#!/bin/sh\ncat {sshd.home}/load 2>/dev/null || echo 0\n")
        (programs / "nvidia-smi").chmod(0o755)
        field = Field(sshd, programs)
        try:
            yield field
        finally:
            field.close()
