"""Policies from TOML, strictly: what is not understood, contradicts itself or can never be met is refused at load."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from registrar.domain.metadata import MEMBERS, Presented, Role, parse
from registrar.domain.server_metadata import OFFERED
from registrar.policy import Policy
from registrar.policy.document import Document
from registrar.policy.operators import Operators, as_words
from registrar.policy.rules import RULE_FUNCTIONS, AppliedRule

_LISTS: Final = ("add", "one_of", "subset_of", "superset_of")
_OPERATORS: Final = ("value", "default", "essential", *_LISTS)


def shipped() -> dict[str, Policy]:
    """The profiles that come with the program, by name."""
    folder = resources.files("registrar.policy") / "profiles"
    found: dict[str, Policy] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            name, text = entry.name.removesuffix(".toml"), entry.read_text("utf-8")
            document = Document(entry.name, text)
            found[name] = load(name, document.data, document)
    return found


def load(name: str, table: Mapping[str, Any], document: Document, *path: str) -> Policy:
    """A policy from its table.

    Args:
        name: what it is called by issuers and tokens.
        table: `description`, `metadata`, `rules`.
        document: where it stands, for the errors.
        path: the keys that lead to the table.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    if not isinstance(table, dict):
        raise document.error(f"policy {name} is a table", *path)
    if unknown := sorted(set(table) - {"description", "metadata", "rules"}):
        raise document.error(
            f"policy {name} has the unknown key {unknown[0]}; known are description, metadata, rules", *path, unknown[0]
        )
    for key, kind, spoken in (("description", str, "text"), ("metadata", dict, "a table"), ("rules", list, "a list")):
        if key in table and not isinstance(table[key], kind):
            raise document.error(f"{key} is {spoken}", *path, key)
    members = {
        member: _operators(member, operators, document, (*path, "metadata", member))
        for member, operators in table.get("metadata", {}).items()
    }
    rules = tuple(_rule(row, document, (*path, "rules")) for row in table.get("rules", []))
    digest = hashlib.sha256(document.text.encode()).hexdigest()
    return Policy(name, table.get("description", ""), digest, MappingProxyType(members), rules)


def _operators(member: str, table: Any, document: Document, path: tuple[str, ...]) -> Operators:
    row = MEMBERS.get(member)
    if row is None or row.role is not Role.CLIENT or row.feature:
        raise document.error(f"{member} is not a member that a policy can decide about", *path)
    if not isinstance(table, dict) or not table:
        raise document.error(f"{member} needs a table of operators: {', '.join(_OPERATORS)}", *path)
    if unknown := sorted(set(table) - set(_OPERATORS)):
        raise document.error(f"{unknown[0]} is not an operator; these are: {', '.join(_OPERATORS)}", *path, unknown[0])
    for name in _LISTS:
        if name in table and (not isinstance(table[name], list) or not table[name]):
            raise document.error(f"{name} needs a non-empty list", *path, name)
    if not isinstance(table.get("essential", False), bool):
        raise document.error("essential is true or false", *path, "essential")
    if member == "redirect_uris" and {"value", "add", "default"} & set(table):
        raise document.error("redirect URIs are checked and never changed; use subset_of or a rule", *path)
    _values(member, table, document, path)
    _contradictions(member, table, document, path)
    lists = {name: tuple(table[name]) for name in _LISTS if name in table}
    return Operators(
        value=table.get("value"), default=table.get("default"), essential=table.get("essential", False), **lists
    )


def _values(member: str, table: Mapping[str, Any], document: Document, path: tuple[str, ...]) -> None:
    """Each value that an operator holds is one that the member, or an item of it, could have."""
    array = MEMBERS[member].type.startswith("array")
    scope = member == "scope"  # a list in one string (RFC 6749 §3.3), so every operator has a meaning
    foreign = () if scope else ("one_of",) if array else ("add", "subset_of", "superset_of")
    for name in foreign:
        if name in table:
            instead = "subset_of and superset_of" if array else "one_of"
            raise document.error(
                f"{name} is not for {member}, which is {MEMBERS[member].type}; use {instead}", *path, name
            )
    whole = [(name, table[name]) for name in ("value", "default") if name in table]
    whole += [("one_of", value) for value in table.get("one_of", ())]
    items = [(name, item) for name in ("add", "subset_of", "superset_of") for item in table.get(name, ())]
    if scope and (several := [name for name, item in items if " " in str(item)]):
        raise document.error(f"{several[0]} is a list of single scopes", *path, several[0])
    for name, value in [*whole, *((name, item if scope else [item]) for name, item in items)]:
        if value in ("", [], [""]):
            raise document.error(f"{name} is empty, which means that the member is omitted", *path, name)
        if faults := parse(Presented({member: value}))[1]:
            raise document.error(f"{name}: {faults[0].reason}", *path, name)


def _contradictions(member: str, table: Mapping[str, Any], document: Document, path: tuple[str, ...]) -> None:
    row = MEMBERS[member]
    written = [(name, table[name]) for name in ("value", "default") if name in table]
    if "value" in table and {"add", "default"} & set(table):
        raise document.error(
            "value sets the member whatever was sent, so add and default have no effect beside it", *path
        )
    allowed = set(table.get("subset_of", ())) or None
    for name, value in [*written, *((name, table[name]) for name in ("add", "superset_of") if name in table)]:
        if allowed is not None and (surplus := set(as_words(member, value)) - allowed):
            raise document.error(f"{name} holds {min(surplus)}, which subset_of does not allow", *path, name)
        if "one_of" in table and name in ("value", "default") and value not in table["one_of"]:
            raise document.error(f"{name} is not one of one_of", *path, name)
        if name in ("value", "default") and (
            lacking := set(table.get("superset_of", ())) - {*as_words(member, value), *table.get("add", ())}
        ):
            raise document.error(f"{name} lacks {min(lacking)}, which superset_of demands", *path, name)
    if row.offered and OFFERED[row.offered]:
        for name in ("value", "default", *_LISTS):
            if name in table and (foreign := set(as_words(member, table[name])) - set(OFFERED[row.offered])):
                raise document.error(
                    f"{name} holds {min(foreign)}, which this server does not offer ({', '.join(OFFERED[row.offered])})",
                    *path,
                    name,
                )


def _rule(row: Any, document: Document, path: tuple[str, ...]) -> AppliedRule:
    if not isinstance(row, dict) or not isinstance(row.get("rule"), str):
        raise document.error('a rule is a table such as { rule = "same_host", members = ["logo_uri"] }', *path)
    name = row["rule"]
    function = RULE_FUNCTIONS.get(name)
    if function is None:
        raise document.error(f"there is no rule {name}; these are: {', '.join(sorted(RULE_FUNCTIONS))}", *path)
    hints = typing.get_type_hints(function)
    parameters = {
        key: parameter
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    arguments: dict[str, Any] = {}
    for key, value in row.items():
        if key == "rule":
            continue
        if key not in parameters:
            raise document.error(f"rule {name} has no {key}; it takes {', '.join(parameters) or 'nothing'}", *path)
        arguments[key] = _argument(name, key, value, hints[key], document, path)
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in arguments:
            raise document.error(f"rule {name} needs {key}", *path)
    return AppliedRule(name, function, MappingProxyType(arguments))


def _argument(name: str, key: str, value: Any, hint: Any, document: Document, path: tuple[str, ...]) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise document.error(f"rule {name}: {key} is one of {', '.join(typing.get_args(hint))}", *path)
        return value
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise document.error(f"rule {name}: {key} is a non-empty list of strings", *path)
    if key == "members" and (other := [item for item in value if item not in MEMBERS or MEMBERS[item].type != "URL"]):
        raise document.error(f"rule {name}: {other[0]} is not a member of client metadata that is a URL", *path)
    return tuple(value)
