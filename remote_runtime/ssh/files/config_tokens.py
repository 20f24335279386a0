"""``%h``, ``${VAR}`` and their like in values of ssh_config(5), which ``ssh -G`` prints as they were written."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import SshError
from ...core.fast_dataclass import fast_dataclass
from .paths import local_username

_TOKEN = re.compile(r"%(?P<sign>.?)|\$\{(?P<variable>[^}]*)\}?", re.DOTALL)
_HOST_NAME_TOKENS = "h"
_COMMAND_TOKENS = "hnpr"  # ProxyCommand and ProxyJump; a shell takes care of the variables


@fast_dataclass(frozen=True)
class ConfigTokens:
    """``name``: as it was typed; ``host``: its HostName; ``alias``: its HostKeyAlias, if any; ``jump``: the last host
    of its ProxyJump, if any."""

    name: str
    host: str
    port: int
    user: str
    alias: str
    jump: str
    home: Path
    environ: Mapping[str, str]

    def expand_path(self, option: str, text: str) -> str:
        """``text`` of an option that takes every token and variables. Raises ``SshError`` ``ssh-config-unsupported``,
        as ``ssh`` ends in an error, for what has no value."""
        return self._expand(option, text, "CdhijkLlnpru", variables=True)

    def expand_jump(self, text: str) -> str:
        """Raises as ``in_path`` does."""
        return self._expand("ProxyJump", text, _COMMAND_TOKENS, variables=False)

    def _expand(self, option: str, text: str, known: str, *, variables: bool) -> str:
        def value(found: re.Match[str]) -> str:
            if found["variable"] is not None:
                if not variables:
                    return found[0]
                if not found[0].endswith("}") or found["variable"] not in self.environ:
                    raise _no_value_error(option, text, found[0], "no environment variable of this name is set")
                return self.environ[found["variable"]]
            if found["sign"] == "%":
                return "%"
            if not found["sign"] or found["sign"] not in known:
                raise _no_value_error(option, text, found[0], "it is no token that this option takes")
            return self._value(found["sign"], option, text)

        return _TOKEN.sub(value, text)  # what a variable holds is not looked at again

    def _value(self, letter: str, option: str, text: str) -> str:
        here = socket.gethostname()
        values = {
            "d": str(self.home),
            "h": self.host,
            "i": str(os.getuid()) if hasattr(os, "getuid") else "",
            "j": self.jump,
            "k": self.alias or self.name,
            "L": here.split(".")[0],
            "l": here,
            "n": self.name,
            "p": str(self.port),
            "r": self.user,
            "u": local_username(),
        }
        if letter == "C":
            return hashlib.sha1("".join(values[each] for each in "lhprj").encode()).hexdigest()  # noqa: S324  # OpenSSH's
        if not values[letter] and letter != "j":
            raise _no_value_error(option, text, f"%{letter}", "this computer has no name for you")
        return values[letter]


def expand_host_name(text: str, name: str) -> str:
    """``text`` of HostName, which takes ``%h`` only, there the name as it was typed. Raises as ``Tokens.in_path``."""
    tokens = ConfigTokens(name, name, 0, "", "", "", Path(), {})
    return tokens._expand("HostName", text, _HOST_NAME_TOKENS, variables=False)


def _no_value_error(option: str, text: str, part: str, why: str) -> SshError:
    what = f"{part} in {option} {text} of ~/.ssh/config has no value"
    return SshError("ssh-config-unsupported", what, why, f"Write {option} there without {part}")
