"""The terms by which clients are searched and counted, beside their identifier: one table, which every store keeps.

A term is `name=value`. A client that nobody would look for by anything but its identifier has none, and costs nothing:
an open registration with redirects to loopback, which is what agents send, is such a one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from registrar.domain import redirect_uri, uri
from registrar.domain.client import Client, State

TOMBSTONE: Final = "deleted.state=deleted"
"""The term that every deleted client has, and no other."""
LONGEST: Final = 400
"""Characters of a term at the most; what is longer is cut, and then finds a few clients too many."""
_HOSTS: Final = 20
"""Redirect hosts of one client that are terms."""


def term(name: str, value: str) -> str:
    """A term as stores keep it; no database takes a NUL in every text."""
    return f"{name}={value}".replace("\0", "\ufffd")[:LONGEST]


def of_deleted(one: str) -> str:
    """What a term becomes when its client is deleted: whoever counts the living must not read past the dead."""
    return f"deleted.{one}"[:LONGEST]


def terms(client: Client) -> tuple[str, ...]:
    """The terms of a client, in their order, each once.

    Of an instance of a template, those of what is its own: what it has from the template is found by the template.
    """
    metadata, admission = client.metadata, client.admission
    found = [*of_labels(client.labels)] if client.labels else []
    if client.flags:
        found += [term("flag", one) for one in client.flags]
    if client.state is not State.ACTIVE:
        found.append(term("state", client.state.value))
    if admission.owner:
        found.append(term("owner", admission.owner))
    if admission.token_id:
        found.append(term("token", admission.token_id))
    if admission.client_class:
        found.append(term("class", admission.client_class))
    if admission.statement_issuer:
        found.append(term("statement", admission.statement_issuer))
    if (software := metadata.get("software_id")) and _own(client, "software_id"):
        found.append(term("software", software))
    if (uris := metadata.get("redirect_uris")) and _own(client, "redirect_uris"):
        found += [term("host", host) for host in hosts(uris)[:_HOSTS]]
    if client.state is State.DELETED:
        found = [*map(of_deleted, found)]
    return tuple(sorted(set(found))) if len(found) > 1 else tuple(found)


def of_labels(labels: Mapping[str, str]) -> tuple[str, ...]:
    """What finds the clients that have some labels and no others: how many there are is a term too."""
    if not labels:
        return ()
    return *(term(f"label.{name}", value) for name, value in sorted(labels.items())), labelled(len(labels))


def labelled(number: int) -> str:
    """The term of clients with so many labels."""
    return term("labels", str(number))


def _own(client: Client, member: str) -> bool:
    return not client.template or member in client.own


def hosts(uris: Sequence[str]) -> list[str]:
    """The hosts on the web that judged redirect URIs lead to, each once: none for loopback, which is everybody's."""
    elsewhere = [one for one in uris if not one.startswith(_AGENTS)]
    found = dict.fromkeys(uri.host_of(one) for one in elsewhere if one[:4].lower() == "http")
    return [host for host in found if host and host not in redirect_uri.LOOPBACK_HOSTS]


_AGENTS: Final = ("http://127.0.0.1:", "http://127.0.0.1/", "http://localhost:", "http://localhost/")
"""How nearly all loopback addresses begin. A judged one has no user information, which could make it lead elsewhere."""
