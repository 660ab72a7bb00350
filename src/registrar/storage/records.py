"""Rows and records: how a client and a token become bytes, the same for every database."""

from __future__ import annotations

from typing import Final

import msgspec

from registrar.domain.access_token import InitialAccessToken
from registrar.domain.client import Client
from registrar.service.ports import SigningKey

encode: Final = msgspec.json.Encoder().encode
"""A record as JSON: readable with the database's own tools when a server is not at hand."""

decode_client: Final = msgspec.json.Decoder(Client).decode
decode_token: Final = msgspec.json.Decoder(InitialAccessToken).decode
decode_key: Final = msgspec.json.Decoder(SigningKey).decode
