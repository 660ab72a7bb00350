"""What `registrar.client` exports, and the tree that its errors are."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import registrar.client
from registrar.client import errors


def test_exports() -> None:
    """The list is sorted, complete and true."""
    names = registrar.client.__all__
    ours = {
        name
        for name, value in vars(registrar.client).items()
        if inspect.isclass(value) and value.__module__.startswith("registrar.client") and not name.startswith("_")
    }

    # Flows are the shells' own business; everything else that a caller meets is exported.
    assert set(names) == ours - {"Flows"}
    assert list(names) == sorted(names)


def test_every_error_is_exported_and_drawn() -> None:
    """Each error is in the public list and in the tree at the head of its module, under its parent."""
    drawn: list[tuple[int, str]] = [
        (len(match[1]), match[2]) for match in re.finditer(r"^([ │├└─]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    ]
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for depth, name in drawn:
        if not hasattr(errors, name):
            continue
        while path and path[-1][0] >= depth:
            path.pop()
        if path:
            parents[name] = path[-1][1]
        path.append((depth, name))
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.RegistrarClientError)
    }

    assert parents == {
        name: value.__mro__[1].__name__ for name, value in classes.items() if value is not errors.RegistrarClientError
    }
    assert set(classes) <= set(registrar.client.__all__)


def test_stands_alone() -> None:
    """The client library imports nothing else of the project: it can be read, and lifted out, alone."""
    directory = Path(registrar.client.__file__).parent
    imported = {
        node.module
        for path in directory.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("registrar")
    }

    assert all(module.startswith("registrar.client.") for module in imported)


def test_both_clients_offer_the_same() -> None:
    """The synchronous client has the methods of the asynchronous one, with the same parameters."""

    def offered(kind: type) -> dict[str, list[str]]:
        return {
            name.removeprefix("a") if name == "aclose" else name: list(inspect.signature(value).parameters)
            for name, value in vars(kind).items()
            if inspect.isfunction(value) and not name.startswith("_")
        }

    assert offered(registrar.client.RegistrationClient) == offered(registrar.client.SyncRegistrationClient)
