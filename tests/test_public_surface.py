"""The names that the package promises."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import httpx2
import pytest

import registrar
from registrar.service.ports import Store

DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
PORT = {name for name in vars(Store) if not name.startswith("_")}


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


def undocumented(module: str) -> list[str]:
    """What of a module is public and has no docstring; what a base class or the port already describes needs none."""
    found = import_module(module)
    if not found.__doc__:
        return [module]
    nodes = ast.parse(inspect.getsource(found)).body
    public = [one for one in nodes if isinstance(one, DOCUMENTED) and not one.name.startswith("_")]
    missing = [one.name for one in public if not ast.get_docstring(one)]
    for kind in (one for one in public if isinstance(one, ast.ClassDef)):
        made = getattr(found, kind.name)
        described = {name for base in made.__mro__[1:] for name in vars(base)}
        described |= PORT if set(dir(made)) >= PORT else set()
        missing += [
            f"{kind.name}.{one.name}"
            for one in kind.body
            if isinstance(one, DOCUMENTED) and not one.name.startswith("_") and one.name not in described
            if not ast.get_docstring(one)
        ]
    return [f"{module}.{name}" for name in missing]


def test_what_is_public_is_documented() -> None:
    """Every module, class, function and method without an underscore says what it is."""
    modules = [one.name for one in walk_packages(registrar.__path__, "registrar.") if one.name != "registrar.__main__"]

    assert len(modules) > 50
    assert [name for module in modules for name in undocumented(module)] == []
