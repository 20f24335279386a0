"""`completion --install`: writes a completion script where the shell looks for it, and removes it again."""

from __future__ import annotations

import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import LocalError
from ..core.fast_dataclass import fast_dataclass
from ..core.private_file import write_private

PROGRAM = "remote-runtime"
MARK = f"  # {PROGRAM} completion\n"  # ends the line that is added to a start-up file


@fast_dataclass(frozen=True)
class CompletionFiles:
    """``script``: the file of the script. ``startup``: the shell's start-up file that reads it by ``line``; None if the
    shell finds the script by itself."""

    script: Path
    startup: Path | None = None
    line: str = ""


def completion_files(shell: str, environ: Mapping[str, str], platform: str = sys.platform) -> CompletionFiles:
    """Where the completion of ``bash``, ``zsh`` or ``fish`` belongs for this user."""
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "fish":
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        return CompletionFiles(config / "fish" / "completions" / f"{PROGRAM}.fish")
    if shell == "zsh":
        script = data / "zsh" / "site-functions" / f"_{PROGRAM}"
        startup = Path(environ.get("ZDOTDIR") or home) / ".zshrc"
        ready = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }; "
        return CompletionFiles(script, startup, ready + _source_line(script))
    script = data / "bash-completion" / "completions" / PROGRAM
    # A terminal on macOS runs a login shell, which does not read .bashrc.
    is_login = platform == "darwin" and (home / ".bash_profile").exists()
    return CompletionFiles(script, home / (".bash_profile" if is_login else ".bashrc"), _source_line(script))


def install(files: CompletionFiles, script: str) -> list[Path]:
    """The files that were changed. Raises ``LocalError`` ``completion-not-written``."""
    changed = [files.script] if _write(files.script, script) else []
    if files.startup is not None:
        text = _without_line(_read(files.startup))
        text += "\n" if text and not text.endswith("\n") else ""
        changed += [files.startup] if _write(files.startup, f"{text}{files.line}{MARK}") else []
    return changed


def uninstall(files: CompletionFiles) -> list[Path]:
    """The files that were changed or removed. Raises ``LocalError`` ``completion-not-written``."""
    changed = [files.script] if files.script.exists() else []
    try:
        files.script.unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(files.script, error) from error
    if files.startup is not None:
        changed += [files.startup] if _write(files.startup, _without_line(_read(files.startup))) else []
    return changed


def _source_line(script: Path) -> str:
    path = shlex.quote(str(script))
    return f"[ ! -r {path} ] || . {path}"


def _without_line(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.endswith(MARK))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _not_written(path, error) from error


def _write(path: Path, text: str) -> bool:
    """Whether the file had another text. Its mode stays, and a link to it."""
    if text == _read(path):
        return False
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        write_private(path, text.encode("utf-8", "surrogateescape"))
        path.chmod(mode)
    except OSError as error:
        raise _not_written(path, error) from error
    return True


def _not_written(path: Path, error: OSError) -> LocalError:
    return LocalError("completion-not-written", f"Can't write {path}", error.strerror or str(error))
