"""Programs that connect by SSH with the entry that `ssh-config --install` has written, and what each is to do."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..environment.waiting import free_port
from ..environment.world import World

TIMEOUT_S = 120.0
# As Remote-SSH of VS Code begins: a shell without a terminal reads a script, which reports where a server of the
# machine listens; the editor then connects to it through the SOCKS proxy of `ssh -D`.
EDITOR_SCRIPT = """
echo "a1b2: running"
uname -s
{python} -c '
import socket
server = socket.create_server(("127.0.0.1", 0))
print("listeningOn==%d==" % server.getsockname()[1], flush=True)
client = server.accept()[0]
client.sendall(client.recv(100).upper())
'
echo "a1b2: end"
"""


@dataclass(frozen=True)
class SshPrograms:
    """On the computer of ``world``, for the host ``rr-name``. ``remote``: a folder of the machine, which is this
    computer. OpenSSH ignores HOME, so its configuration is named to each program."""

    world: World
    name: str
    remote: Path

    @property
    def host(self) -> str:
        return f"rr-{self.name}"

    @property
    def config(self) -> str:
        return str(Path(self.world.environ["HOME"]) / ".ssh" / "config")

    @property
    def all(self) -> dict[str, Callable[[], None]]:
        programs = [self.ssh, self.scp, self.sftp, self.rsync, self.git, self.editor]
        return {program.__name__: program for program in programs}

    def run(
        self, *command: str, stdin: str = "", environ: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        """Its stdout. Fails with its stderr."""
        done = subprocess.run(
            command,
            env={**self.world.environ, **(environ or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=cwd or self.world.home,
        )
        assert done.returncode == 0, f"{shlex.join(command)}: status {done.returncode}\n{done.stderr}\n{done.stdout}"
        return done.stdout

    def ssh(self) -> None:
        assert self.run("ssh", "-F", self.config, self.host, "cat; echo done", stdin="one\n") == "one\ndone\n"

    def ssh_at_once(self, number: int) -> None:
        def echo(each: int) -> str:
            return self.run("ssh", "-F", self.config, self.host, f"echo {each}")

        with ThreadPoolExecutor(number) as pool:
            assert list(pool.map(echo, range(number))) == [f"{each}\n" for each in range(number)]

    def scp(self) -> None:
        here, there, back = self._files("scp", os.urandom(3_000_000))
        self.run("scp", "-q", "-F", self.config, str(here), f"{self.host}:{there}")
        self.run("scp", "-q", "-F", self.config, f"{self.host}:{there}", str(back))
        assert filecmp.cmp(here, back, shallow=False)

    def sftp(self) -> None:
        here, there, back = self._files("sftp", os.urandom(100_000))
        commands = f'put "{here}" "{there}"\nget "{there}" "{back}"\n'
        self.run("sftp", "-q", "-F", self.config, "-b", "-", self.host, stdin=commands)
        assert filecmp.cmp(here, back, shallow=False)

    def rsync(self) -> None:
        here, there, _ = self._files("rsync")
        for number in range(30):
            (here / f"{number} file").write_bytes(os.urandom(1000 * number))
        remote_shell = f"ssh -F {shlex.quote(self.config)}"
        self.run("rsync", "-a", "-e", remote_shell, f"{here}/", f"{self.host}:{there}/")
        compared = filecmp.dircmp(here, there)
        assert (len(compared.same_files), compared.diff_files, compared.left_only) == (30, [], [])

    def git(self) -> None:
        here, there, _ = self._files("git")
        there.mkdir()
        self.run("git", "init", "-q", "--bare", "-b", "main", str(there))
        environ = {"GIT_SSH_COMMAND": f"ssh -F {shlex.quote(self.config)}", "GIT_CONFIG_GLOBAL": os.devnull}
        url, git = f"ssh://{self.host}{there}", ["git", "-c", "user.name=me", "-c", "user.email=me@example.com"]
        self.run(*git, "clone", "-q", url, str(here / "clone"), environ=environ)
        (here / "clone" / "file").write_text("content\n")
        for words in (["add", "file"], ["commit", "-q", "-m", "One"], ["push", "-q", "origin", "HEAD:main"]):
            self.run(*git, *words, environ=environ, cwd=here / "clone")
        assert self.run("git", "--git-dir", str(there), "show", "main:file") == "content\n"

    def editor(self) -> None:
        """VS Code's Remote-SSH."""
        port = free_port()
        words = ["ssh", "-F", self.config, "-T", "-D", str(port), "-o", "ConnectTimeout=60", self.host, "bash"]
        with subprocess.Popen(
            words, env=self.world.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as editor:
            try:
                assert editor.stdin
                assert editor.stdout
                editor.stdin.write(EDITOR_SCRIPT.format(python=shlex.quote(sys.executable)))
                editor.stdin.close()
                lines = [editor.stdout.readline() for _ in range(3)]
                assert lines[0] == "a1b2: running\n"
                server_port = int(lines[2].split("==")[1])
                with through_socks(port, server_port) as connection:
                    connection.sendall(b"through socks")
                    assert connection.recv(100) == b"THROUGH SOCKS"
                assert editor.stdout.read() == "a1b2: end\n"
                assert editor.wait(TIMEOUT_S) == 0
            finally:
                editor.kill()

    def ansible(self) -> None:
        """Needs ansible-core."""
        program = shutil.which("ansible")
        assert program
        arguments = ["-i", f"{self.host},", "-m", "ping", "-o", "-e", f"ansible_python_interpreter={sys.executable}"]
        options = f"-F {shlex.quote(self.config)} -o ControlMaster=no"
        environ = {"ANSIBLE_SSH_ARGS": options, "ANSIBLE_HOME": str(self.world.home / "ansible")}
        environ |= {"ANSIBLE_TIMEOUT": "60", "LC_ALL": "C.UTF-8"}
        assert '"ping": "pong"' in self.run(program, *arguments, self.host, environ=environ)

    def _files(self, name: str, content: bytes | None = None) -> tuple[Path, Path, Path]:
        """Here, there, and back here; the first has ``content``, or is a folder."""
        folder = self.world.home / f"{name} files"
        folder.mkdir()
        here, back, there = folder / "here", folder / "back", self.remote / name
        if content is None:
            here.mkdir()
        else:
            here.write_bytes(content)
        return here, there, back


def through_socks(port: int, target_port: int) -> socket.socket:
    """A connection to ``target_port`` of the machine's 127.0.0.1 through a SOCKS 5 proxy (RFC 1928)."""
    connection = socket.create_connection(("127.0.0.1", port), 30)
    try:
        connection.sendall(b"\x05\x01\x00")
        assert connection.recv(2) == b"\x05\x00"
        connection.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + target_port.to_bytes(2, "big"))
        assert connection.recv(10)[1] == 0
    except BaseException:
        with contextlib.suppress(OSError):
            connection.close()
        raise
    return connection
