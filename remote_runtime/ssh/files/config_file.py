"""Reads ssh_config(5) without OpenSSH's client. Refuses what needs more than the files, such as ``Match exec``."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...core.errors import SshError
from .config_options import expand_host_name, known_options
from .paths import expand_home, home_dir, local_username

SYSTEM_FILE = Path("/etc/ssh/ssh_config")
_MAX_INCLUDE_DEPTH = 16
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\["'\\ ]|[^\s"'])+""")
_QUOTED = re.compile(r"""\\(["'\\ ])|["']""")
_BLANKS = " \t\r\n\f"
_REPEATABLE = ("identityfile", "certificatefile")
_WHOLE_LINE = ("proxycommand", "remotecommand", "localcommand", "knownhostscommand")
_SINGLE_VALUE = {
    *("hostname", "user", "port", "hostkeyalias", "proxyjump", "addressfamily", "identitiesonly", "identityagent"),
    *("identityfile", "certificatefile", "stricthostkeychecking", "requiredrsasize", "pubkeyauthentication"),
}
_VALUE_PATTERNS = {
    "port": r"\d{1,5}",
    "requiredrsasize": r"\d{1,6}",
    "addressfamily": "any|inet6?",
    "identitiesonly": "yes|no|true|false",
    "pubkeyauthentication": "yes|no|true|false|unbound|host-bound",
    "stricthostkeychecking": "yes|no|true|false|ask|off|accept-new",
}
_ALGORITHM_LISTS = {
    "hostkeyalgorithms",
    "pubkeyacceptedalgorithms",
    "kexalgorithms",
    "ciphers",
    "macs",
    "casignaturealgorithms",
}


def load(host: str, user: str | None, environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The options for ``host`` as ``ssh -G`` names them, with the values as they are written.

    Raises ``SshError`` ``ssh-config-unsupported`` for what is damaged, unknown, or only OpenSSH's client can decide."""
    return _ConfigReader(host, user, home_dir(environ)).options()


class _ConfigReader:
    def __init__(self, host: str, user: str | None, home: Path) -> None:
        self._host = host
        self._user = user
        self._home = home
        self._options: dict[str, tuple[str, ...]] = {}
        self._ignored_patterns: list[str] = []

    def options(self) -> dict[str, tuple[str, ...]]:
        for file, folder in ((self._home / ".ssh" / "config", self._home / ".ssh"), (SYSTEM_FILE, SYSTEM_FILE.parent)):
            self._read(file, folder, active=True, depth=0)
        if name := self._options.get("hostname"):
            self._options["hostname"] = (expand_host_name(name[0], self._host),)
        return self._options

    def _read(self, file: Path, folder: Path, *, active: bool, depth: int) -> None:
        """``folder``: its Include paths are relative to it."""
        try:
            with file.open(encoding="utf-8", errors="replace", newline="") as opened:
                lines = opened.read().split("\n")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            raise _refused(f"{file} can't be read: {error.strerror}", self._host) from error
        outer = active
        for number, line in enumerate(lines, 1):
            where = f"{file} line {number}"
            keyword, rest, words = self._split(line, where)
            if not keyword:
                continue
            if keyword in ("host", "match"):
                active = outer and (self._host_matches(words) if keyword == "host" else self._match_holds(words, where))
            elif keyword == "include":
                if depth == _MAX_INCLUDE_DEPTH:
                    raise _refused(f"{where}: too many files include each other", self._host)
                for pattern in words:
                    for each in sorted(glob.glob(str(folder / expand_home(pattern, self._home)))):
                        self._read(Path(each), folder, active=active, depth=depth + 1)
            elif active:
                self._store(keyword, rest, words, where)

    def _split(self, line: str, where: str) -> tuple[str, str, list[str]]:
        text = line.strip(_BLANKS)
        if "\0" in text:
            raise _refused(f"{where} holds a NUL", self._host)
        if not text or text.startswith("#"):
            return "", "", []
        keyword, rest = re.fullmatch(r"\"?([^\s=\"]*)\"?\s*=?\s*(.*)", text).groups()  # type: ignore[union-attr]  # it fits all
        keyword = keyword.lower()
        if keyword == "ignoreunknown":
            self._ignored_patterns += rest.lower().split(",")
        elif keyword not in known_options() and not any(
            fnmatch.fnmatchcase(keyword, each) for each in self._ignored_patterns
        ):
            raise _refused(f"{where}: the option {keyword} is not known", self._host)
        if keyword in _WHOLE_LINE:
            return keyword, rest, [rest]
        words = []
        left = rest
        while left and not left.startswith("#"):
            found = _WORD.match(left)
            if found is None:
                raise _refused(f"{where}: {keyword} has a quotation that does not end", self._host)
            words.append(_QUOTED.sub(lambda quoted: quoted[1] or "", found[0]))
            left = left[found.end() :].lstrip()
        if not words:
            raise _refused(f"{where}: {keyword} has no value", self._host)
        return keyword, rest, words

    def _store(self, keyword: str, rest: str, words: list[str], where: str) -> None:
        if keyword in _VALUE_PATTERNS and not re.fullmatch(
            _VALUE_PATTERNS[keyword], words[0], re.ASCII | re.IGNORECASE
        ):
            raise _refused(f"{where}: {words[0]} is no value of {keyword}", self._host)
        if not words[0] or (len(words) > 1 and keyword in _SINGLE_VALUE):
            raise _refused(f"{where}: {keyword} takes one value", self._host)
        if keyword == "port" and not 0 < int(words[0]) < 65536:
            raise _refused(f"{where}: {words[0]} is no port", self._host)
        if keyword in _ALGORITHM_LISTS:
            if words[0][0] == "-":
                raise _refused(f"{where}: {keyword} {words[0]}", self._host)
            if words[0][0] in "+^":
                return  # more than OpenSSH's own list, or its order
        if keyword.startswith("canonical") and words[0].lower() not in ("no", "none"):
            raise _refused(f"{where}: {keyword} {words[0]}", self._host)
        value = " ".join(words) if keyword in _WHOLE_LINE or keyword.endswith("knownhostsfile") else words[0]
        if keyword.endswith("knownhostsfile"):
            self._options.setdefault(keyword, tuple(words))
        elif keyword in _REPEATABLE:
            if value not in self._options.get(keyword, ()):
                self._options[keyword] = (*self._options.get(keyword, ()), value)
        elif keyword == "proxycommand" and self._options.get("proxyjump", ("none",))[0].lower() != "none":
            return  # the first of the two counts
        elif keyword == "proxyjump" and "proxycommand" in self._options:
            return
        else:
            self._options.setdefault(keyword, (value,))

    def _host_matches(self, patterns: list[str]) -> bool:
        return _matches_patterns(self._host, patterns)

    def _match_holds(self, words: list[str], where: str) -> bool:
        """All criteria must hold. An unknown one is refused only if all others hold."""
        undecided = ""
        second_pass = any(word.lower().removeprefix("!") in ("canonical", "final") for word in words)
        if len(words) > 1 and any(word.lower().removeprefix("!") == "all" for word in words) and not second_pass:
            raise _refused(f"{where}: Match all can't be combined with others", self._host)
        rest: Iterator[str] = iter(words)
        for word in rest:
            criterion = word.lower().removeprefix("!")
            negated = word.startswith("!")
            if criterion == "all":
                holds = True
            elif criterion in ("host", "originalhost") or (criterion in ("user", "localuser") and local_username()):
                holds = _matches_patterns(self._match_subject(criterion), next(rest, "").split(","))
                if second_pass and criterion in ("host", "user"):
                    continue  # they may be others by then
            else:
                undecided = undecided or criterion
                if criterion not in ("canonical", "final"):
                    next(rest, None)
                continue
            if holds == negated:
                return False
        if undecided:
            raise _refused(f"{where}: Match {undecided}", self._host)
        return True

    def _match_subject(self, criterion: str) -> str:
        if criterion == "originalhost":
            return self._host
        if criterion == "host":
            name = self._options.get("hostname")
            return expand_host_name(name[0], self._host) if name else self._host
        if criterion == "user":
            return self._user or self._options.get("user", ("",))[0] or local_username()
        return local_username()


def _matches_patterns(text: str, patterns: list[str]) -> bool:
    """A negated pattern that matches wins."""
    fitting = [pattern for pattern in patterns if fnmatch.fnmatchcase(text, pattern.lstrip("!").replace("[", "[[]"))]
    return bool(fitting) and not any(pattern.startswith("!") for pattern in fitting)


def _refused(why: str, host: str) -> SshError:
    what = f"The SSH configuration for {host} can't be read without OpenSSH's client"
    return SshError("ssh-config-unsupported", what, why, "Install OpenSSH's client: the command `ssh`")
