"""Receipts and checkpoints over HTTP: what a client can keep, and what everybody can."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest
from real_server import Start, configuration
from registering import MEMBERS, as_update, bearer, configured, manage, register

from registrar.domain import checkpoint
from registrar.service import checkpoints, receipts
from registrar.testing import served

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("SEED-77")
async def test_a_client_gets_a_receipt() -> None:
    """It names the server, the endpoint, what was registered, by whose leave, under which policy, and what can be done."""
    async with served(configured()) as server:
        made = await register(server, MEMBERS)
        url = f"/receipts/{made['client_id']}"
        own = bearer(made["registration_access_token"])
        answer = await server.client.get(url, headers=own)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/jwt"
        assert answer.headers["cache-control"] == "no-cache, no-store"
        keys = (await checkpoints.published(server.registry))["keys"]
        verified = receipts.verify(answer.text, keys)
        said = verified.claims
        assert verified.proof is None
        assert said["iss"] == "https://as.example"
        assert said["registration_endpoint"] == "https://as.example/register"
        assert said["client_id"] == said["sub"] == made["client_id"]
        assert said["metadata"]["redirect_uris"] == MEMBERS["redirect_uris"]
        assert said["admission"] == {"assurance": "open", "authentication": "none"}
        assert said["software_statement"] == {"handling": "none was used"}
        assert said["policy"] == "default"
        assert len(said["policy_digest"]) == 64
        assert said["management"] == ["read", "update", "delete"]
        assert made["client_secret"] not in answer.text
        await checkpoints.make(server.registry)
        proved = receipts.verify((await server.client.get(url, headers=own)).text, keys)
        assert proved.proof is not None
        assert proved.witnesses
        assert proved.claims["event"] == said["event"]


async def test_a_receipt_is_of_what_is_registered_now() -> None:
    """After an update it is another one; the event is that of the update."""
    async with served(configured()) as server:
        made = await register(server, MEMBERS)
        await manage(server, made, "PUT", as_update(made, client_name="Other"))
        answer = await server.client.get(
            f"/receipts/{made['client_id']}", headers=bearer(made["registration_access_token"])
        )
        said = receipts.verify(answer.text, (await checkpoints.published(server.registry))["keys"]).claims
        assert said["metadata"]["client_name"] == "Other"
        assert said["event"]["kind"] == "client.updated"


async def test_a_receipt_is_for_its_client_alone() -> None:
    """Without its token, with another's, or of nobody: the same 401."""
    async with served(configured()) as server:
        made, other = await register(server, MEMBERS), await register(server, MEMBERS)
        for client_id, headers in (
            (made["client_id"], {}),
            (made["client_id"], bearer(other["registration_access_token"])),
            ("nobody", bearer(other["registration_access_token"])),
        ):
            answer = await server.client.get(f"/receipts/{client_id}", headers=headers)
            assert answer.status_code == 401
            assert "www-authenticate" in answer.headers
        assert (await server.client.post(f"/receipts/{made['client_id']}")).status_code == 405


async def test_the_newest_checkpoint_is_published() -> None:
    """With the keys that verify it; before there is one, it is not found."""
    async with served(configured()) as server:
        assert (await server.client.get("/.well-known/registrar-audit")).status_code == 404
        await register(server, MEMBERS)
        await checkpoints.make(server.registry)
        answer = await server.client.get("/.well-known/registrar-audit")
        assert answer.status_code == 200
        signed = checkpoint.read(json.dumps(answer.json()["checkpoint"]).encode())
        assert checkpoint.signers(signed, answer.json()["keys"])
        assert signed.checkpoint.size > 0
        assert all("d" not in key for key in answer.json()["keys"])


def test_a_server_that_stops_seals_what_it_wrote(start: Start, tmp_path: Path) -> None:
    """The last checkpoint covers everything, so that the end cannot be cut off afterwards."""
    program = start(configuration()).listening()
    body = json.dumps(MEMBERS).encode()
    head = b"POST /register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
    assert program.send(head + b"content-length: %d\r\n\r\n" % len(body) + body)[0].status == 201
    assert program.stop() == 0
    db = apsw.Connection(str(tmp_path / "registrar.db"))
    assert list(db.execute("SELECT count(*) FROM audit_batch WHERE place = 0")) == [(0,)]
    assert list(db.execute("SELECT count(*) > 0 FROM item WHERE kind = 'checkpoint'")) == [(1,)]
    db.close()
