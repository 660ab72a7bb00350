"""A request at one of the OAuth endpoints: its parameters, and what came with them to prove who sends them."""

from __future__ import annotations

import re
from typing import Final, NewType
from urllib.parse import parse_qsl

import msgspec

from registrar.domain.certificate import Certificate
from registrar.domain.errors import ProtocolError

Parameters = NewType("Parameters", dict[str, str])
"""Parameters, each once and none of them empty (RFC 6749 §3.1, §3.2); nothing else is known of them.

`resource` alone may stand several times (RFC 8707 §2): its values are joined by a space, which no URI holds.
"""

FORM: Final = "application/x-www-form-urlencoded"
_MOST: Final = 100
_REPEATABLE: Final = "resource"
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Call(msgspec.Struct, frozen=True):
    """A request at an OAuth endpoint, read and not yet believed."""

    endpoint: str
    """The URL that was called."""
    parameters: Parameters
    authorization: str = ""
    """The header field Authorization."""
    dpop: tuple[str, ...] = ()
    """The header fields DPoP; more than one is an error (RFC 9449 §4.3)."""
    certificate: Certificate | None = None
    """The certificate that the client presented, if it did (RFC 8705)."""
    chain: tuple[bytes, ...] = ()
    """The certificates above it, in DER, as far as they were presented."""
    accept: str = ""
    address: str = ""
    method: str = "POST"

    def __repr__(self) -> str:
        """Without what proves anything: what prints the values of a traceback must not print this."""
        return f"Call({self.endpoint!r})"

    def required(self, name: str) -> str:
        """A parameter that has to be there.

        Raises:
            ProtocolError: `invalid_request`; it is not.
        """
        value = self.parameters.get(name)
        if not value:
            raise ProtocolError("invalid_request", f"The parameter {name} is missing.")
        return value


def read(encoded: bytes) -> Parameters:
    """The parameters of a form or of a query (WHATWG URL, RFC 6749 App. B).

    One without a value counts as left out; of the rest, none may stand twice, unknown ones neither.

    Raises:
        ProtocolError: `invalid_request`; a parameter is repeated, or this is no such encoding.
    """
    if not encoded.isascii():
        raise ProtocolError("invalid_request", "The parameters are not form-urlencoded: they hold bytes beyond ASCII.")
    try:
        pairs = parse_qsl(encoded.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST)
    except UnicodeDecodeError:
        raise ProtocolError("invalid_request", "The parameters are not UTF-8.") from None
    except ValueError:
        raise ProtocolError("invalid_request", f"There are more than {_MOST} parameters.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if not value:
            continue
        if _CONTROL.search(name) or _CONTROL.search(value):
            raise ProtocolError("invalid_request", "A parameter holds a control character.")
        if name not in found:
            found[name] = value
        elif name == _REPEATABLE:
            found[name] += f" {value}"
        else:
            raise ProtocolError("invalid_request", f"The parameter {_named(name)} is repeated (RFC 6749 section 3.1).")
    return Parameters(found)


_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


def _named(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else "with an odd name"
