"""Routes of software statements: issued and revoked."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import asdict

from registrar.domain.metadata import Presented
from registrar.http import answers
from registrar.http.admin.bodies import Reason, read
from registrar.http.admin.call import Call, Row
from registrar.http.admin.pages import PAGED, page
from registrar.http.answers import Created
from registrar.service import statements
from registrar.service.statements import ShownStatement


class StatementWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A software statement as it is to be."""

    software_id: str
    """The software that it is about."""
    members: Presented = Presented({})
    """The client metadata that it attests."""
    expires_in: int = statements.LIFETIME
    """Seconds until it ends."""
    algorithm: str = statements.ALGORITHMS[0]
    """How it is signed."""
    once: bool = True
    """Whether it registers once and never again."""


async def _list_statements(call: Call) -> answers.Statements:
    found = statements.every(call.registry, call.issuer, call.query.get("after", ""))
    rows, after = await page(call, "jti", (one.public(call.now) async for one in found))
    return answers.Statements(statements=rows, after=after)


async def _issue_statement(call: Call) -> Created[answers.IssuedStatement]:
    asked = read(call, StatementWanted)
    compact, issued = await statements.issue(
        *call.acting,
        asked.members,
        software_id=asked.software_id,
        lifetime=asked.expires_in,
        algorithm=asked.algorithm,
        once=asked.once,
    )
    return Created(answers.IssuedStatement(software_statement=compact, **asdict(issued.public(call.now))))


async def _show_statement(call: Call) -> ShownStatement:
    return (await statements.find(call.registry, call.issuer, call.name)).public(call.now)


async def _revoke_statement(call: Call) -> ShownStatement:
    revoked = await statements.revoke(*call.acting, call.name, read(call, Reason).reason)
    return revoked.public(call.now)


ROUTES: Final = (
    Row("GET", "statements", "admin.statements", _list_statements, asks=PAGED),
    Row("POST", "statements", "admin.statements", _issue_statement, takes=StatementWanted),
    Row("GET", "statements/{}", "admin.statements", _show_statement),
    Row("POST", "statements/{}/revoke", "admin.statements", _revoke_statement, takes=Reason),
)
