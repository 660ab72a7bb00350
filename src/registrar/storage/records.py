"""Rows and records: how a client and a token become bytes, the same for every database."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registrar.domain import template
from registrar.domain.access_token import InitialAccessToken
from registrar.domain.client import Client
from registrar.domain.events import Event
from registrar.domain.lifecycle import Life
from registrar.domain.template import Template
from registrar.service.ports import Due, SigningKey, StoredEvent

REGISTERED: Final = "client.registered"
"""The one kind of event that no index finds, because every registration would pay for it: most events are of it anyhow."""
EVENT_OF_KIND: Final = f" AND kind <> '{REGISTERED}'"
"""What a statement has to say so that the index of the others is used."""

encode: Final = msgspec.json.Encoder().encode
"""A record as JSON: readable with the database's own tools when a server is not at hand."""

_decode_client: Final = msgspec.json.Decoder(Client).decode
_decode_life: Final = msgspec.json.Decoder(Life).decode
_decode_template: Final = msgspec.json.Decoder(Template).decode
_decode_token: Final = msgspec.json.Decoder(InitialAccessToken).decode
decode_key: Final = msgspec.json.Decoder(SigningKey).decode


def client_row(client: Client) -> tuple[Any, ...]:
    """Of the table `client`: issuer, client_id, version, state, owner, token_id, template, due_at, record."""
    return (
        client.issuer,
        client.client_id,
        client.version,
        client.state.value,
        client.admission.owner,
        client.admission.token_id,
        client.template,
        client.due_at,
        encode_client(client),
    )


def token_row(token: InitialAccessToken) -> tuple[Any, ...]:
    """Of the table `initial_access_token`, in the order of its columns."""
    return (
        token.issuer,
        token.token_id,
        token.digest,
        token.max_uses,
        token.uses,
        token.expires_at,
        token.revoked_at,
        encode(token),
    )


def key_row(key: SigningKey) -> tuple[Any, ...]:
    """Of the table `signing_key`, in the order of its columns."""
    return key.issuer, key.kid, key.algorithm, key.generation, key.created_at, encode(key)


def encode_client(client: Client) -> bytes:
    """A client; of an instance, what is its own."""
    return encode(template.alone(client) if client.template else client)


def encode_own(client: Client) -> bytes:
    """A client as `decode_own` gave it."""
    return encode(client)


def decode_own(record: bytes) -> Client:
    """A client as it is stored: an instance without what it has from its template."""
    return _decode_client(record)


def decode_client(record: bytes, of_template: bytes | None = None) -> Client:
    """A client; an instance as its template makes it."""
    client = _decode_client(record)
    if not client.template:
        return client
    return template.compose(client, _decode_template(of_template) if of_template else None)


def decode_token(record: bytes, uses: int, revoked_at: int) -> InitialAccessToken:
    """A token; what changes of it stands beside the record."""
    return msgspec.structs.replace(_decode_token(record), uses=uses, revoked_at=revoked_at)


def decode_event(sequence: int, writer: str, batch: int, position: int, *event: Any) -> StoredEvent:
    """An event and where it stands, from the columns in the order of the fields."""
    return StoredEvent(sequence, writer, batch, position, Event(*event))


def decode_due(
    issuer: str,
    client_id: str,
    due_at: int,
    record: bytes,
    of_template: bytes | None,
    used: bytes | None,
    noted: int | None,
) -> Due:
    """A client whose date has come. The date stands beside the record: moving it must not rewrite that."""
    life = _decode_life(record)
    if life.template:
        made = decode_client(record, of_template)
        life = msgspec.structs.replace(life, state=made.state, policy=made.policy)
    return Due(issuer, client_id, due_at, life, int(used or 0), noted or 0)
