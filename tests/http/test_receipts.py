"""Receipts and checkpoints over HTTP: what a client can keep, and what everybody can."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from real_server import Start, configuration
from registering import MEMBERS, as_update, bearer, configured, issue, manage, register

from registrar.domain import checkpoint, merkle
from registrar.service import checkpoints, receipts
from registrar.testing import served

pytestmark = pytest.mark.anyio

EC_KEY, OTHER_KEY = (ECKey.generate_key("P-256", private=False).as_dict(private=False) for _ in range(2))


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
        assert said["assurance"] == "open"
        assert said["initial_access_token"] == {"handling": "none was used"}
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


async def test_a_receipt_says_what_its_event_says() -> None:
    """Only the event is in the log: a registry that signs other metadata beside it is not believed, proof or none."""
    async with served(configured()) as server:
        made = await register(server, {**MEMBERS, "scope": "openid", "jwks": {"keys": [EC_KEY]}})
        await checkpoints.make(server.registry)
        answer = await server.client.get(
            f"/receipts/{made['client_id']}", headers=bearer(made["registration_access_token"])
        )
        keys = (await checkpoints.published(server.registry))["keys"]
        said = receipts.verify(answer.text, keys).claims
        others = {
            "redirect_uris": ["https://evil.example/callback"],
            "scope": "openid profile",
            "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "none",
            "client_name": "Another",
            "software_id": "another",
            "jwks_uri": "https://evil.example/jwks",
            "jwks": {"keys": [OTHER_KEY]},
        }
        for name, value in others.items():
            forged = {**said, "metadata": {**said["metadata"], name: value}}
            with pytest.raises((checkpoint.Refused, checkpoint.Malformed)):
                receipts.verify(await checkpoints.sign(server.registry, forged, receipts.TYPE), keys)
        for name, value in {"policy": "another", "policy_digest": "0" * 64, "registered_at": 1}.items():
            forged = {**said, name: value}
            with pytest.raises(checkpoint.Refused, match=f"its {name} is not what its event says"):
                receipts.verify(await checkpoints.sign(server.registry, forged, receipts.TYPE), keys)
        same = await checkpoints.sign(server.registry, said, receipts.TYPE)
        assert receipts.verify(same, keys).claims == said


async def test_a_receipt_tells_of_the_initial_access_token() -> None:
    """Which one it was and what that meant, also after the client has changed itself with its own token."""
    async with served(configured("client")) as server:
        token, _ = await issue(server, label="partner")
        made = await register(server, MEMBERS, token)
        await manage(server, made, "PUT", as_update(made, client_name="Other"))
        answer = await server.client.get(
            f"/receipts/{made['client_id']}", headers=bearer(made["registration_access_token"])
        )
        said = receipts.verify(answer.text, (await checkpoints.published(server.registry))["keys"]).claims
        shown = said["initial_access_token"]
        assert shown["label"] == "partner"
        assert shown["handling"] == "its policy and its scope bound the registration"
        assert token not in answer.text
        assert "authentication" not in said


async def test_a_published_checkpoint_has_the_way_from_an_earlier_one() -> None:
    """A witness finds by itself that the log has only grown, before it signs."""
    async with served(configured()) as server:
        url = "/.well-known/registrar-audit"
        await register(server, MEMBERS)
        old = await checkpoints.make(server.registry)
        await register(server, MEMBERS)
        new = await checkpoints.make(server.registry)
        assert old is not None
        assert new is not None
        before, after = old.checkpoint, new.checkpoint
        told = (await server.client.get(url, params={"from": before.size})).json()
        assert checkpoint.read(json.dumps(told["checkpoint"]).encode()) == new
        assert (told["size"], told["keys"]) == (before.size, (await server.client.get(url)).json()["keys"])
        path = [*map(checkpoint.hashed, told["proof"])]
        roots = checkpoint.hashed(before.root), checkpoint.hashed(after.root)
        assert merkle.extends(before.size, roots[0], after.size, roots[1], path)
        for wrong in ("", "0", "-1", "1e3", "x", "٣", str(after.size + 1), "9" * 400):
            answer = await server.client.get(url, params={"from": wrong})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), wrong
        assert (await server.client.get(f"{url}?from={after.size}&from=x&y=%ff")).json()["proof"] == []


async def test_what_witnesses_have_signed_is_not_lost() -> None:
    """While they sign, newer checkpoints are made: theirs is published beside those, and receipts lead to it."""
    witness = ECKey.generate_key("P-256")
    public = {**witness.as_dict(private=False), "kid": witness.thumbprint()}
    async with served(configured()) as server:
        url = "/.well-known/registrar-audit"
        made = await register(server, MEMBERS)
        old = await checkpoints.make(server.registry)
        assert old is not None
        header = {"alg": "ES256", "kid": public["kid"], "typ": checkpoint.TYPE}
        own = checkpoint.signed(jws.serialize_compact(header, checkpoint.payload(old), witness, algorithms=["ES256"]))
        later = await register(server, MEMBERS)
        new = await checkpoints.make(server.registry)
        assert "witnessed" not in (await server.client.get(url)).json()
        both = await checkpoints.cosigned(server.registry, own)
        told = (await server.client.get(url)).json()
        assert checkpoint.read(json.dumps(told["checkpoint"]).encode()) == new
        assert checkpoint.read(json.dumps(told["witnessed"]).encode()) == both
        for client, signer in ((made, public), (later, told["keys"][0])):
            answer = await server.client.get(
                f"/receipts/{client['client_id']}", headers=bearer(client["registration_access_token"])
            )
            verified = receipts.verify(answer.text, [*told["keys"], public])
            assert signer["kid"] in verified.witnesses
        # The same again, or one that was signed before it, takes nothing away.
        assert await checkpoints.cosigned(server.registry, own) == both
        assert await checkpoints.witnessed(server.registry) == both


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
