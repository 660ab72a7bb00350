"""What decides who may register: policies, rules and classes of the operator's own, and whose statements are believed."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from registrar.config.tables import NAME, built
from registrar.domain.certificate import read_pem
from registrar.domain.jwks import judge as judge_keys
from registrar.domain.settings import StatementIssuer
from registrar.policy import Policy, classes
from registrar.policy.classes import ClientClass
from registrar.policy.document import Document
from registrar.policy.loader import Written, form, load_all, shipped
from registrar.policy.rules import RULE_FUNCTIONS, RuleFunction


def own_policies(tables: Any, document: Document, functions: Mapping[str, RuleFunction]) -> dict[str, Policy]:
    """The policies of the operator's own, which may extend each other and those that ship."""
    if not isinstance(tables, dict):
        raise document.error("policies are tables: [policy.NAME]", "policy")
    for name in tables:
        if name in shipped():
            raise document.error(f"{name} is a profile that ships; give yours another name", "policy", name)
        if not NAME.fullmatch(name):
            raise document.error("a policy's name is 1 to 32 lower-case letters, digits, - and _", "policy", name)
    written = {name: Written(table, document, ("policy", name)) for name, table in tables.items()}
    return load_all(written, shipped(), functions)


def rule_functions(table: Any, document: Document) -> Mapping[str, RuleFunction]:
    """The rules of the user's own, `name = "package.module:function"`, beside those that ship."""
    functions = dict(RULE_FUNCTIONS)
    if not isinstance(table, dict):
        raise document.error("rules is a table of names and functions", "rules")
    for name, where in table.items():
        if name in RULE_FUNCTIONS:
            raise document.error(f"{name} is a rule that ships; give yours another name", "rules", name)
        try:
            function = named_function(where)
        except ValueError as problem:
            raise document.error(f"a rule is {problem}", "rules", name) from None
        if faults := _unfit(function):
            raise document.error(f"{where} {faults}", "rules", name)
        functions[name] = function
    return functions


def named_function(where: Any) -> Callable[..., Any]:
    """What `package.module:function` names.

    Raises:
        ValueError: it cannot be had.
    """
    module, _, attribute = where.partition(":") if isinstance(where, str) else ("", "", "")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as problem:
        raise ValueError(f'"package.module:function"; {where} cannot be had: {problem}') from None
    if not callable(found):
        raise ValueError(f'"package.module:function"; {where} is no function')  # noqa: TRY004 (what the configuration says is no value for it)
    return typing.cast("Callable[..., Any]", found)


def _unfit(function: Callable[..., Any]) -> str:
    """Why a function is no rule; what a policy may set has to have types, because they say what is taken."""
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, ValueError) as problem:
        return f"cannot be read as a rule: {problem}"
    places = [one for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if len(places) != 2 or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):  # noqa: PLR2004
        return "is no rule; a rule is a function of the members and the facts, and its arguments are keywords"
    untyped = [one.name for one in parameters if one not in places and one.name not in hints]
    return f"has no type for {untyped[0]}" if untyped else ""


def client_classes(tables: Any, policies: Mapping[str, Policy], document: Document) -> dict[str, ClientClass]:
    """The classes of clients of the user's own."""
    if not isinstance(tables, dict):
        raise document.error("classes are tables: [class.NAME]", "class")
    for name in tables:
        if name in classes.shipped():
            raise document.error(f"{name} is a class that ships; give yours another name", "class", name)
        if not NAME.fullmatch(name):
            raise document.error("a class's name is 1 to 32 lower-case letters, digits, - and _", "class", name)
    return {name: classes.load(name, table, policies, document) for name, table in tables.items()}


def statement_issuer(name: str, table: Any, document: Document, ours: frozenset[str]) -> StatementIssuer:
    """Whose statements are believed: by their keys, by the address of their keys, or by certificates."""
    at = ("statement_issuer", name)
    if not NAME.fullmatch(name) or not isinstance(table, dict):
        raise document.error("an issuer of statements is a table with a name of 1 to 32 lower-case letters", *at)
    own = dict(table)
    how = form(own.pop("statement"), document, *at, "statement") if isinstance(own.get("statement"), dict) else None
    for key in ("name", "form", "anchor_certificates", "statement"):
        if key in own:
            raise document.error(f"unknown setting {key}", *at, key)
    found: StatementIssuer = built(StatementIssuer, own, document, at, name=name, form=how)
    given = [key for key in ("jwks_uri", "jwks", "anchors") if getattr(found, key)]
    if found.issuer in ours:
        if given:
            raise document.error("is an issuer of this configuration, whose keys are at hand", *at, given[0])
    elif len(given) != 1:
        raise document.error("is known by one of jwks_uri, jwks and anchors", *at)
    if bool(found.issuer) == bool(found.anchors):
        raise document.error("issuer is the iss of its statements; with anchors it is that of each certificate", *at)
    if found.jwks and (faults := judge_keys(found.jwks)):
        raise document.error(f"{faults[0].member} {faults[0].reason}", *at, "jwks")
    if found.anchors:
        try:
            return dataclasses.replace(found, anchor_certificates=read_pem(Path(found.anchors).read_bytes()))
        except (OSError, ValueError) as problem:
            raise document.error(f"{found.anchors} cannot be read: {problem}", *at, "anchors") from None
    return found
