"""Policies from TOML, strictly: what is not understood, contradicts itself or can never be met is refused at load."""

from __future__ import annotations

import enum
import hashlib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

import msgspec

from registrar.domain.expansion import KINDS
from registrar.domain.lifecycle import Lifetime
from registrar.domain.metadata import MEMBERS, Presented, Role, reader
from registrar.domain.server_metadata import EXTRA, OFFERED, Offered, with_features
from registrar.domain.software_statement import Claim, Form, Roles, Use
from registrar.policy.document import Document
from registrar.policy.evidence import Alternatives, ManagementProof, Proof
from registrar.policy.operators import Operators, as_words
from registrar.policy.pattern import compiled
from registrar.policy.policy import (
    NOTHING,
    Changes,
    Contradiction,
    ExpansionVerdict,
    Management,
    Policy,
    Repeat,
    Request,
    Review,
    Rotation,
    all_of,
)
from registrar.policy.rules import RULE_FUNCTIONS, AppliedRule, RuleFunction

_LISTS: Final = ("add", "one_of", "subset_of", "superset_of")
_OPERATORS: Final = ("value", "default", "essential", *_LISTS)
FEATURES: Final = tuple(sorted(EXTRA))
"""What a policy may switch on."""

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A policy as it is written: its table, the document that it stands in, and where."""

    table: Mapping[str, Any]
    document: Document
    path: _Path = ()


@cache
def shipped() -> Mapping[str, Policy]:
    """The profiles that come with the program, and the policies of its classes of clients, by name."""
    folder = resources.files("registrar.policy") / "profiles"
    written: dict[str, Written] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            document = Document(entry.name, entry.read_text("utf-8"))
            written[entry.name.removesuffix(".toml")] = Written(document.data, document)
    classes = Document("classes.toml", resources.files("registrar.policy").joinpath("classes.toml").read_text("utf-8"))
    for name, table in classes.data["policy"].items():
        written[name] = Written(table, classes, ("policy", name))
    return MappingProxyType(load_all(written))


def load_all(
    written: Mapping[str, Written],
    known: Mapping[str, Policy] = MappingProxyType({}),
    functions: Mapping[str, RuleFunction] = RULE_FUNCTIONS,
) -> dict[str, Policy]:
    """Policies that may extend each other and those that are known already.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    loaded: dict[str, Policy] = {}

    def one(name: str, above: _Path) -> Policy:
        if name in known:
            return known[name]
        if name not in loaded:
            loaded[name] = _load(name, written[name], lambda parent: find(parent, name, (*above, name)), functions)
        return loaded[name]

    def find(parent: str, name: str, above: _Path) -> Policy:
        at = written[name]
        if parent in above:
            raise at.document.error(f"{' extends '.join((*above, parent))}: that has no end", *at.path, "extends")
        if parent not in known and parent not in written:
            names = ", ".join(sorted({*known, *written} - {name}))
            raise at.document.error(f"there is no policy {parent} to extend; these are: {names}", *at.path, "extends")
        return one(parent, above)

    for name in written:
        one(name, ())
    return loaded


def load(name: str, table: Mapping[str, Any], document: Document, *path: str) -> Policy:
    """A policy from its table, which may extend those that ship.

    Args:
        name: what it is called by issuers and tokens.
        table: `description`, `extends`, `features`, `metadata`, `rules` and the sections of `policy.Policy`.
        document: where it stands, for the errors.
        path: the keys that lead to the table.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    return load_all({name: Written(table, document, path)}, _known_but(name))[name]


def _known_but(name: str) -> Mapping[str, Policy]:
    return {other: policy for other, policy in shipped().items() if other != name}


_KEYS: Final = {
    "description": (str, "text"),
    "extends": (list, "a list of the names of policies"),
    "features": (list, "a list of features"),
    "metadata": (dict, "a table"),
    "rules": (list, "a list"),
    "registration": (dict, "a table"),
    "statement": (dict, "a table"),
    "request": (dict, "a table"),
    "management": (dict, "a table"),
    "repeat": (str, "text"),
    "lifetime": (dict, "a table"),
    "rotation": (dict, "a table"),
    "changes": (dict, "a table"),
    "review": (dict, "a table"),
}


def _load(name: str, at: Written, parent: Callable[[str], Policy], functions: Mapping[str, RuleFunction]) -> Policy:
    table, document, path = at.table, at.document, at.path
    if not isinstance(table, dict):
        raise document.error(f"policy {name} is a table", *path)
    if unknown := sorted(set(table) - set(_KEYS)):
        raise document.error(
            f"policy {name} has the unknown key {unknown[0]}; known are {', '.join(_KEYS)}", *path, unknown[0]
        )
    for key, (kind, spoken) in _KEYS.items():
        if key in table and not isinstance(table[key], kind):
            raise document.error(f"{key} is {spoken}", *path, key)
    features = frozenset(_words(table, "features", FEATURES, document, path))
    parents = [parent(one) for one in _words(table, "extends", None, document, path)]
    served = features.union(*(one.features for one in parents))
    members = {
        member: _operators(member, operators, served, document, (*path, "metadata", member))
        for member, operators in table.get("metadata", {}).items()
    }
    registration = table.get("registration", {})
    if unknown := sorted(set(registration) - {"authentication"}):
        raise document.error(f"registration has no {unknown[0]}; it takes authentication", *path, "registration")
    proofs = _words(registration, "authentication", None, document, (*path, "registration"))
    if table.get("repeat", "new") not in tuple(Repeat):
        raise document.error(f"repeat is one of {', '.join(Repeat)}", *path, "repeat")
    own = Policy(
        name,
        table.get("description", ""),
        hashlib.sha256(document.text.encode()).hexdigest(),
        MappingProxyType(members),
        tuple(_rule(row, functions, document, (*path, "rules")) for row in table.get("rules", [])),
        features=features,
        proofs=alternatives(proofs, document, *path, "registration", "authentication"),
        statement=form(table["statement"], document, *path, "statement") if "statement" in table else None,
        request=_section(Request, table, "request", document, path),
        management=_management(table.get("management", {}), document, (*path, "management")),
        repeat=Repeat(table.get("repeat", "new")),
        lifetime=_section(Lifetime, table, "lifetime", document, path),
        rotation=_section(Rotation, table, "rotation", document, path),
        changes=_changes(table.get("changes", {}), document, (*path, "changes")),
        review=_section(Review, table, "review", document, path),
    )
    try:
        whole = all_of([*parents, own])
    except Contradiction as problem:
        raise document.error(str(problem), *path, "extends") from None
    whole = _named(whole, name, own.description)
    _check_whole(whole, document, path)
    return whole


def _named(policy: Policy, name: str, description: str) -> Policy:
    """A policy under its own name, whatever it extends."""
    return replace(policy, name=name, description=description or policy.description)


def _words(
    table: Mapping[str, Any], key: str, known: Iterable[str] | None, document: Document, path: _Path
) -> tuple[str, ...]:
    """A list of words, each of them known."""
    if key not in table:
        return ()
    words = table[key]
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise document.error(f"{key} is a non-empty list of strings", *path, key)
    if known is not None and (other := [word for word in words if word not in tuple(known)]):
        raise document.error(f"{key} holds {other[0]}; known are {', '.join(known)}", *path, key)
    return tuple(words)


PROOFS: Final = tuple(proof for proof in Proof if proof is not Proof.PREREGISTERED)
"""What a policy may demand; the others are a class's to demand."""


def alternatives(words: Iterable[str], document: Document, *path: str, known: Sequence[Proof] = PROOFS) -> Alternatives:
    """`["statement+certificate", "initial_access_token"]`: each is enough by itself, and all of it has to be there.

    Raises:
        ConfigurationError: a word is no proof.
    """
    found = []
    for word in words:
        proofs = word.split("+")
        if other := [proof for proof in proofs if proof not in known]:
            raise document.error(
                f"{other[0]} is no proof; these are: {', '.join(known)}, and several joined by + where all are needed",
                *path,
            )
        found.append(frozenset(map(Proof, proofs)))
    return tuple(dict.fromkeys(found))


def _section(kind: type[Any], table: Mapping[str, Any], key: str, document: Document, path: _Path) -> Any:
    """A section of which every key is a field of its type, with the type of that field's default."""
    given = table.get(key, {})
    defaults = _defaults(kind)
    taken: dict[str, Any] = {}
    for name, value in given.items():
        if name not in defaults:
            raise document.error(f"{key} has no {name}; it takes {', '.join(defaults)}", *path, key, name)
        if isinstance(defaults[name], tuple):
            taken[name] = _words(given, name, None, document, (*path, key))
        elif type(value) is not type(defaults[name]):
            raise document.error(f"{name} is {_SPOKEN[type(defaults[name])]}", *path, key, name)
        elif isinstance(value, int) and value < 0:
            raise document.error(f"{name} is in seconds and not negative", *path, key, name)
        else:
            taken[name] = value
    for name in ("jti", "iss"):
        if name in taken:
            _pattern(taken[name], document, *path, key, name)
    for name, choice in (("signed", ("no", "allowed", "required")), ("audience", _AUDIENCES)):
        if name in taken and taken[name] not in choice:
            raise document.error(f"{name} is one of {', '.join(choice)}", *path, key, name)
    return kind(**taken)


def _defaults(kind: type[Any]) -> dict[str, Any]:
    if issubclass(kind, msgspec.Struct):
        return {field.name: field.default for field in msgspec.structs.fields(kind)}
    return {field.name: field.default for field in fields(kind)}


def _changes(table: Mapping[str, Any], document: Document, path: _Path) -> Changes:
    """What kinds of expansion are answered with; `default` is for those that are not named."""
    verdicts: dict[str, ExpansionVerdict] = {}
    for kind, said in table.items():
        if kind != "default" and kind not in KINDS:
            raise document.error(f"{kind} is no expansion; these are: default, {', '.join(KINDS)}", *path, kind)
        if said not in tuple(ExpansionVerdict):
            raise document.error(f"{kind} is one of {', '.join(ExpansionVerdict)}", *path, kind)
        verdicts[kind] = ExpansionVerdict(said)
    default = verdicts.pop("default", ExpansionVerdict.ALLOW)
    return Changes(MappingProxyType(verdicts) if verdicts else NOTHING, default)


_SPOKEN: Final = {str: "a string", int: "a whole number", bool: "true or false"}
_AUDIENCES: Final = ("issuer", "registration_endpoint")


def _pattern(text: str, document: Document, *path: str) -> None:
    try:
        compiled(text)
    except ValueError as problem:
        raise document.error(str(problem), *path) from None


def _management(table: Mapping[str, Any], document: Document, path: _Path) -> Management:
    if unknown := sorted(set(table) - {"authentication", "scope", "operations"}):
        raise document.error(
            f"management has no {unknown[0]}; it takes authentication, scope, operations", *path, unknown[0]
        )
    given: dict[str, Any] = {}
    if proofs := _words(table, "authentication", tuple(ManagementProof), document, path):
        given["proofs"] = tuple(map(ManagementProof, proofs))
    if operations := _words(table, "operations", Management().operations, document, path):
        given["operations"] = operations
    if "scope" in table:
        if not isinstance(table["scope"], str) or not table["scope"]:
            raise document.error("scope is a string", *path, "scope")
        given["scope"] = table["scope"]
    found = Management(**given)
    by_token = ManagementProof.ACCESS_TOKEN in found.proofs
    if by_token != bool(found.scope):
        raise document.error("an access token and its scope go together: nothing else may open a registration", *path)
    if ManagementProof.REGISTRATION_ACCESS_TOKEN not in found.proofs and not by_token:
        raise document.error(
            "a certificate alone does not say which registration it opens; a token has to come too", *path
        )
    return found


def form(table: Mapping[str, Any], document: Document, *path: str) -> Form:
    """How statements are read.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    known = tuple(Form.__struct_fields__)
    if unknown := sorted(set(table) - set(known)):
        raise document.error(f"statement has no {unknown[0]}; it takes {', '.join(known)}", *path, unknown[0])
    given: dict[str, Any] = {
        key: _words(table, key, None, document, path) for key in ("required_claims", "attests", "shown") if key in table
    }
    if "algorithms" in table:
        given["algorithms"] = _words(table, "algorithms", _ALGORITHMS, document, path)
    for key in ("maximum_age", "maximum_lifetime", "replay_window"):
        if key in table:
            if type(table[key]) is not int or table[key] < 0:
                raise document.error(f"{key} is a whole number of seconds", *path, key)
            given[key] = table[key]
    for key, choice in (("audience", _AUDIENCES), ("software", None)):
        if key in table:
            if not isinstance(table[key], str) or not table[key] or (choice and table[key] not in choice):
                raise document.error(f"{key} is {' or '.join(choice) if choice else 'the name of a claim'}", *path, key)
            given[key] = table[key]
    if "fresh" in table:
        if not isinstance(table["fresh"], bool):
            raise document.error("fresh is true or false", *path, "fresh")
        given["fresh"] = table["fresh"]
    if known_members := [claim for claim in given.get("shown", ()) if claim in MEMBERS]:
        raise document.error(f"shown holds {known_members[0]}, which is a member; use attests", *path, "shown")
    if "members" in table:
        given["members"] = {
            member: _claim(member, claim, document, (*path, "members"))
            for member, claim in _table(table, "members", document, path).items()
        }
    if "status" in table:
        rows = _table(table, "status", document, path)
        given["status"] = {claim: _words(rows, claim, None, document, (*path, "status")) for claim in rows}
    if "roles" in table:
        rows = dict(_table(table, "roles", document, path))
        claim, use = rows.pop("claim", None), rows.pop("use", Use.LIMIT)
        if use not in (Use.LIMIT, Use.WITHIN):
            raise document.error(f"use is {Use.LIMIT} or {Use.WITHIN}", *path, "roles", "use")
        if not isinstance(claim, str) or not rows:
            raise document.error(
                'roles needs the claim that holds them, and rows such as AISP = ["accounts"]', *path, "roles"
            )
        scopes = {role: _words(rows, role, None, document, (*path, "roles")) for role in rows}
        given["roles"] = Roles(claim, scopes, Use(use))
    for member in given.get("attests", ()):
        if member not in MEMBERS or MEMBERS[member].role is not Role.CLIENT:
            raise document.error(
                f"attests holds {member}, which is not a member that a client registers", *path, "attests"
            )
    return Form(**given)


_ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
)  # fmt: skip


def _table(table: Mapping[str, Any], key: str, document: Document, path: _Path) -> Mapping[str, Any]:
    rows = table[key]
    if not isinstance(rows, dict) or not rows:
        raise document.error(f"{key} is a table with at least one row", *path, key)
    return rows


def _claim(member: str, value: Any, document: Document, path: _Path) -> Claim:
    if member not in MEMBERS or MEMBERS[member].role is not Role.CLIENT:
        raise document.error(f"{member} is not a member that a client registers", *path, member)
    if isinstance(value, str) and value:
        return Claim(value)
    if isinstance(value, dict) and isinstance(value.get("claim"), str) and set(value) <= {"claim", "use"}:
        use = value.get("use", Use.OVERRIDE)
        if use in tuple(Use):
            return Claim(value["claim"], Use(use))
    raise document.error(
        f'a claim is "name", or {{ claim = "name", use = "..." }} with one of {", ".join(Use)}', *path, member
    )


def _check_whole(policy: Policy, document: Document, path: _Path) -> None:
    """Combinations that would be unsafe, or could never be met."""
    if policy.request.signed != "no" and not any(Proof.STATEMENT in one for one in policy.proofs):
        raise document.error(
            "signed requests are verified with the keys that the statement names, so a statement has to be demanded: "
            'registration.authentication = ["statement"]',
            *path,
            "request",
        )
    if any(Proof.SIGNED_REQUEST in one for one in policy.proofs) and policy.request.signed == "no":
        raise document.error("a signed request is demanded and not taken; set request.signed", *path, "registration")
    if policy.repeat in (Repeat.REFUSE, Repeat.REPLACE) and not any(Proof.STATEMENT in one for one in policy.proofs):
        raise document.error(
            f"repeat = {policy.repeat} goes by the software that a statement attests, so a statement has to be demanded; "
            "a software_id that anybody can claim would let them take another's registration",
            *path,
            "repeat",
        )
    method = policy.members.get("token_endpoint_auth_method")
    grants = policy.members.get("grant_types")
    if (
        method is not None
        and grants is not None
        and method.value == "none"
        and not grants.permits("authorization_code")
    ):
        at = (*path, "metadata", "token_endpoint_auth_method")
        raise document.error("clients without authentication are demanded, and no grant that they could use", *at)


def _operators(member: str, table: Any, features: frozenset[str], document: Document, path: _Path) -> Operators:
    row = MEMBERS.get(member)
    if row is None or row.role is not Role.CLIENT:
        raise document.error(f"{member} is not a member that a policy can decide about", *path)
    if row.feature and row.feature not in features:
        served = f'; features = ["{row.feature}"] switches it on' if row.feature in FEATURES else ""
        raise document.error(f"{member} belongs to {row.feature}, which is not served{served}", *path)
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
    _values(member, table, features, document, path)
    if "value" in table and {"add", "default"} & set(table):
        raise document.error(
            "value sets the member whatever was sent, so add and default have no effect beside it", *path
        )
    lists = {name: tuple(table[name]) for name in _LISTS if name in table}
    operators = Operators(
        value=table.get("value"), default=table.get("default"), essential=table.get("essential", False), **lists
    )
    if problem := operators.contradiction(member):
        raise document.error(problem, *path, *(name for name in _OPERATORS if problem.startswith(f"{name} ")))
    _offered(member, table, features, document, path)
    return operators


def _values(member: str, table: Mapping[str, Any], features: frozenset[str], document: Document, path: _Path) -> None:
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
        if faults := reader(features)(Presented({member: value}))[1]:
            raise document.error(f"{name}: {faults[0].reason}", *path, name)


def _offered(member: str, table: Mapping[str, Any], features: frozenset[str], document: Document, path: _Path) -> None:
    """What an operator holds is what this server can serve."""
    row = MEMBERS[member]
    offered = with_features(Offered(OFFERED), features).get(row.offered, ())
    for name in ("value", "default", *_LISTS) if offered else ():
        if name in table and (foreign := set(as_words(member, table[name])) - set(offered)):
            raise document.error(
                f"{name} holds {min(foreign)}, which this server does not offer ({', '.join(offered)})", *path, name
            )


def _rule(row: Any, functions: Mapping[str, RuleFunction], document: Document, path: _Path) -> AppliedRule:
    if not isinstance(row, dict) or not isinstance(row.get("rule"), str):
        raise document.error('a rule is a table such as { rule = "same_host", members = ["logo_uri"] }', *path)
    name = row["rule"]
    function = functions.get(name)
    if function is None:
        raise document.error(f"there is no rule {name}; these are: {', '.join(sorted(functions))}", *path)
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


def _argument(name: str, key: str, value: Any, hint: Any, document: Document, path: _Path) -> Any:
    """An argument of a rule, by the type that the rule declares for it."""
    said = f"rule {name}: {key}"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in arguments:
            raise document.error(f"{said} is one of {', '.join(arguments)}", *path)
        return value
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        if value not in tuple(hint):
            raise document.error(f"{said} is one of {', '.join(hint)}", *path)
        return hint(value)
    if hint is re.Pattern or origin is re.Pattern:
        if not isinstance(value, str):
            raise document.error(f"{said} is a pattern", *path)
        try:
            return compiled(value)
        except ValueError as problem:
            raise document.error(f"{said}: {problem}", *path) from None
    if hint in (bool, int, str):
        if type(value) is not hint or (hint is str and not value) or (hint is int and value < 0):
            raise document.error(f"{said} is {_SPOKEN[hint]}", *path)
        return value
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise document.error(f"{said} is a non-empty list of strings", *path)
    if key in ("members", "required") and (other := [item for item in value if item not in MEMBERS]):
        raise document.error(f"{said} holds {other[0]}, which is not a member of client metadata", *path)
    if key == "members" and name == "matches" and (other := [item for item in value if MEMBERS[item].type == "object"]):
        raise document.error(f"rule {name}: {other[0]} is an object, which has no text to be matched", *path)
    if key == "members" and name == "same_host" and (other := [item for item in value if MEMBERS[item].type != "URL"]):
        raise document.error(f"rule {name}: {other[0]} is not a member of client metadata that is a URL", *path)
    if hasattr(hint, "from_words"):  # a set that is more than its words: Hosts, Networks
        try:
            return hint.from_words(value)
        except ValueError as problem:
            raise document.error(f"{said}: {problem}", *path) from None
    return tuple(_argument(name, key, item, arguments[0], document, path) for item in value)
