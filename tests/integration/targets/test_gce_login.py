"""Getting in where nobody has put a key for us: metadata, OS Login, renewal, and what is taken away again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime import compute
from remote_runtime.compute.login import metadata_keys
from remote_runtime.core.access import InstalledKey, LoginIdentity
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, SshError
from remote_runtime.demo.gcp_api.os_login import PosixAccount
from tests.support.environment import google_discovery
from tests.support.environment.waiting import eventually
from tests.support.machines.gce_login_vm import ME, PROJECT, Doorway, doorway
from tests.support.servers.iam import running_iam
from tests.support.servers.sshd import make_key


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Doorway]:
    with doorway(tmp_path) as door:
        yield door
    assert [found for exchange in door.emulator.exchanges for found in google_discovery.complaints(exchange)] == []


def public(path: Path) -> str:
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def writes(door: Doorway) -> int:
    return sum(exchange.method_id == "compute.instances.setMetadata" for exchange in door.emulator.exchanges)


def authorized(door: Doorway) -> str:
    return (door.sshd.directory / "authorized_keys").read_text()


def test_a_key_is_made_put_into_the_instances_metadata_and_lets_us_in(tmp_path: Path) -> None:
    with doorway(tmp_path, authorize_after_s=2.0) as door:
        enters_with_a_new_key(door)


def enters_with_a_new_key(door: Doorway) -> None:
    machine = door.find()
    with_session = door.enter(machine)
    assert door.run(with_session, "echo", "inside") == "inside"
    with_session.close()
    (entry,) = metadata_keys.valid_entries(door.vm.metadata["ssh-keys"], time.time())
    assert (entry.user, entry.key) == (door.sshd.user, public(door.key_file()))
    assert entry.until is not None
    assert 86000 < entry.until - time.time() < 86401
    assert any("rejects the key" in line for line in door.person.told), "it is said what is waited for"
    before, after = door.news
    assert before == (machine, door.keys), "it is recorded before it is written"
    assert after[0].access is not None
    assert after[0].access.keys == (entry.key,)


@pytest.mark.parametrize("where", ["instance", "project"])
def test_nothing_is_written_where_a_key_of_ours_is_let_in(door: Doorway, where: str) -> None:
    make_key(door.key_file())
    metadata = door.vm.metadata if where == "instance" else door.emulator.cloud.project_metadata[PROJECT]
    with door.emulator.cloud.changed:
        metadata["ssh-keys"] = f"{door.sshd.user}:{public(door.key_file())} me@laptop"
        door.emulator.cloud.changed.notify_all()
    eventually(lambda: authorized(door))
    found = door.find()
    assert found.access is not None
    assert (found.access.keys, found.access.until) == ((public(door.key_file()),), None)
    door.enter(found).close()
    assert (writes(door), door.keys) == (0, ())


def test_a_key_that_was_put_there_by_hand_needs_no_metadata(door: Doorway) -> None:
    make_key(door.key_file("id_ed25519"))
    door.sshd.authorize(public(door.key_file("id_ed25519")))
    door.enter(door.find()).close()
    assert writes(door) == 0
    assert not door.key_file().exists()


@pytest.mark.parametrize("hidden_by", [{"block-project-ssh-keys": "true"}, {"sshKeys": "them:ssh-rsa AAAA them"}])
def test_a_project_key_that_the_instance_hides_does_not_count(tmp_path: Path, hidden_by: dict[str, str]) -> None:
    with doorway(tmp_path, metadata=hidden_by) as door:
        make_key(door.key_file())
        door.emulator.cloud.project_metadata[PROJECT]["ssh-keys"] = f"{door.sshd.user}:{public(door.key_file())}"
        found = door.find()
        assert found.access is not None
        assert found.access.keys == ()
        door.enter(found).close()
        assert door.vm.metadata.items() >= hidden_by.items()
        assert writes(door) == 1


def test_an_entry_under_another_name_tells_the_login_name(door: Doorway) -> None:
    make_key(door.key_file())
    door.vm.metadata["ssh-keys"] = f"somebody:{public(door.key_file())}"
    found = door.find()
    assert found.access is not None
    assert found.access.user == "somebody"
    door.settings["user"] = door.sshd.user
    found = door.find()
    assert found.access is not None
    assert (found.access.user, found.access.keys) == (door.sshd.user, ())


def test_a_key_that_has_expired_is_replaced_when_a_connection_is_needed(door: Doorway) -> None:
    door.enter(door.find()).close()
    (old,) = door.keys
    line = metadata_keys.format_entry(old.user, old.key, int(time.time()) - 5)
    with door.emulator.cloud.changed:
        door.vm.metadata["ssh-keys"] = f"them:ssh-rsa AAAA them\n{line}"
        door.emulator.cloud.changed.notify_all()
    eventually(lambda: not authorized(door))
    instance = door.news[-1][0]
    assert instance.access is not None
    # What a keeper knows, hours later: no look-up, only the end of its key.
    door.enter(replace(instance, access=replace(instance.access, until=time.time() - 5)), fresh=False).close()
    lines = door.vm.metadata["ssh-keys"].split("\n")
    assert lines[0] == "them:ssh-rsa AAAA them"
    assert (len(lines), len(door.keys)) == (2, 1)


def test_up_renews_a_key_that_has_lived_half_its_life_and_a_repair_does_not(door: Doorway) -> None:
    door.enter(door.find()).close()
    door.settings["key_lifetime_s"] = 3 * 86400.0
    found = door.find()
    door.enter(found, fresh=False).close()
    assert writes(door) == 1
    door.enter(found).close()
    assert writes(door) == 2
    (entry,) = metadata_keys.valid_entries(door.vm.metadata["ssh-keys"], time.time())
    assert entry.until is not None
    assert entry.until - time.time() > 2 * 86400


def test_a_key_that_cannot_be_renewed_still_lets_us_in(door: Doorway) -> None:
    door.enter(door.find()).close()
    door.settings["key_lifetime_s"] = 3 * 86400.0
    door.emulator.cloud.forbidden_permissions.add("compute.instances.setMetadata")
    door.enter(door.find()).close()
    assert any("could not be renewed" in line for line in door.person.told)


def test_a_key_whose_file_is_gone_is_not_renewed_and_another_lets_us_in(door: Doorway) -> None:
    door.enter(door.find()).close()
    make_key(door.key_file("work"))
    door.key_file("work").unlink()
    door.settings |= {"key_lifetime_s": 3 * 86400.0, "identity_file": str(door.key_file("work"))}
    door.enter(door.find()).close()
    assert any("could not be renewed" in line and "private key" in line for line in door.person.told)
    assert writes(door) == 1


@pytest.mark.parametrize(
    ("permission", "account"),
    [("compute.instances.setMetadata", ""), ("iam.serviceAccounts.actAs", "robot@demo.iam.gserviceaccount.com")],
)
def test_a_missing_permission_is_named(tmp_path: Path, permission: str, account: str) -> None:
    with doorway(tmp_path, service_account=account) as door:
        door.emulator.cloud.forbidden_permissions.add(permission)
        with pytest.raises(CloudError) as caught:
            door.enter(door.find())
        assert caught.value.code == "permission-denied"
        assert permission in caught.value.what
        assert "rejects your SSH keys" in caught.value.what


def test_who_may_not_add_a_key_is_told_that_up_does(door: Doorway) -> None:
    with pytest.raises(SshError) as caught:
        door.enter(door.find(), may_add=False)
    assert caught.value.code == "no-usable-key"
    assert "remote-runtime up" in caught.value.hint
    assert "ssh-keys" not in door.vm.metadata


def test_os_login_gets_the_key_with_its_end_and_tells_the_login_name(door: Doorway) -> None:
    with door.emulator.cloud.changed:
        door.vm.metadata |= {"enable-oslogin": "TRUE"}
        door.account.accounts += [
            PosixAccount("other", PROJECT, primary=False),
            PosixAccount(door.sshd.user, PROJECT),
            PosixAccount("elsewhere", "another-project"),
        ]
    door.enter(door.find()).close()
    (key,) = door.account.keys.values()
    assert key.key == public(door.key_file())
    assert key.expires_usec is not None
    assert 86000 < key.expires_usec / 1e6 - time.time() < 86401
    assert "ssh-keys" not in door.vm.metadata
    again = door.find()
    assert again.access is not None
    assert (again.access.by, again.access.user, again.access.keys) == ("os-login", door.sshd.user, (key.key,))
    door.enter(again).close()
    assert len(door.account.keys) == 1
    door.withdraw()
    assert door.account.keys == {}


def test_a_service_account_that_is_acted_as_gets_the_key_and_its_login_name_is_used(door: Doorway) -> None:
    robot = door.emulator.cloud.os_login.user("robot@demo.iam.gserviceaccount.com")
    with door.emulator.cloud.changed:
        door.vm.metadata["enable-oslogin"] = "TRUE"
        door.account.accounts.append(PosixAccount("me", PROJECT))
        robot.accounts.append(PosixAccount(door.sshd.user, PROJECT))
    (door.home / "token").write_text("ya29.mine")
    del door.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"]
    with running_iam() as iam:
        door.environ |= {
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(door.home / "token"),
            "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": robot.email,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS": iam.endpoint,
        }
        door.enter(door.find()).close()
        entered = door.news[-1][0]
        assert entered.access is not None
        assert entered.access.user == door.sshd.user
        assert [key.key for key in robot.keys.values()] == [public(door.key_file())]
        assert door.account.keys == {}, "who acts as it has no part in it"
        door.withdraw()
        assert robot.keys == {}
    assert {asked.partition("serviceAccounts/")[2] for asked, _, _ in iam.asked} == {
        f"{robot.email}:generateAccessToken"
    }


def test_os_login_of_the_project_counts_unless_the_instance_says_no(tmp_path: Path) -> None:
    with doorway(tmp_path, project={"enable-oslogin": "TRUE"}) as door:
        found = door.find()
        assert found.access is not None
        assert (found.access.by, found.access.user) == ("os-login", "")
        door.vm.metadata["enable-oslogin"] = "FALSE"
        found = door.find()
        assert found.access is not None
        assert found.access.by == "metadata"


def test_the_account_that_was_asked_for_wins_and_the_second_factor_is_known(door: Doorway) -> None:
    door.vm.metadata |= {"enable-oslogin": "TRUE", "enable-oslogin-2fa": "TRUE"}
    door.account.accounts += [PosixAccount("first", PROJECT), PosixAccount("wanted", PROJECT, primary=False)]
    door.settings["user"] = "wanted"
    found = door.find()
    assert found.access is not None
    assert (found.access.user, found.access.two_factor) == ("wanted", True)
    door.settings["user"] = "nobody"
    found = door.find()
    assert found.access is not None
    assert found.access.user == "first"


def test_an_expired_key_in_os_login_is_given_a_new_end(door: Doorway) -> None:
    make_key(door.key_file())
    door.vm.metadata |= {"enable-oslogin": "TRUE"}
    with door.emulator.cloud.changed:
        door.account.accounts.append(PosixAccount(door.sshd.user, PROJECT))
        door.emulator.cloud.os_login.import_key(ME, public(door.key_file()), None)
        (key,) = door.account.keys.values()
        key.expires_usec = 1
    found = door.find()
    assert found.access is not None
    assert found.access.keys == ()
    door.enter(found).close()
    assert key.expires_usec > time.time() * 1e6


def test_a_key_that_was_in_os_login_before_us_gets_no_end_and_is_not_recorded_as_ours(door: Doorway) -> None:
    make_key(door.key_file())
    key = public(door.key_file())
    door.vm.metadata |= {"enable-oslogin": "TRUE"}
    with door.emulator.cloud.changed:
        door.emulator.cloud.os_login.import_key(ME, key, None)
    adding: list[InstalledKey] = []
    admission = compute.grant_access(
        door.find(),
        LoginIdentity(None, "me", (key,)),
        key,
        lifetime_s=86400.0,
        previous_keys=(),
        renew=True,
        before_write=adding.append,
        progress=door.person.tell,
        deadline=Deadline(60),
        environ=door.environ,
    )
    (account,) = door.account.accounts
    assert (admission.access.user, admission.access.keys) == (account.username, (key,)), "the account was made"
    (there,) = door.account.keys.values()
    assert there.expires_usec is None
    assert (adding, admission.added) == ([], None), "nothing for `down --purge` to take away"


def test_nobody_to_ask_os_login_for_is_said(door: Doorway) -> None:
    door.vm.metadata |= {"enable-oslogin": "TRUE"}
    del door.environ["CLOUDSDK_CORE_ACCOUNT"]
    with pytest.raises(CloudError) as caught:
        door.find()
    assert caught.value.code == "no-credentials"
    assert "gcloud config set account" in caught.value.hint


class Writer:
    """A colleague who adds lines to the same metadata all the time."""

    def __init__(self, door: Doorway) -> None:
        self._door = door
        self._ended = threading.Event()
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        eventually(lambda: self.lines)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        cloud, vm = self._door.emulator.cloud, self._door.vm
        while not self._ended.wait(0.3):
            line = f"colleague:ssh-rsa AAAA{len(self.lines)} them"
            with cloud.changed:
                vm.metadata["ssh-keys"] += f"\n{line}"
                cloud.changed.notify_all()
            self.lines.append(line)


def test_a_colleague_who_writes_all_the_time_loses_nothing_and_nothing_of_ours_stays(door: Doorway) -> None:
    make_key(door.key_file())
    expired = metadata_keys.format_entry("me", public(door.key_file()), int(time.time()) - 60)
    theirs = "a:ssh-rsa AAAA one\r\n\n  b:ssh-rsa AAAA two "
    door.vm.metadata |= {"colour": "blue \u2603\n", "ssh-keys": f"{theirs}\n{expired}", "empty": ""}
    before = dict(door.vm.metadata)
    with Writer(door) as writer:
        door.emulator.cloud.lost_races = 2  # and a second one, who is quicker than us for certain
        door.enter(door.find()).close()
        mine = metadata_keys.format_entry(door.keys[0].user, door.keys[0].key, door.keys[0].until)
        assert mine in door.vm.metadata["ssh-keys"].split("\n")
        door.emulator.cloud.lost_races = 2
        door.withdraw()
    assert door.vm.metadata.pop("written-meanwhile")
    assert door.vm.metadata == before | {"ssh-keys": "\n".join([theirs, *writer.lines])}
    assert list(door.vm.metadata) == list(before)
    assert sum(exchange.status == 412 for exchange in door.emulator.exchanges) >= 4


def test_what_is_not_there_any_more_is_taken_away_without_a_write(door: Doorway) -> None:
    door.enter(door.find()).close()
    door.withdraw()
    assert "ssh-keys" not in door.vm.metadata
    before = writes(door)
    door.withdraw()
    assert writes(door) == before
    door.emulator.cloud.instances.clear()
    door.withdraw()


def test_host_keys_that_are_late_are_waited_for_and_pinned(tmp_path: Path) -> None:
    with doorway(tmp_path) as door:
        door.vm.last_start = door.vm.created
        published, door.vm.guest_attributes = door.vm.guest_attributes, {}

        def publish() -> None:
            eventually(lambda: any("publish" in line for line in door.person.told), within_s=60)
            door.vm.guest_attributes = published

        late = threading.Thread(target=publish)
        late.start()
        found = door.find()
        late.join()
        assert set(found.host_keys) == set(door.sshd.host_keys)
        assert any("publish its host keys" in line for line in door.person.told)
        door.enter(found).close()
        door.vm.guest_attributes.clear()
        door.person.told.clear()
        door.enter(door.find()).close()
        assert not any("publish" in line for line in door.person.told), "what is pinned is not waited for"


def test_a_machine_made_anew_is_a_new_machine_and_a_changed_key_of_the_same_one_is_refused(door: Doorway) -> None:
    door.enter(door.find()).close()
    door.sshd.rotate_host_keys()
    with door.emulator.cloud.changed:
        door.vm.id = str(int(door.vm.id) + 1)
        door.vm.guest_attributes = {
            f"hostkeys/{kind}": value for kind, value in (line.split() for line in door.sshd.host_keys)
        }
    found = door.find()
    door.enter(found).close()
    before = door.sshd.fingerprints()[0]
    door.sshd.rotate_host_keys()
    with pytest.raises(SshError) as caught:
        door.enter(found)
    assert caught.value.code == "host-key-changed"
    assert before in caught.value.why
    assert door.sshd.fingerprints()[0] in caught.value.why
