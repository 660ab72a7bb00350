"""`registrar statement`: a directory of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registrar.domain import jws

if TYPE_CHECKING:
    from conftest import Desk


def test_life(desk: Desk) -> None:
    """A statement is issued, verified with the printed keys, listed, and revoked."""
    assert desk.done("statement", "list") == "none\n"
    issued = desk.told(
        "statement",
        "issue",
        "--software-id",
        "app",
        "--members",
        "-",
        "--expires-in",
        "60",
        input='{"client_name": "A"}',
    )
    keys = desk.told("statement", "keys")
    revoked = desk.told("statement", "revoke", issued["jti"], "--reason", "withdrawn")
    (row,) = desk.told("statement", "list")

    claims = jws.verify(jws.read(issued["software_statement"]), keys["jwks"]["keys"], ["ES256"]).claims
    assert (claims["iss"], claims["jti"], claims["client_name"]) == (keys["issuer"], issued["jti"], "A")
    assert claims["exp"] == claims["iat"] + 60
    assert keys["jwks_uri"] == f"{keys['issuer']}/jwks"
    assert (issued["state"], revoked["state"], row["state"]) == ("ACTIVE", "REVOKED", "REVOKED")
    assert issued["software_statement"] not in str(row)


def test_refusals(desk: Desk) -> None:
    """What a statement cannot attest is told by its member."""
    arguments = ("statement", "issue", "--software-id", "app", "--members", "-")

    assert "client_secret: is not a member" in desk.refused(*arguments, input='{"client_secret": "x"}')
    assert "there is no statement x" in desk.refused("statement", "revoke", "x")
    assert "not JSON" in desk.misused(*arguments, input="{")
    assert "not a JSON object" in desk.misused(*arguments, input="7")
