"""`registrar init`."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from registrar.config import read
from registrar.domain.settings import Mode

if TYPE_CHECKING:
    from conftest import Desk


def test_files(desk: Desk) -> None:
    """A configuration that is valid and closed to strangers, and a key file that is this user's alone."""
    configuration = read(desk.configuration)

    assert configuration.settings.issuer["main"].registration.mode == (Mode.CLIENT,)
    assert configuration.key_file == Path("registrar.key")
    assert stat.S_IMODE((desk.folder / "registrar.key").stat().st_mode) == 0o600


def test_folder(desk: Desk) -> None:
    """Another folder is made, and what was written is named."""
    assert desk.done("init", "deep/er").splitlines() == ["wrote deep/er/registrar.toml", "wrote deep/er/registrar.key"]
    assert desk.told("client", "list", "--config", "deep/er/registrar.toml") == []


@pytest.mark.parametrize("kept", ["registrar.toml", "registrar.key"])
def test_nothing_is_overwritten(desk: Desk, kept: str) -> None:
    """Where one of the files exists, neither is written."""
    other = ({"registrar.toml", "registrar.key"} - {kept}).pop()
    (desk.folder / other).unlink()
    before = (desk.folder / kept).read_bytes()

    assert desk.refused("init") == f"{kept} exists; nothing was written"
    assert (desk.folder / kept).read_bytes() == before
    assert not (desk.folder / other).exists()


def test_folder_that_cannot_be(desk: Desk) -> None:
    """A folder below a file cannot be made, and a line says so."""
    assert "registrar.key" in desk.refused("init", "registrar.key/below")
