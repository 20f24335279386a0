"""An OpenSSH server that asks for a code after the key, as OS Login's two-step verification has it: through PAM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .dl_vm import script
from .mounts import within_mount
from .sshd import Sshd, running_sshd

CODE = "271828"
WORDS = "Enter the code of your phone."
QUESTION = f"{WORDS} Password"
CONFIG = (
    "UsePAM yes",
    "KbdInteractiveAuthentication yes",
    "AuthenticationMethods publickey,keyboard-interactive",
    "PermitRootLogin yes",  # the other values allow root no keyboard-interactive
)


@contextmanager
def asks_for_a_code(directory: Path) -> Iterator[Sshd]:
    """``CODE`` is the right one. PAM's rules are the server's own; all other programs see those of the computer."""
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
    with running_sshd(directory, config=CONFIG, within=within) as sshd:
        yield sshd
