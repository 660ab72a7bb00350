"""A policy as plain data, to be read by people, and how two policies differ."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from registrar.domain.lifecycle import Lifetime
from registrar.domain.software_statement import Form
from registrar.policy.operators import Operators
from registrar.policy.policy import Changes, Management, Policy, Repeat, Request, Review, Rotation

_RULE: Final = msgspec.Meta(
    description="A rule, and beside its name its arguments, which are those of the rule.",
    extra_json_schema={
        "properties": {"rule": {"type": "string", "description": "The name of the rule."}},
        "required": ["rule"],
        "additionalProperties": True,
    },
)
_SECTIONS: Final = ("request", "management", "repeat", "lifetime", "rotation", "changes", "review", "statement")


class ShownPolicy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A policy as plain data, without what it leaves at its default; sections are as a policy file has them."""

    name: str
    """Its name."""
    description: str = ""
    """What it is for, for people."""
    digest: str = ""
    """The SHA-256 of the text that it was loaded from."""
    features: tuple[str, ...] = ()
    """Groups of members and values that are served under it and not under others."""
    registration: ShownProofs | msgspec.UnsetType = msgspec.UNSET
    """What a registration has to come with."""
    request: Request | msgspec.UnsetType = msgspec.UNSET
    """How a request is written."""
    management: Management | msgspec.UnsetType = msgspec.UNSET
    """How whoever manages a registration is known."""
    repeat: Repeat | msgspec.UnsetType = msgspec.UNSET
    """What a registration does of software that is registered already."""
    lifetime: Lifetime | msgspec.UnsetType = msgspec.UNSET
    """How long what is registered lasts."""
    rotation: Rotation | msgspec.UnsetType = msgspec.UNSET
    """When secrets are replaced."""
    changes: Changes | msgspec.UnsetType = msgspec.UNSET
    """What expansions are answered with."""
    review: Review | msgspec.UnsetType = msgspec.UNSET
    """What is held until somebody has looked at it."""
    statement: Form | msgspec.UnsetType = msgspec.UNSET
    """How software statements are read."""
    metadata: dict[str, Operators] = {}
    """Member -> what is demanded of it; operators that are not used are absent."""
    rules: list[Annotated[dict[str, Any], _RULE]] = []
    """Its rules, in their order."""


class ShownProofs(msgspec.Struct, frozen=True):
    """What a registration has to come with."""

    authentication: tuple[str, ...]
    """Alternatives; what has to come together has a plus between."""


class Difference(NamedTuple):
    """One thing that two policies say differently; None is where one says nothing."""

    where: str
    one: Any
    other: Any


def told(policy: Policy) -> dict[str, Any]:
    """A policy as plain data, without what it leaves at its default."""
    untold = Policy("")
    shown: dict[str, Any] = {"name": policy.name, "description": policy.description, "digest": policy.digest}
    if policy.features:
        shown["features"] = sorted(policy.features)
    if policy.proofs:
        shown["registration"] = {"authentication": ["+".join(sorted(one)) for one in policy.proofs]}
    for section in _SECTIONS:
        if (said := getattr(policy, section)) != getattr(untold, section):
            shown[section] = _plain(said)
    shown["metadata"] = {name: _given(_plain(held)) for name, held in sorted(policy.members.items())}
    shown["rules"] = [{"rule": one.name, **{k: _plain(v) for k, v in one.arguments.items()}} for one in policy.rules]
    return {name: value for name, value in shown.items() if value not in ("", {}, [])}


def public(policy: Policy) -> ShownPolicy:
    """`told`, of the type that it has; what stands in its sections is plain already."""
    return ShownPolicy(**told(policy))


def terms(policy: Policy) -> str:
    """What a policy says, in one hash, whatever it is called and wherever it is written.

    Its `digest` is of the file, and another one when anything else in that file is; this tells whether what it decides by
    has changed. The code of a rule of the operator's own is no part of it.
    """
    sections = {name: _plain(getattr(policy, name)) for name in (*_SECTIONS, "features", "proofs", "members")}
    rules = [(one.name, _plain(one.arguments)) for one in policy.rules]
    return hashlib.sha256(_encode((sections, rules))).hexdigest()


_encode: Final = msgspec.json.Encoder(order="sorted").encode


def differences(one: Policy, other: Policy) -> list[Difference]:
    """What two policies say differently, member by member and section by section; names and digests aside."""
    first, second = told(one), told(other)
    found: list[Difference] = []
    for name in dict.fromkeys((*first, *second)):
        if name in ("name", "description", "digest"):
            continue
        if name == "rules":
            found.extend(_of_lists(name, first.get(name, []), second.get(name, [])))
        else:
            found.extend(_between(name, first.get(name), second.get(name)))
    return found


def _between(where: str, one: Any, other: Any) -> Iterator[Difference]:
    if isinstance(one, dict) or isinstance(other, dict):
        for name in dict.fromkeys((*(one or {}), *(other or {}))):
            yield from _between(f"{where}.{name}", (one or {}).get(name), (other or {}).get(name))
    elif one != other:
        yield Difference(where, one, other)


def _of_lists(where: str, one: list[Any], other: list[Any]) -> Iterator[Difference]:
    for item in one:
        if item not in other:
            yield Difference(where, item, None)
    for item in other:
        if item not in one:
            yield Difference(where, None, item)


def _given(operators: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in operators.items() if value not in (None, False)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if hasattr(value, "pattern"):  # of a compiled one, the text
        return value.pattern
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
