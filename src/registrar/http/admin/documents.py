"""Routes of clients that are described by documents: looked at, blocked, allowed again, forgotten."""

from __future__ import annotations

from typing import Final

import msgspec

from registrar.http import answers
from registrar.http.admin.bodies import Reason, Why, read
from registrar.http.admin.call import Call, Row
from registrar.http.admin.pages import PAGED, page
from registrar.service import document_administration as documents
from registrar.service.document_administration import ShownDocument


class DocumentAllowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That the client of a document may be used again."""

    digest: str = ""
    """Of what was looked at, where it is held: nothing else is allowed."""
    reason: Why = ""
    """Why; it goes into the audit."""


async def _list_documents(call: Call) -> answers.Documents:
    found = documents.every(call.registry, call.issuer, call.query.get("after", ""))
    rows, after = await page(call, "id", found)
    return answers.Documents(documents=rows, after=after)


async def _show_document(call: Call) -> ShownDocument:
    return documents.shown(call.issuer, await documents.find(call.registry, call.issuer, call.name), call.now)


async def _block_document(call: Call) -> ShownDocument:
    return await documents.block(*call.acting, call.name, read(call, Reason).reason)


async def _allow_document(call: Call) -> ShownDocument:
    asked = read(call, DocumentAllowed)
    return await documents.allow(*call.acting, call.name, digest=asked.digest, reason=asked.reason)


async def _forget_document(call: Call) -> None:
    await documents.forget(*call.acting, call.name, read(call, Reason).reason)


ROUTES: Final = (
    Row("GET", "documents", "admin.clients", _list_documents, asks=PAGED),
    Row("GET", "documents/{}", "admin.clients", _show_document),
    Row("POST", "documents/{}/block", "admin.clients", _block_document, takes=Reason),
    Row("POST", "documents/{}/allow", "admin.clients", _allow_document, takes=DocumentAllowed),
    Row("DELETE", "documents/{}", "admin.clients", _forget_document, takes=Reason),
)
