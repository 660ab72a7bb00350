"""The file store: private, whole, and never another issuer's."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from registrar.client import ClientInformation, CredentialStoreError, FileCredentialStore

ISSUER = "https://as.example.com"
OTHER = "https://other.example.com"


def information(issuer: str = ISSUER, client_id: str = "c1", *, lost: bool = False) -> ClientInformation:
    """A client to be kept."""
    members = {"client_id": client_id, "client_secret": "hidden-secret", "registration_access_token": "hidden-token"}
    return ClientInformation(issuer, f"{issuer}/register", {**members, "client_name": "例 \ud800"}, lost=lost)


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("lost", [False, True])
def test_round_trip(store: FileCredentialStore, lost: bool) -> None:
    """What is saved is loaded, member for member, credentials hidden as before."""
    store.save(information(lost=lost), "default")

    loaded = store.load(ISSUER, "default")

    assert loaded == information(lost=lost)
    assert "hidden" not in repr(loaded)


def test_nothing_saved(store: FileCredentialStore) -> None:
    """Nothing is loaded where nothing was saved, and forgetting it is no error."""
    assert store.load(ISSUER, "default") is None
    store.forget(ISSUER, "default")


@pytest.mark.requirement("R7591-C12")
def test_issuers_and_keys_are_apart(store: FileCredentialStore) -> None:
    """Issuers that differ by one code point, and keys, have their own credentials."""
    store.save(information(client_id="a"), "one")
    store.save(information(client_id="b"), "two")
    store.save(information(f"{ISSUER}/", client_id="c"), "one")

    loaded = [store.load(ISSUER, "one"), store.load(ISSUER, "two"), store.load(f"{ISSUER}/", "one")]
    assert [each and each.client_id for each in loaded] == ["a", "b", "c"]
    assert store.load(OTHER, "one") is None


def test_replaced_and_forgotten(store: FileCredentialStore) -> None:
    """Saving again replaces, forgetting removes, and no draft stays behind."""
    store.save(information(client_id="a"), "default")
    store.save(information(client_id="b"), "default")

    loaded = store.load(ISSUER, "default")
    assert loaded is not None
    assert loaded.client_id == "b"
    assert len(list(store.directory.iterdir())) == 1

    store.forget(ISSUER, "default")
    assert store.load(ISSUER, "default") is None
    assert list(store.directory.iterdir()) == []


@pytest.mark.requirement("R7591-C12")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes(tmp_path: Path, umask: int) -> None:
    """Directory and file are the user's alone, whatever the umask, and the file's name tells the host only."""
    former = os.umask(umask)
    try:
        store = FileCredentialStore(tmp_path / "new" / "credentials")
        store.save(information(), "default")
    finally:
        os.umask(former)

    path = store.path(ISSUER, "default")
    assert (mode(store.directory), mode(path)) == (0o700, 0o600)
    assert path.name.startswith("as.example.com-")
    assert "c1" not in path.name


@pytest.mark.requirement("R7591-C12")
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_open_file_is_refused(store: FileCredentialStore, bits: int) -> None:
    """A file that others can read or write is not believed, and the error tells how to close it."""
    store.save(information(), "default")
    store.path(ISSUER, "default").chmod(bits)

    with pytest.raises(CredentialStoreError, match="chmod go="):
        store.load(ISSUER, "default")


def test_saving_closes_an_open_file(store: FileCredentialStore) -> None:
    """A file left open by something else is replaced by a private one."""
    store.save(information(), "default")
    store.path(ISSUER, "default").chmod(0o666)

    store.save(information(), "default")

    assert mode(store.path(ISSUER, "default")) == 0o600


@pytest.mark.parametrize("bits", [0o750, 0o701, 0o777])
def test_open_directory_is_refused(tmp_path: Path, bits: int) -> None:
    """A directory that others can enter is not taken."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(bits)

    with pytest.raises(CredentialStoreError, match="open to other users"):
        FileCredentialStore(directory)


def test_directory_is_a_file(tmp_path: Path) -> None:
    """What is no directory is told as such."""
    (tmp_path / "file").touch(mode=0o600)

    with pytest.raises(CredentialStoreError):
        FileCredentialStore(tmp_path / "file")


@pytest.mark.requirement("R7591-C12")
def test_foreign_issuer_in_the_file(store: FileCredentialStore) -> None:
    """A file that was copied to another issuer's name gives nothing to that issuer."""
    store.save(information(), "default")
    store.path(ISSUER, "default").rename(store.path(OTHER, "default"))

    with pytest.raises(CredentialStoreError, match="another issuer"):
        store.load(OTHER, "default")


def test_foreign_key_in_the_file(store: FileCredentialStore) -> None:
    """Nor to another key of the same issuer."""
    store.save(information(), "one")
    store.path(ISSUER, "one").rename(store.path(ISSUER, "two"))

    with pytest.raises(CredentialStoreError):
        store.load(ISSUER, "two")


def test_link_is_refused(store: FileCredentialStore, tmp_path: Path) -> None:
    """A link in place of the file is not followed; saving replaces it and leaves its target alone."""
    target = tmp_path / "target"
    store.save(information(client_id="target"), "default")
    store.path(ISSUER, "default").rename(target)
    store.path(ISSUER, "default").symlink_to(target)
    content = target.read_bytes()

    with pytest.raises(CredentialStoreError):
        store.load(ISSUER, "default")
    store.save(information(), "default")

    assert target.read_bytes() == content
    assert store.load(ISSUER, "default") == information()


def test_pipe_is_refused(store: FileCredentialStore) -> None:
    """A pipe in place of the file neither blocks nor is read."""
    os.mkfifo(store.path(ISSUER, "default"), 0o600)

    with pytest.raises(CredentialStoreError, match="regular file"):
        store.load(ISSUER, "default")


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda record: json.dumps(record).encode()[:-5],
        lambda _: b"[]",
        lambda _: b"\xff",
        lambda record: json.dumps({**record, "version": 2}).encode(),
        lambda record: json.dumps({**record, "members": ["hidden"]}).encode(),
        lambda record: json.dumps({**record, "members": {"client_secret": "hidden"}}).encode(),
        lambda _: json.dumps({"version": 1, "issuer": ISSUER, "key": "default"}).encode(),
        lambda _: b"[" * 100_000,
    ],
)
def test_unreadable_file(store: FileCredentialStore, change: object) -> None:
    """A damaged file is an error that shows nothing of it, never a silent new registration."""
    store.save(information(), "default")
    path = store.path(ISSUER, "default")
    assert callable(change)
    path.write_bytes(change(json.loads(path.read_bytes())))

    with pytest.raises(CredentialStoreError) as caught:
        store.load(ISSUER, "default")

    assert "hidden" not in str(caught.value)


def test_a_failed_save_keeps_the_former(store: FileCredentialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails before the file is replaced, the former credentials are whole and no draft stays."""
    store.save(information(client_id="a"), "default")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialStoreError, match="No space left"):
        store.save(information(client_id="b"), "default")

    loaded = store.load(ISSUER, "default")
    assert loaded is not None
    assert loaded.client_id == "a"
    assert len(list(store.directory.iterdir())) == 1


def test_a_failed_removal_is_told(store: FileCredentialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that may still be on the disk are not reported as forgotten."""

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(CredentialStoreError, match="Input/output error"):
        store.forget(ISSUER, "default")


def test_another_users_file(store: FileCredentialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another user has put there is not believed, however private it is."""
    store.save(information(), "default")
    user = os.geteuid()

    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(CredentialStoreError, match="another user"):
        store.load(ISSUER, "default")


@pytest.mark.requirement("R7592-C2")
def test_durable_before_it_counts(store: FileCredentialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is synchronised before the file takes its name, and the directory after."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        events.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        events.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    store.save(information(), "default")

    assert events == ["content", "name", "directory"]


@pytest.mark.parametrize(
    "issuer", ["https://[::1]:8000/a/../b", "https://" + "x" * 300, "http://localhost", "../../etc", ".."]
)
def test_file_names(store: FileCredentialStore, issuer: str) -> None:
    """No issuer leads out of the directory or to a name that a file system refuses."""
    path = store.path(issuer, "../key\0")

    assert path.parent == store.directory
    assert len(path.name) < 128
    assert not path.name.startswith(".")
