"""The names that the package promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

import registrar


def test_every_public_name_is_there() -> None:
    """Each name of `__all__` can be had, the list is sorted, and no other name is invented."""
    assert sorted(registrar.__all__) == registrar.__all__
    assert all(getattr(registrar, name) is not None for name in registrar.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = registrar.nothing  # type: ignore[attr-defined]  # that it fails is what is tested


@pytest.mark.parametrize(("name", "foreign"), [("RegistrationClient", "uvicorn"), ("create_app", "httpx2")])
def test_one_half_does_not_load_the_other(name: str, foreign: str) -> None:
    """The client library works without the server's dependencies loaded, and the server without the client's."""
    code = f"import sys, registrar; registrar.{name}; sys.exit({foreign!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.anyio
async def test_the_server_can_be_embedded(tmp_path: Path) -> None:
    """A configuration file becomes an ASGI application with three public calls."""
    file = tmp_path / "registrar.toml"
    file.write_text(
        '[server]\ndatabase = "memory:"\n[issuer.main]\nurl = "http://127.0.0.1:8000"\n'
        '[issuer.main.registration]\nmode = "open"\n'
    )
    registry = registrar.assemble(registrar.read_configuration(file))
    app = registrar.create_app(registry)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client:
        answer = await client.post("/register", json={"redirect_uris": ["https://app.example/cb"]})
    assert answer.status_code == 201
    await registry.store.close()
