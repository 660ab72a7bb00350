"""The OpenAPI document (3.1), made from what the program itself reads: routes, bodies, the types of answers, errors, members.

What an act answers with is what its annotation says. Under each member stands what stands under it in the class.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from itertools import takewhile
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Protocol, Union, get_args, get_origin, get_type_hints

import msgspec

from registrar.domain.access_token import ADMINISTRATION
from registrar.domain.client import ClientInformation
from registrar.domain.errors import ERRORS
from registrar.domain.findings import Fault
from registrar.domain.metadata import MEMBERS, Presented, Registered, Role
from registrar.http import docstrings
from registrar.http.answers import MOST, PAGE, STATUSES, Jwt, Tagged
from registrar.service.inventory import Filters

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
    bodies = [row.takes for row in listed if row.takes is not None]
    given = [answer.body for row in listed for answer in _answers(row)]
    schemas = _components(dict.fromkeys((*bodies, *(one for one in given if _has_members(one)), Fault, Filters)))
    filters = schemas.pop(Filters.__name__)["properties"]
    made = {Presented: _metadata(), Registered: _registered(), ClientInformation: _information()}
    schemas |= {_MADE[kind]: schema for kind, schema in made.items()} | {"Error": _error()}
    paths: dict[str, Any] = {}
    for row in listed:
        at = f"{prefix}{row.path.replace('{}', '{name}')}"
        paths.setdefault(at, {})[row.method.lower()] = _operation(row, filters)
    paths |= _protocol(registration)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Registrar", "version": VERSION},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {f"Error{status}": _refusal(status) for status in _REFUSALS},
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


# --- operations -------------------------------------------------------------------------------------------------------


class _Answer(NamedTuple):
    """A way in which an act answers, as its annotation says."""

    status: int
    body: Any
    """A struct, or one of the types that no class describes; `NoneType` where there is none."""
    tagged: bool


def _answers(row: Row) -> Iterator[_Answer]:
    given = get_type_hints(row.act)["return"]
    for one in get_args(given) if get_origin(given) in (Union, UnionType) else (given,):
        form = get_origin(one) or one
        body = get_args(one)[0] if get_args(one) else one
        yield _Answer(STATUSES.get(form, 200), body, form is Tagged)


def _operation(row: Row, filters: Mapping[str, Any]) -> dict[str, Any]:
    name = row.act.__name__.strip("_")
    refused = [one for one in _REFUSALS if one != _UNMET or row.conditional]
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [row.path.partition("/")[0]],
        "summary": name.replace("_", " ").capitalize() + ".",
        "description": f"Needs the scope `{row.scope}`.",
        "security": [{"operator": []}],
        "responses": {**{str(one.status): _success(one) for one in _answers(row)}, **_refusals(refused)},
    }
    parameters: list[dict[str, Any]] = [
        {"name": one, "in": "query", **_of_query(filters.get(one, {}), one)} for one in row.asks
    ]
    if "{}" in row.path:
        parameters.append(
            {
                "name": "name",
                "in": "path",
                "required": True,
                "description": "What it is called: its name or its identifier.",
                "schema": {"type": "string", "minLength": 1},
            }
        )
    if row.conditional:
        parameters.append(
            {
                "name": "If-Match",
                "in": "header",
                "description": "The entity tag of what was seen: what is something else by now is not replaced.",
                "schema": {"type": "string"},
            }
        )
    if parameters:
        operation["parameters"] = parameters
    if row.takes is not None:
        operation["requestBody"] = {
            "required": any(one.required for one in msgspec.structs.fields(row.takes)),
            "content": {"application/json": {"schema": _schema_of(row.takes)}},
        }
    return operation


def _success(one: _Answer) -> dict[str, Any]:
    if one.body is NoneType:
        return {"description": "It is done, and there is nothing to say."}
    if one.body is Jwt:
        return {"description": "A JWT.", "content": {"application/jwt": {"schema": {"type": "string"}}}}
    meaning = "What is registered." if one.body is ClientInformation else str(one.body.__doc__)
    answered: dict[str, Any] = {
        "description": meaning,
        "content": {"application/json": {"schema": _schema_of(one.body)}},
    }
    if one.tagged:
        tag = {"description": "What stands for it in `If-Match`.", "schema": {"type": "string"}}
        return {**answered, "headers": {"ETag": tag}}
    return answered


def _schema_of(body: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{_MADE.get(body, body.__name__)}"}


_ASKED: Final[Mapping[str, Mapping[str, Any]]] = {
    "limit": {
        "description": "So many at the most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": PAGE},
    },
    "after": {"description": "`after` of the page before; absent for the first.", "schema": {"type": "string"}},
    "order": {
        "description": "Which come first.",
        "schema": {"type": "string", "enum": ["oldest", "newest"], "default": "oldest"},
    },
    "label": {"description": "Labels, with spaces between: `tenant=acme team=web`.", "schema": {"type": "string"}},
}
"""The parameters that are no filters as `Filters` has them."""


def _of_query(member: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A parameter; of a filter, what the schema of its member says."""
    if name in _ASKED:
        return _ASKED[name]
    kinds = [one for one in member.get("anyOf", [member]) if one.get("type") != "null"]
    schema = {key: value for key, value in kinds[0].items() if key in ("type", "$ref")}
    least = {"minimum": 0} if schema.get("type") == "integer" else {}
    return {"description": member.get("description", ""), "schema": {**schema, **least}}


# --- refusals ---------------------------------------------------------------------------------------------------------

_UNMET: Final = 412
_OF_REGISTRATION: Final = [*takewhile(lambda row: row.name != "invalid_client", ERRORS.values())]
"""The rows of the table before those of the authorization server."""
_REFUSALS: Final = sorted({row.status for row in _OF_REGISTRATION} - {405})
"""The statuses of refusals; 405 has no operation."""
_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "The challenge (RFC 6750 §3).", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "In how many seconds to come again.", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "In how many seconds to come again.", "schema": {"type": "integer"}}},
}


def _refusals(statuses: Iterable[int]) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def _refusal(status: int) -> dict[str, Any]:
    said = [f"`{row.code}`: {row.meaning}" for row in _OF_REGISTRATION if row.status == status]
    return {
        "description": " ".join(said),
        **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "A refusal (RFC 6749 §5.2, RFC 7591 §3.2.2); nothing was changed.",
        "required": ["error", "error_description"],
        "properties": {
            "error": {
                **text,
                "enum": sorted({row.code for row in ERRORS.values()}),
                "description": "The code, for programs.",
            },
            "error_description": {**text, "description": "A sentence for the developer of the client."},
            "faults": {
                "type": "array",
                "items": _schema_of(Fault),
                "description": "Everything that is wrong with the metadata, where that is refused.",
            },
        },
    }


# --- schemas ----------------------------------------------------------------------------------------------------------

_MADE: Final[Mapping[Any, str]] = {
    Presented: "Metadata",
    Registered: "RegisteredMetadata",
    ClientInformation: "ClientInformation",
}
"""The types whose schemas are made of the table of members."""


def _has_members(body: Any) -> bool:
    return isinstance(body, type) and issubclass(body, msgspec.Struct)


def _components(kinds: Iterable[type]) -> dict[str, Any]:
    """The schemas of types and of all that they are made of, by name, with what is written under each member."""
    listed = list(kinds)
    _, schemas = msgspec.json.schema_components(listed, ref_template="#/components/schemas/{name}")
    for kind in _reached(listed):
        schema, said = schemas[kind.__name__], docstrings.of_members(kind)
        if issubclass(kind, enum.Enum):
            meanings = [f"`{one.value}`: {said[one.name]}" for one in kind if one.name in said]
            schema |= {"type": "string", "description": " ".join([schema.get("description", ""), *meanings])}
            continue
        hints, named = get_type_hints(kind), _names(kind)
        for name, member in schema["properties"].items():
            for one in (hints[named[name]], *get_args(hints[named[name]])):
                if one in _MADE:
                    member.clear()
                    member.update(_schema_of(one))
            if named[name] in said:
                member["description"] = said[named[name]]
    return {name: _with_items(schema) for name, schema in schemas.items()}


def _with_items(schema: Any) -> Any:
    """A schema in which every array says what its items are, as those who generate clients of it ask for."""
    if isinstance(schema, list):
        return [_with_items(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _with_items(one) for name, one in schema.items()}
    return {**found, "items": found.get("items", {})} if found.get("type") == "array" else found


def _names(kind: type) -> Mapping[str, str]:
    """What a member is called in JSON -> and in the program."""
    if issubclass(kind, msgspec.Struct):
        return {one.encode_name: one.name for one in msgspec.structs.fields(kind)}
    return {name: name for name in get_type_hints(kind)}


def _reached(kinds: Iterable[Any]) -> Iterator[type]:
    """The classes that have a schema of their own, each once."""
    waiting, found = [*kinds], set[Any]()
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        waiting += get_args(one)
        if not isinstance(one, type) or get_origin(one) is not None:
            continue
        if issubclass(one, msgspec.Struct) or is_dataclass(one):
            waiting += get_type_hints(one).values()
            yield one
        elif issubclass(one, enum.Enum):
            yield one


def _metadata() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Client metadata, as a registration has them; other members are ignored (RFC 7591 §2).",
        **_members(Role.CLIENT),
    }


def _registered() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Client metadata as they are registered: complete with defaults, and judged. "
        "Under some policies claims of the software statement stand beside them.",
        **_members(Role.CLIENT, Role.DERIVED),
    }


def _information() -> dict[str, Any]:
    """The client information response (RFC 7591 §3.2.1), and what this server adds to it."""
    held = {
        "since": {"type": "integer", "description": "When it came, in seconds since 1970."},
        "reason": {"type": "string", "description": "Why it is held."},
    }
    own = {
        "registration_state": {"type": "string", "enum": ["pending"], "description": "It waits for a review."},
        "pending_update": {
            "type": "object",
            "description": "An update that waits for a review, and why.",
            "required": [*held],
            "properties": held,
        },
    }
    members = _members(Role.SERVER, Role.CLIENT, Role.DERIVED)
    return {
        "type": "object",
        "description": "The client information response (RFC 7591 §3.2.1).",
        "required": ["client_id", "client_id_issued_at"],
        **members,
        "properties": {**members["properties"], **own},
    }


def _members(*roles: Role) -> dict[str, Any]:
    """The members of some roles, and their translations (RFC 7591 §2.2)."""
    rows = {name: row for role in roles for name, row in MEMBERS.items() if row.role is role}
    localised = "|".join(name for name, row in rows.items() if row.localised)
    return {
        "properties": {
            name: {**_JSON_TYPES[row.type], "description": f"{row.meaning} ({row.source})"}
            for name, row in rows.items()
        },
        "patternProperties": {f"^({localised})#": {"type": "string", "description": "In another language."}},
    }


def _protocol(registration: str) -> dict[str, Any]:
    """The endpoints of RFC 7591 and RFC 7592, and the receipt."""
    errors = _refusals(one for one in _REFUSALS if one not in (_UNMET, 409))
    shown = {"schema": {"$ref": "#/components/schemas/ClientInformation"}}
    client = {"description": "What is registered.", "content": {"application/json": shown}}
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Metadata"}}}}
    named = [
        {
            "name": "client_id",
            "in": "path",
            "required": True,
            "description": "The client's identifier.",
            "schema": {"type": "string", "minLength": 1},
        }
    ]
    own = {"security": [{"token": []}], "responses": {"200": client, **errors}}
    made = {"201": client, "200": {**client, "description": "It was registered already, and is this."}, **errors}
    ended = {"204": {"description": "It is deleted."}, **errors}
    return {
        registration: {
            "post": {
                "operationId": "register",
                "tags": ["registration"],
                "summary": "RFC 7591 §3.",
                "requestBody": body,
                "security": [{}, {"token": []}],
                "responses": made,
            },
        },
        f"{registration}/{{client_id}}": {
            "parameters": named,
            "get": {"operationId": "read", "tags": ["registration"], "summary": "RFC 7592 §2.1.", **own},
            "put": {
                "operationId": "update",
                "tags": ["registration"],
                "summary": "RFC 7592 §2.2.",
                "requestBody": body,
                **own,
            },
            "delete": {
                "operationId": "end",
                "tags": ["registration"],
                "summary": "RFC 7592 §2.3.",
                **own,
                "responses": ended,
            },
        },
        "/receipts/{client_id}": {
            "parameters": named,
            "get": {
                "operationId": "receipt",
                "tags": ["registration"],
                "summary": "A signed statement of what is registered.",
                "security": [{"token": []}],
                "responses": {
                    "200": {"description": "A JWT.", "content": {"application/jwt": {"schema": {"type": "string"}}}},
                    **errors,
                },
            },
        },
    }
