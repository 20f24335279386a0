"""An OpenSSH server that asks for a code after the key, as OS Login's two-step verification has it: through PAM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..environment.mounts import within_mount
from ..machines.dl_vm import script
from .sshd import Sshd, running_sshd

CODE = "271828"
WORDS = "Enter the code of your phone."
QUESTION = f"{WORDS} Password"
KEYWORDS = {"keyboard-interactive": "KbdInteractiveAuthentication", "password": "PasswordAuthentication"}


@contextmanager
def asks_for_a_code(directory: Path, by: str = "keyboard-interactive") -> Iterator[Sshd]:
    """``CODE`` is the right one, ``by`` the method (RFC 4252) after the key. PAM's rules are the server's own; all
    other programs see those of the computer."""
    directory.mkdir(exist_ok=True)
    rules, words, judge = directory / "rules", directory / "words", directory / "judge"
    words.write_text(f"{WORDS}\n")
    script(judge, f"[ \"$(tr -d '\\0')\" = {CODE} ]")
    rules.write_text(
        f"auth optional pam_echo.so file={words}\n"
        f"auth required pam_exec.so quiet expose_authtok {judge}\n"
        "auth required pam_permit.so\n"
        "account required pam_permit.so\n"
        "session required pam_permit.so\n"
    )
    within = within_mount(f'--bind "{rules}" /etc/pam.d/sshd')
    config = [
        "UsePAM yes",
        f"{KEYWORDS[by]} yes",
        f"AuthenticationMethods publickey,{by}",
        "PermitRootLogin yes",  # the other values allow root neither of them
    ]
    with running_sshd(directory, config=config, within=within) as sshd:
        yield sshd
