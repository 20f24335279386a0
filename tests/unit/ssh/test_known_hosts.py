"""known_hosts files as OpenSSH writes and people edit them."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest

from remote_runtime.core.errors import LocalError, SshError
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import Algorithms, SshSettings
from remote_runtime.ssh import pinned_keys, unpin
from remote_runtime.ssh.auth.host_keys import HostKeyPolicy
from remote_runtime.ssh.files.known_hosts import HostKey, parse_keys, pin
from remote_runtime.ssh.files.paths import expand_home
from tests.support.servers.sshd import make_key


def make(kind: str, seed: int) -> HostKey:
    """A key whose data is well-formed as far as known_hosts files go."""
    raw = len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes([seed]) * 32
    return HostKey(kind, base64.b64encode(raw).decode())


ED, ED2 = make("ssh-ed25519", 1), make("ssh-ed25519", 2)
RSA, ECDSA = make("ssh-rsa", 3), make("ecdsa-sha2-nistp256", 4)


def line(names: str, key: HostKey) -> str:
    return f"{names} {key.kind} {key.data} a comment\n"


def known(home: Path, text: str, name: str = "box", policy: str = "verified") -> HostKeyPolicy:
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "known_hosts").write_text(text)
    instance = Instance("ssh", "box", host_key_name=name)
    settings = SshSettings(host_key="accept-new" if policy == "accept-new" else "verified")
    return HostKeyPolicy(instance, settings, pins=home / "pins", home=home)


def verdict(keys: HostKeyPolicy, shown: HostKey) -> str:
    try:
        keys.check(shown, lambda text: None)
    except SshError as error:
        return error.code
    return "trusted"


@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        ("box", "box", "trusted"),
        ("BOX", "box", "trusted"),
        ("other,box", "box", "trusted"),
        ("b?x", "box", "trusted"),
        ("*.example.com", "a.example.com", "trusted"),
        ("*,!box", "box", "host-key-unknown"),
        ("!box,*", "box", "host-key-unknown"),
        ("[box]:2222", "[box]:2222", "trusted"),
        ("[box]:2222", "box", "host-key-unknown"),
        ("box", "[box]:2222", "host-key-unknown"),
        ("[b]ox", "box", "host-key-unknown"),
        ("boxes", "box", "host-key-unknown"),
        ("|1|broken", "box", "host-key-unknown"),
        ("|1|c2FsdA==|bm90IGl0", "box", "host-key-unknown"),
    ],
)
def test_names_match_as_openssh_matches_them(tmp_path: Path, names: str, name: str, expected: str) -> None:
    assert verdict(known(tmp_path, line(names, ED), name), ED) == expected


def test_several_keys_of_one_host_are_all_good(tmp_path: Path) -> None:
    keys = known(tmp_path, line("box", ED) + line("box", ED2) + line("box", RSA))
    assert [verdict(keys, key) for key in (ED, ED2, RSA)] == ["trusted"] * 3
    assert verdict(keys, ECDSA) == "host-key-changed"


def test_a_key_found_in_the_second_file_is_as_good(tmp_path: Path) -> None:
    keys = known(tmp_path, line("box", ED2))
    (tmp_path / ".ssh" / "known_hosts2").write_text(line("box", ED))
    again = HostKeyPolicy(
        Instance("ssh", "box", host_key_name="box"), SshSettings(), pins=tmp_path / "pins", home=tmp_path
    )
    assert verdict(keys, ED) == "host-key-changed"
    assert verdict(again, ED) == "trusted"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n# box\n",
        "box\n",
        "box ssh-ed25519\n",
        "box ssh-ed25519 %%%%\n",
        "box ssh-ed25519 \u00e9\u00e9\u00e9\u00e9\n",
        f"box ssh-rsa {ED.data}\n",
        "\x00\xff\n",
    ],
)
def test_damaged_lines_vouch_for_nothing(tmp_path: Path, text: str) -> None:
    assert verdict(known(tmp_path, text), ED) == "host-key-unknown"


def test_a_revoked_key_outranks_every_other_line(tmp_path: Path) -> None:
    keys = known(tmp_path, line("box", ED) + "@revoked " + line("*", ED))
    assert verdict(keys, ED) == "host-key-unknown"


def test_known_types_are_asked_for_first(tmp_path: Path) -> None:
    assert known(tmp_path, line("box", RSA)).algorithms()[:3] == ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]
    assert known(tmp_path, line("box", ECDSA)).algorithms()[0] == "ecdsa-sha2-nistp256"
    assert known(tmp_path, "").algorithms()[0] == "ssh-ed25519"
    assert "ssh-rsa" not in known(tmp_path, line("box", RSA)).algorithms()


def test_a_short_rsa_key_is_refused_where_the_configuration_says_so(tmp_path: Path) -> None:
    make_key(tmp_path / "host", "rsa")
    (key,) = parse_keys([(tmp_path / "host.pub").read_text()])
    (tmp_path / "hosts").write_text(f"box {key.kind} {key.data}\n")
    for bits, expected in ((3072, "trusted"), (3073, "host-key-unknown")):
        settings = SshSettings(
            known_hosts_files=(str(tmp_path / "hosts"),), allowed_algorithms=Algorithms(rsa_bits=bits)
        )
        instance = Instance("ssh", "box", host_key_name="box")
        assert verdict(HostKeyPolicy(instance, settings, pins=tmp_path / "pins", home=tmp_path), key) == expected


def test_fingerprints_are_those_of_openssh() -> None:
    data = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"  # github.com's published key
    assert HostKey("ssh-ed25519", data).fingerprint == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def test_keepers_that_pin_at_once_lose_nothing(tmp_path: Path) -> None:
    pins = tmp_path / "state" / "known_hosts"
    threads = [
        threading.Thread(target=pin, args=(pins, f"compute.{number}", make("ssh-ed25519", number)))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert all(len(pinned_keys(pins, f"compute.{number}")) == 1 for number in range(20))
    assert unpin(pins, "compute.1") == 1
    assert pinned_keys(pins, "compute.1") == []
    assert len(pinned_keys(pins, "compute.10")) == 1
    assert pins.stat().st_mode & 0o777 == 0o600


def test_nothing_is_made_to_forget_nothing(tmp_path: Path) -> None:
    assert unpin(tmp_path / "state" / "known_hosts", "compute.1") == 0
    assert not (tmp_path / "state").exists()


def test_pins_that_cannot_be_written_are_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError) as caught:
        pin(tmp_path / "file" / "known_hosts", "box", ED)
    assert caught.value.code == "state-dir-unusable"


def test_a_tilde_is_the_home_it_is_given(tmp_path: Path) -> None:
    assert expand_home("~/x", tmp_path) == tmp_path / "x"
    assert expand_home("/x", tmp_path) == Path("/x")
