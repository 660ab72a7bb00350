"""Answers of the administration API held against the OpenAPI document, in which nothing is allowed that it does not name."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx2
import jsonschema

DOCUMENT: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "openapi.json").read_text("utf-8")
)
PREFIX: Final = "/admin/api/"


def closed(schema: Any) -> Any:
    """A schema in which an object has no other members than those that are named, unless it says so itself."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(one) for name, one in schema.items()}
    if isinstance(found.get("properties"), dict) and "type" in found:
        found.setdefault("additionalProperties", False)
    return found


SCHEMAS: Final[dict[str, Any]] = closed(copy.deepcopy(DOCUMENT["components"]["schemas"]))


@cache
def _validator(schema: str) -> Any:
    whole = {**json.loads(schema), "components": {"schemas": SCHEMAS}}
    return jsonschema.Draft202012Validator(whole)


def fits(schema: dict[str, Any], value: object) -> None:
    """Hold that a value is as a schema of the document says, and has nothing beside that."""
    _validator(json.dumps(closed(schema))).validate(value)


def operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """What is described at a path: the path with names for what varies, and the operation; None where nothing is."""
    if PREFIX not in path:
        return None
    segments = path.partition(PREFIX)[2].split("/")
    for described, operations in DOCUMENT["paths"].items():
        pattern = described.removeprefix(PREFIX).split("/")
        if not described.startswith(PREFIX) or len(pattern) != len(segments) or method.lower() not in operations:
            continue
        if all(one == other or (one == "{name}" and other) for one, other in zip(pattern, segments, strict=True)):
            return described, operations[method.lower()]
    return None


def members(schema: dict[str, Any], value: Any, name: str = "") -> Iterator[str]:
    """The members that a value has, of the components that describe it: `Component.member`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = SCHEMAS[name]
    if isinstance(value, list):
        for item in value:
            yield from members(schema.get("items", {}), item, name)
    elif isinstance(value, dict):
        others = schema.get("additionalProperties")
        for key, item in value.items():
            if key in schema.get("properties", {}):
                yield f"{name}.{key}"
                yield from members(schema["properties"][key], item)
            elif isinstance(others, dict):
                yield from members(others, item)


def components(schema: Any) -> set[str]:
    """The components that a schema is made of, by name."""
    found, waiting = set[str](), [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(SCHEMAS[name])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def check(answer: httpx2.Response) -> str | None:
    """Hold an answer against what is described, and tell which that is; None where it is of another interface."""
    found = operation(answer.request.method, answer.request.url.raw_path.decode().partition("?")[0])
    if found is None:
        return None
    told = found[1]["responses"]
    what = f"{answer.request.method} {found[0].removeprefix(PREFIX)} {answer.status_code}"
    assert str(answer.status_code) in told, f"{what} is not described"
    response = told[str(answer.status_code)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    for header in response.get("headers", ()):
        assert header in answer.headers, f"{what} lacks {header}"
    if "content" not in response:
        assert not answer.content, f"{what} has a body that is not described"
        return what
    media = answer.headers["content-type"].partition(";")[0]
    schema = response["content"][media]["schema"]
    try:
        fits(schema, answer.json() if media == "application/json" else answer.text)
    except jsonschema.ValidationError as problem:
        msg = f"{what}: {problem.message} at {problem.json_path}"
        raise AssertionError(msg) from None
    return what
