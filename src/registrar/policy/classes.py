"""Classes of clients: assigned by facts, never by a client's own claim, and admitted each in its own way.

A class says which facts make a client one of it, with what it is admitted (openly, with a token, a statement, a
certificate, or only when it was announced before), and by which further policies it is judged, on registration and on
every update.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from registrar.domain.client import Assurance
from registrar.domain.findings import rule
from registrar.policy.document import Document
from registrar.policy.evidence import Alternatives, Facts, Proof
from registrar.policy.loader import alternatives
from registrar.policy.loader import shipped as policies
from registrar.policy.policy import Policy, Request

NO_CLASS: Final = rule(
    "class.none",
    "RFC 7591 §5",
    "cannot be told: nothing that came with the request makes this a client of a class that is registered here",
    "the evidence of one of: {accepted}",
    error="invalid_request",
)
OPEN: Final = "open"


@dataclass(frozen=True, slots=True)
class When:
    """`when`: the facts that make a client one of a class; all that are listed must hold, and none is everybody."""

    assurance: tuple[Assurance, ...] = ()
    """What was verified, one of these."""
    token_label: tuple[str, ...] = ()
    """What the initial access token was issued for, one of these."""
    token_scope: tuple[str, ...] = ()
    """Scopes that the initial access token has, all of these; `dcr:NAME` is good for nothing else."""
    owner: tuple[str, ...] = ()
    """The person whom the initial access token names, one of these."""
    statement_issuer: tuple[str, ...] = ()
    """The configured name of the statement's issuer, one of these."""
    statement: bool | None = None
    """Whether a statement came with the request."""
    certificate: bool | None = None
    """Whether a trusted certificate did."""

    def holds(self, facts: Facts) -> bool:
        """Whether these are the facts."""
        statement = facts.statement.name if facts.statement else ""
        return (
            (not self.assurance or facts.assurance in self.assurance)
            and (not self.token_label or facts.token_label in self.token_label)
            and set(self.token_scope) <= set(facts.token_scope)
            and (not self.owner or facts.owner in self.owner)
            and (not self.statement_issuer or statement in self.statement_issuer)
            and self.statement in (None, facts.statement is not None)
            and self.certificate in (None, facts.certificate is not None)
        )


@dataclass(frozen=True, slots=True)
class ClientClass:
    """`[class.NAME]`."""

    name: str
    description: str
    when: When
    admission: Alternatives
    """Each is enough by itself; an empty one is the open door."""
    policies: tuple[str, ...] = ()
    software: frozenset[str] = frozenset()
    """The allow-list of `software_id`s, for `preregistered`."""
    owners: frozenset[str] = frozenset()
    """The allow-list of owners; where both lists are given, both have to hold."""

    def knows(self, software_id: Any, facts: Facts) -> bool:
        """Whether a client was announced before.

        Anybody can claim a `software_id`, so it counts where a statement attests it or a token stands behind it.
        """
        if not self.software and not self.owners:
            return False
        attested = facts.statement.software if facts.statement else software_id if facts.token_id else ""
        return (not self.software or attested in self.software) and (not self.owners or facts.owner in self.owners)


def assigned(classes: Iterable[ClientClass], facts: Facts) -> ClientClass | None:
    """The first class whose facts hold."""
    return next((one for one in classes if one.when.holds(facts)), None)


@cache
def shipped() -> Mapping[str, ClientClass]:
    """The classes that come with the program, by name."""
    text = resources.files("registrar.policy").joinpath("classes.toml").read_text("utf-8")
    document = Document("classes.toml", text)
    known = policies()
    return MappingProxyType({name: load(name, row, known, document) for name, row in document.data["class"].items()})


_KEYS: Final = ("description", "when", "admission", "policy", "software", "owners")


def load(name: str, table: Any, known: Mapping[str, Policy], document: Document) -> ClientClass:
    """A class from its table.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    at = ("class", name)
    if not isinstance(table, dict):
        raise document.error("a class is a table: [class.NAME]", *at)
    if unknown := sorted(set(table) - set(_KEYS)):
        raise document.error(f"a class has no {unknown[0]}; it takes {', '.join(_KEYS)}", *at, unknown[0])
    for key in ("admission", "policy", "software", "owners"):
        _words(table.get(key, []), key, document, *at, key)
    if not isinstance(table.get("description", ""), str):
        raise document.error("description is text", *at, "description")
    if not table.get("admission"):
        raise document.error(
            'a class needs its admission, such as ["initial_access_token", "statement+certificate"]', *at, "admission"
        )
    for policy in table.get("policy", []):
        if policy not in known:
            raise document.error(f"there is no policy {policy}; these are: {', '.join(sorted(known))}", *at, "policy")
        if known[policy].request != Request() or known[policy].statement is not None:
            raise document.error(
                f"{policy} says how requests or statements are read, which happens before a class is known; "
                "that belongs to the policy of the issuer or of the token",
                *at,
                "policy",
            )
    ways = [word for word in table["admission"] if word != OPEN]
    admission = alternatives(ways, document, *at, "admission", known=tuple(Proof))
    lists = bool(table.get("software") or table.get("owners"))
    if lists != any(Proof.PREREGISTERED in one for one in admission):
        raise document.error("preregistered and the lists software and owners go together", *at, "admission")
    return ClientClass(
        name,
        table.get("description", ""),
        _when(table.get("when", {}), document, *at, "when"),
        (*admission, *([frozenset[Proof]()] if OPEN in table["admission"] else [])),
        tuple(table.get("policy", [])),
        frozenset(table.get("software", [])),
        frozenset(table.get("owners", [])),
    )


def _words(value: Any, key: str, document: Document, *path: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise document.error(f"{key} is a list of strings", *path)
    return tuple(value)


def _when(table: Any, document: Document, *path: str) -> When:
    if not isinstance(table, dict):
        raise document.error('when is a table such as { assurance = ["user"] }', *path)
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in When.__dataclass_fields__:
            raise document.error(f"when has no {key}; it takes {', '.join(When.__dataclass_fields__)}", *path, key)
        if key in ("statement", "certificate"):
            if not isinstance(value, bool):
                raise document.error(f"{key} is true or false", *path, key)
            found[key] = value
            continue
        found[key] = _words(value, key, document, *path, key)
        if not found[key]:
            raise document.error(f"{key} is a non-empty list of strings", *path, key)
    if other := [word for word in found.get("assurance", ()) if word not in tuple(Assurance)]:
        raise document.error(f"{other[0]} is no assurance; these are: {', '.join(Assurance)}", *path, "assurance")
    if "assurance" in found:
        found["assurance"] = tuple(map(Assurance, found["assurance"]))
    return When(**found)
