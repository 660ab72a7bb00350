"""`registrar audit`: what an auditor does at the command line, and what they are told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from joserfc.jwk import ECKey

if TYPE_CHECKING:
    from conftest import Desk

LATER = "2999-01-01"


@pytest.fixture
def kept(desk: Desk) -> Path:
    """A folder with what an auditor keeps elsewhere: keys and a checkpoint."""
    desk.register()
    folder = desk.folder / "kept"
    folder.mkdir()
    (folder / "keys.json").write_text(desk.done("audit", "keys"))
    (folder / "checkpoint.json").write_text(desk.done("audit", "checkpoint"))
    return folder


def test_events_are_listed_and_shown(desk: Desk) -> None:
    """By kind, client and time; one of them whole, with whom it names."""
    client_id = desk.register()["client_id"]
    desk.done("client", "suspend", client_id, "--reason", "a test")
    assert "client.suspended" in desk.done("audit", "list")
    rows = desk.told("audit", "list", "--client", client_id)
    assert [row["kind"] for row in rows] == ["client.registered", "client.suspended"]
    assert desk.told("audit", "list", "--kind", "client.suspended")[0]["reason"] == "a test"
    assert desk.told("audit", "list", "--since", LATER) == []
    assert (
        desk.told("audit", "list", "--before", LATER, "--limit", "1", "--after", str(rows[0]["sequence"])) == rows[1:]
    )
    shown = desk.told("audit", "show", str(rows[1]["sequence"]))
    assert shown["names"]["person"]
    assert "there is no event 99999" in desk.refused("audit", "show", "99999")
    assert "there is no kind of event client.loved" in desk.refused("audit", "list", "--kind", "client.loved")


@pytest.mark.parametrize("form", ["jsonl", "csv", "set"])
def test_events_are_exported(desk: Desk, form: str) -> None:
    """A line each; whom they name only where that is asked for."""
    client_id = desk.register()["client_id"]
    lines = desk.done("audit", "export", "--format", form, "--client", client_id).splitlines()
    assert len(lines) == (2 if form == "csv" else 1)
    if form == "jsonl":
        assert json.loads(lines[0])["event"]["client_id"] == client_id
        personal = desk.done("audit", "export", "--personal")
        assert "names" in personal
    elif form == "csv":
        assert client_id in lines[1]
    else:
        from registrar.domain import jws

        keys = json.loads(desk.done("audit", "keys"))["keys"]
        read = jws.read(lines[0])
        assert read.header["typ"] == "secevent+jwt"
        claims = jws.verify(read, keys, ["Ed25519"]).claims
        assert claims["sub"] == client_id
        assert list(claims["events"]) == ["urn:registrar:event:client.registered"]


def test_what_is_sealed_is_exported_once(desk: Desk, kept: Path) -> None:
    """In the order of the log, from where the last export ended: each event in one of them, and none in two."""

    def export(after: str, *more: str) -> tuple[list[str], str]:
        result = desk.run("audit", "export", "--sealed", "--after", after, *more)
        assert result.exit_code == 0
        end = re.fullmatch(r"up to place (\d+) of the log; --sealed --after \1 goes on from there\n", result.stderr)
        assert end is not None
        return result.stdout.splitlines(), end[1]

    first, end = export("0")
    desk.register()
    assert export(end) == ([], end)  # no checkpoint covers it yet
    desk.done("audit", "checkpoint")
    second, last = export(end)
    assert second
    assert export(last) == ([], last)
    assert export("999999")[0] == []
    every = desk.done("audit", "export").splitlines()
    assert sorted([*first, *second]) == sorted(every)
    only, _ = export("0", "--kind", "client.registered", "--issuer", "main", "--since", "2020-01-01")
    assert [json.loads(line)["event"]["kind"] for line in only] == ["client.registered"] * 2
    assert export("0", "--since", LATER)[0] == []
    del kept


def test_an_audit_is_verified(desk: Desk, kept: Path) -> None:
    """With what was kept elsewhere; afterwards too, and in JSON."""
    keys, checkpoint = str(kept / "keys.json"), str(kept / "checkpoint.json")
    assert "everything is as it was written" in desk.done("audit", "verify", "--keys", keys, "--checkpoint", checkpoint)
    desk.register()
    report = desk.told("audit", "verify", "--checkpoint", checkpoint)
    assert report["sound"]
    assert report["events"] > 3


def test_what_was_done_to_it_is_told(desk: Desk, kept: Path) -> None:
    """Where, and with another exit status."""
    db = apsw.Connection(str(desk.folder / "var" / "registrar.db"))
    db.execute("UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'Example', 'Exampel') AS BLOB)")
    db.close()
    result = desk.run("audit", "verify", "--keys", str(kept / "keys.json"))
    assert result.exit_code == 1
    assert "NOT everything is as it was written" in result.stdout
    assert "an event is not what was written" in result.stderr
    assert json.loads(desk.run("audit", "verify", "--json").stdout)["sound"] is False


def test_a_witness_signs_too(desk: Desk, kept: Path) -> None:
    """Beside the registry; the signature is taken in and published, and nothing else of it is believed."""
    key = ECKey.generate_key("P-256", private=True)
    (kept / "witness.json").write_text(json.dumps(key.as_dict(private=True)))
    both = desk.done("audit", "cosign", str(kept / "checkpoint.json"), "--key", str(kept / "witness.json"))
    (kept / "both.json").write_text(both)
    assert len(json.loads(both)["signatures"]) == 2
    assert desk.told("audit", "witnessed", str(kept / "both.json")) == {"signatures": 2}
    assert desk.told("audit", "witnessed", str(kept / "both.json")) == {"signatures": 2}
    assert json.loads(desk.done("audit", "checkpoint"))["signatures"] == json.loads(both)["signatures"]
    public = {"keys": [{**key.as_dict(private=False), "kid": str(key.thumbprint())}]}
    (kept / "witness.jwks").write_text(json.dumps(public))
    report = desk.run("audit", "verify", "--keys", str(kept / "witness.jwks"), "--json")
    assert json.loads(report.stdout)["problems"] == []
    assert "it is no checkpoint" in desk.refused("audit", "witnessed", str(kept / "keys.json"))
    assert "it cannot be signed" in desk.refused(
        "audit", "cosign", str(kept / "keys.json"), "--key", str(kept / "witness.json")
    )


def test_a_witness_signs_what_has_only_grown(desk: Desk, kept: Path) -> None:
    """By the proof that is published beside a checkpoint; another log, or one that is not proved, is not signed."""
    (kept / "witness.json").write_text(json.dumps(ECKey.generate_key("P-256", private=True).as_dict(private=True)))
    desk.register()
    desk.done("audit", "checkpoint")
    document = kept / "published.json"
    document.write_text(desk.done("audit", "consistency", str(kept / "checkpoint.json")))
    arguments = ["audit", "cosign", str(document), "--key", str(kept / "witness.json")]
    earlier = ["--earlier", str(kept / "checkpoint.json")]
    assert len(json.loads(desk.done(*arguments, *earlier, "--keys", str(kept / "keys.json")))["signatures"]) == 2
    assert "go together" in desk.misused(*arguments, *earlier)
    changed = json.loads(document.read_text())
    document.write_text(json.dumps({**changed, "proof": changed["proof"][::-1]}))
    assert "does not begin with" in desk.refused(*arguments, *earlier, "--keys", str(kept / "keys.json"))
    document.write_text(json.dumps(changed["checkpoint"]))
    assert "it cannot be read" in desk.misused(*arguments, *earlier, "--keys", str(kept / "keys.json"))


def test_receipts_are_verified_without_a_registry(desk: Desk, kept: Path, tmp_path: Path) -> None:
    """With keys alone; one that was changed is refused."""
    client_id = desk.register()["client_id"]
    early = kept / "early.jwt"
    early.write_text(desk.done("client", "receipt", client_id))
    desk.done("audit", "checkpoint")
    late = kept / "late.jwt"
    late.write_text(desk.done("client", "receipt", client_id))
    verify = ("audit", "verify-receipt")
    keys = ("--keys", str(kept / "keys.json"))
    assert "not yet" in desk.done(*verify, str(early), *keys)
    said = desk.told(*verify, str(late), *keys)
    assert said["client_id"] == client_id
    assert "in the log of" in said["proved"]
    late.write_text(late.read_text()[:-9] + "AAAAAAAA\n")
    assert "the receipt is not to be believed" in desk.refused(*verify, str(late), *keys)
    del tmp_path


def test_the_log_is_shown_to_have_grown(desk: Desk, kept: Path) -> None:
    """From the checkpoint that was kept to the newest one, and not from another."""
    size = json.loads(desk.done("audit", "checkpoint"))
    assert size
    desk.register()
    desk.done("audit", "checkpoint")
    from registrar.domain import checkpoint

    before = checkpoint.read((kept / "checkpoint.json").read_bytes()).checkpoint.size
    proof = kept / "proof.json"
    proof.write_text(desk.done("audit", "consistency", str(before)))
    assert desk.done("audit", "consistency", str(kept / "checkpoint.json")) == proof.read_text()
    assert "is neither a size nor a checkpoint" in desk.misused("audit", "consistency", str(kept / "keys.json"))
    assert "is neither a size nor a checkpoint" in desk.misused("audit", "consistency", "nowhere.json")
    arguments = (
        "audit",
        "verify-consistency",
        str(kept / "checkpoint.json"),
        str(proof),
        "--keys",
        str(kept / "keys.json"),
    )
    assert f"begins with that of {before}" in desk.done(*arguments)
    changed = json.loads(proof.read_text())
    changed["proof"] = changed["proof"][1:]
    proof.write_text(json.dumps(changed))
    assert "does not begin with the earlier one" in desk.refused(*arguments)
    assert "no checkpoint covers 99999" in desk.refused("audit", "consistency", "99999")


def test_erasing_and_taking_away(desk: Desk, kept: Path) -> None:
    """Both are told, and the rest verifies."""
    client_id = desk.register()["client_id"]
    desk.done("client", "suspend", client_id)
    assert desk.told("audit", "redact", "--client", client_id)["events"] == 2
    assert "say of what" in desk.misused("audit", "redact")
    desk.done("audit", "checkpoint")
    assert desk.told("audit", "prune", "--before", LATER)["events"] > 3
    report = desk.told("audit", "verify", "--checkpoint", str(kept / "checkpoint.json"))
    assert (report["sound"], report["pruned"] > 0) == (True, True)


def test_keys_of_the_audit_are_replaced(desk: Desk, kept: Path) -> None:
    """The old ones stay, so that what they signed can still be verified."""
    before = json.loads((kept / "keys.json").read_text())["keys"]
    after = json.loads(desk.done("audit", "keys", "--rotate"))["keys"]
    assert before[0] in after
    assert len(after) == 2
    desk.register()
    desk.done("audit", "checkpoint")
    assert desk.told("audit", "verify")["sound"]


def test_what_the_registry_did_itself_is_listed(desk: Desk, kept: Path) -> None:
    """Its keys, and what was taken away: without an issuer all events are looked at, with one those of that one."""
    desk.done("audit", "prune", "--before", LATER)
    rows = desk.told("audit", "list", "--kind", "audit.pruned")
    assert [row["issuer"] for row in rows] == ["*"]
    assert "audit.pruned" in desk.done("audit", "show", str(rows[0]["sequence"]))
    assert "audit.pruned" in desk.done("audit", "export", "--format", "jsonl")
    assert desk.told("audit", "list", "--kind", "audit.pruned", "--issuer", "main") == []
    from registrar.domain import jws

    (token,) = desk.done("audit", "export", "--format", "set", "--kind", "audit.pruned").splitlines()
    assert jws.read(token).claims["iss"] == "urn:registrar:registry"
    assert "at main" in desk.refused("audit", "show", str(rows[0]["sequence"]), "--issuer", "main")
    del kept


def test_several_issuers_have_one_audit(desk: Desk) -> None:
    """What is about all of it asks for no issuer; what names people is erased everywhere, or where that is said."""
    (desk.folder / "registrar.toml").write_text(
        (desk.folder / "registrar.toml").read_text() + '\n[issuer.other]\nurl = "http://127.0.0.1:8000/other"\n'
    )
    for name in ("main", "other"):
        desk.done("token", "issue", "--issuer", name)
    for command in ("keys", "checkpoint", "verify", "list", "export"):
        assert desk.done("audit", command)
    assert "there is no issuer third" in desk.refused("audit", "verify", "--issuer", "third")
    assert "choose one with --issuer" in desk.refused("audit", "redact", "--before", LATER)
    rows = [json.loads(line) for line in desk.done("audit", "export", "--personal").splitlines()]
    named = sum("names" in row for row in rows)
    [person] = {row["names"]["person"][1] for row in rows if "names" in row}
    assert named == 2
    assert desk.told("audit", "redact", "--person", person)["events"] == named
    assert desk.told("audit", "verify")["erased"] == named


def test_what_is_published_is_taken_as_keys(desk: Desk, kept: Path) -> None:
    """The document of the well-known address has both the newest checkpoint and the keys."""
    document = kept / "published.json"
    both = {
        "checkpoint": json.loads((kept / "checkpoint.json").read_text()),
        **json.loads((kept / "keys.json").read_text()),
    }
    document.write_text(json.dumps(both))
    assert desk.told("audit", "verify", "--keys", str(document), "--checkpoint", str(document))["sound"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("{", "it cannot be signed"),
        ("[]", "signs with a private key"),
        ('{"kty": "OKP", "crv": "Ed25519", "d": "AA"}', "it cannot be signed"),
        ('{"kty": "oct", "k": "c2VjcmV0"}', "signs with a private key"),
        ('{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}', "a private key"),
        (json.dumps(ECKey.generate_key("P-384", private=True).as_dict(private=True)), "Ed25519, P-256 or RSA"),
    ],
)
def test_keys_that_are_no_witness(desk: Desk, kept: Path, key: str, expected: str) -> None:
    """Each is refused in a line that says what would do."""
    (kept / "witness.json").write_text(key)
    arguments = ("audit", "cosign", str(kept / "checkpoint.json"), "--key", str(kept / "witness.json"))
    assert expected in desk.refused(*arguments)


def test_signatures_that_are_none_are_not_taken_in(desk: Desk, kept: Path) -> None:
    """What is taken in is in the form of a witness's signature, and there is room for it: else nobody could read it again."""
    given = json.loads((kept / "checkpoint.json").read_text())
    own = given["signatures"][0]
    forged = kept / "forged.json"
    long = own["signature"]
    for wrong in (
        {"protected": "x", "signature": "y"},
        {"protected": "eyJhbGciOiJub25lIn0", "signature": long},
        {"protected": own["protected"], "signature": "not base64url!"},
    ):
        forged.write_text(json.dumps({**given, "signatures": [own, wrong]}))
        assert "it is not taken in" in desk.refused("audit", "witnessed", str(forged))
    refused = False
    for turn in range(4):
        # Each is small enough to be read, and all together are not.
        many = [{**own, "signature": "A" * (20_000 + 4 * turn)}]
        forged.write_text(json.dumps({**given, "signatures": many}))
        refused = desk.run("audit", "witnessed", str(forged)).exit_code != 0
    assert refused
    assert desk.told("audit", "verify")["sound"]


def test_a_receipt_that_is_no_text(desk: Desk, kept: Path) -> None:
    """Is refused as any other that is none."""
    (kept / "receipt.jwt").write_bytes(b"\xff\xfe\0")
    arguments = ("audit", "verify-receipt", str(kept / "receipt.jwt"), "--keys")
    assert "not to be believed" in desk.refused(*arguments, str(kept / "keys.json"))
    (kept / "odd.json").write_text("[]")
    assert "the keys cannot be read" in desk.misused(*arguments, str(kept / "odd.json"))
