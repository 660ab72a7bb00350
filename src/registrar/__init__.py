"""Registrar: the registration authority for OAuth clients (RFC 7591, RFC 7592, RFC 8414).

The names below are the public surface; everything else may move. They are loaded when they are first used, so that the
client library does not bring the server with it, nor the server the client library.

- `RegistrationClient`, `SyncRegistrationClient`: register with any server and manage what was registered.
- `read_configuration`, `assemble`, `create_app`: the server, to be embedded in another ASGI application.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from registrar.client import RegistrationClient, SyncRegistrationClient
    from registrar.config import assemble
    from registrar.config import read as read_configuration
    from registrar.http import create_app

__version__ = "0.1.0"

__all__ = [
    "RegistrationClient",
    "SyncRegistrationClient",
    "__version__",
    "assemble",
    "create_app",
    "read_configuration",
]

_WHERE: Final = {
    "RegistrationClient": ("registrar.client", "RegistrationClient"),
    "SyncRegistrationClient": ("registrar.client", "SyncRegistrationClient"),
    "assemble": ("registrar.config", "assemble"),
    "create_app": ("registrar.http", "create_app"),
    "read_configuration": ("registrar.config", "read"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module {__name__} has no attribute {name}"
        raise AttributeError(msg)
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)
