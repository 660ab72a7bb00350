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
_TEXTS: Final[Mapping[str, Any]] = {"type": "array", "items": {"type": "string"}}
_JSON_TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "string": {"type": "string"},
    "URL": {"type": "string", "format": "uri"},
    "array of strings": _TEXTS,
    "array of URLs": {"type": "array", "items": {"type": "string", "format": "uri"}},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "integer": {"type": "integer"},
}
"""What a member's type is called in the table -> its schema."""


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
    schemas["ClientInformation"] = _information()
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
    return {"type": "object", "properties": _members(Role.CLIENT)}


def _information() -> dict[str, Any]:
    """The client information response (RFC 7591 §3.2.1), and what this server adds to it."""
    own = {
        "registration_state": {"type": "string", "enum": ["pending"], "description": "It waits for a review."},
        "pending_update": {"type": "object", "description": "An update that waits for a review, and why."},
    }
    return {
        "type": "object",
        "required": ["client_id", "client_id_issued_at"],
        "properties": {**_members(Role.SERVER), **_members(Role.CLIENT), **_members(Role.DERIVED), **own},
    }


def _members(role: Role) -> dict[str, Any]:
    rows = ((name, row) for name, row in MEMBERS.items() if row.role is role)
    return {name: {**_JSON_TYPES[row.type], "description": row.source} for name, row in rows}


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
    errors = {name: {"$ref": "#/components/responses/Error"} for name in ("4XX", "503")}
    shown = {"schema": {"$ref": "#/components/schemas/ClientInformation"}}
    client = {"description": "What is registered.", "content": {"application/json": shown}}
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Metadata"}}}}
    named = [{"name": "client_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]
    own = {"security": [{"token": []}], "responses": {"200": client, **errors}}
    made = {"201": client, "200": {**client, "description": "It was registered already, and is this."}, **errors}
    ended = {"204": {"description": "It is deleted."}, **errors}
    return {
        registration: {
            "post": {
                "operationId": "register",
                "summary": "RFC 7591 §3.",
                "requestBody": body,
                "security": [{}, {"token": []}],
                "responses": made,
            },
        },
        f"{registration}/{{client_id}}": {
            "parameters": named,
            "get": {"operationId": "read", "summary": "RFC 7592 §2.1.", **own},
            "put": {"operationId": "update", "summary": "RFC 7592 §2.2.", "requestBody": body, **own},
            "delete": {"operationId": "end", "summary": "RFC 7592 §2.3.", **own, "responses": ended},
        },
        "/receipts/{client_id}": {
            "parameters": named,
            "get": {
                "operationId": "receipt",
                "summary": "A signed statement of what is registered.",
                "security": [{"token": []}],
                "responses": {
                    "200": {"description": "A JWT.", "content": {"application/jwt": {"schema": {"type": "string"}}}},
                    **errors,
                },
            },
        },
    }
