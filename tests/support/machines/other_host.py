"""Another machine with the same home folder: what is run ``within`` it sees another name and another boot."""

from __future__ import annotations

from pathlib import Path

NAME = "login2"


def within_other_host(folder: Path) -> list[str]:
    """What commands are run by; only root on Linux can. ``folder``: where its boot id is kept."""
    boot_id = folder / "other-boot-id"
    boot_id.write_text("00000000-1111-2222-3333-444444444444\n")
    become = (
        f'echo {NAME} >/proc/sys/kernel/hostname; mount --bind "{boot_id}" /proc/sys/kernel/random/boot_id; exec "$@"'
    )
    return ["unshare", "--uts", "--mount", "sh", "-c", become, "sh"]
