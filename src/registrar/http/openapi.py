"""The OpenAPI document (3.1), made from the tables that the program itself reads: routes, bodies, errors and members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from registrar.domain.access_token import ADMINISTRATION
from registrar.domain.errors import ERRORS
from registrar.domain.metadata import MEMBERS, Role

VERSION: Final = "1"
"""Of what is described, which moves when a caller has to."""
_JSON_TYPES: Final[Mapping[str, dict[str, Any]]] = {
    "array": {"type": "array", "items": {"type": "string"}},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "number": {"type": "integer"},
}


class Row(Protocol):
    """A route, as `http.admin` has it."""

    @property
    def method(self) -> str:
        """Its method."""
        ...

    @property
    def path(self) -> str:
        """Its path, with `{}` for a name."""
        ...

    @property
    def scope(self) -> str:
        """The scope that opens it."""
        ...

    @property
    def act(self) -> Any:
        """What it does."""
        ...

    @property
    def takes(self) -> type[msgspec.Struct] | None:
        """Its body."""
        ...

    @property
    def asks(self) -> tuple[str, ...]:
        """The parameters of its query."""
        ...

    @property
    def conditional(self) -> bool:
        """Whether it asks what is there."""
        ...


def document(url: str, prefix: str, registration: str, rows: Iterable[Row]) -> dict[str, Any]:
    """The document.

    Args:
        url: of the issuer.
        prefix: of the administration API.
        registration: the path of the registration endpoint.
        rows: the routes.
    """
    listed = list(rows)
    bodies = list(dict.fromkeys(row.takes for row in listed if row.takes is not None))
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    schemas["Metadata"] = _metadata()
    paths: dict[str, Any] = {}
    for row in listed:
        paths.setdefault(f"{prefix}{row.path.replace('{}', '{name}')}", {})[row.method.lower()] = _operation(row)
    paths |= _protocol(registration)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Registrar", "version": VERSION},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _error()},
            "responses": {
                "Error": {
                    "description": "Refused, with the reason.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
            "securitySchemes": {
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the kind operator: "
                    + " ".join(f"{scope}: {meaning}" for scope, meaning in ADMINISTRATION.items()),
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An initial or registration access token.",
                },
            },
        },
    }


def _operation(row: Row) -> dict[str, Any]:
    name = row.act.__name__.strip("_")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": name.replace("_", " ").capitalize() + ".",
        "description": f"Needs the scope `{row.scope}`.",
        "security": [{"operator": []}],
        "responses": {
            "2XX": {"description": "Done.", "content": {"application/json": {"schema": {"type": "object"}}}},
            "4XX": {"$ref": "#/components/responses/Error"},
            "503": {"$ref": "#/components/responses/Error"},
        },
    }
    parameters: list[dict[str, Any]] = [{"name": one, "in": "query", "schema": _of_query(one)} for one in row.asks]
    if "{}" in row.path:
        parameters.append(
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        )
    if row.conditional:
        parameters.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
    if parameters:
        operation["parameters"] = parameters
    if row.takes is not None:
        schema = {"$ref": f"#/components/schemas/{row.takes.__name__}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


_NUMBERS: Final = frozenset(
    ("limit", "created_from", "created_before", "unused_since", "expires_before", "keys_before")
)


def _of_query(name: str) -> dict[str, Any]:
    if name in _NUMBERS:
        return {"type": "integer", "minimum": 1 if name == "limit" else 0}
    if name == "order":
        return {"enum": ["oldest", "newest"]}
    return {"type": "boolean"} if name == "never_used" else {"type": "string"}


def _metadata() -> dict[str, Any]:
    """Client metadata; other members are ignored (RFC 7591 §2)."""
    return {
        "type": "object",
        "properties": {
            name: {**_JSON_TYPES.get(row.type, {"type": "string"}), "description": row.source}
            for name, row in MEMBERS.items()
            if row.role is Role.CLIENT
        },
    }


def _error() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "string", "enum": sorted({row.code for row in ERRORS.values()})},
            "error_description": {"type": "string"},
            "faults": {"type": "array", "items": {"type": "object"}},
        },
    }


def _protocol(registration: str) -> dict[str, Any]:
    """The endpoints of RFC 7591 and RFC 7592, and the receipt."""
    answers = {
        "2XX": {"description": "Done.", "content": {"application/json": {"schema": {"type": "object"}}}},
        "4XX": {"$ref": "#/components/responses/Error"},
        "503": {"$ref": "#/components/responses/Error"},
    }
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Metadata"}}}}
    named = [{"name": "client_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]
    own = {"security": [{"token": []}], "responses": answers}
    return {
        registration: {
            "post": {"operationId": "register", "summary": "RFC 7591 §3.", "requestBody": body, **own},
        },
        f"{registration}/{{client_id}}": {
            "parameters": named,
            "get": {"operationId": "read", "summary": "RFC 7592 §2.1.", **own},
            "put": {"operationId": "update", "summary": "RFC 7592 §2.2.", "requestBody": body, **own},
            "delete": {"operationId": "end", "summary": "RFC 7592 §2.3.", **own},
        },
        "/receipts/{client_id}": {
            "parameters": named,
            "get": {
                "operationId": "receipt",
                "summary": "A signed statement of what is registered.",
                "security": [{"token": []}],
                "responses": {
                    "200": {"description": "A JWT.", "content": {"application/jwt": {"schema": {"type": "string"}}}},
                    "4XX": {"$ref": "#/components/responses/Error"},
                    "503": {"$ref": "#/components/responses/Error"},
                },
            },
        },
    }
