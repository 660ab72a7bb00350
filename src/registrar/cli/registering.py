"""`registrar register`: become a client of an issuer, of this make or any other, and keep what it issues."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import click

from registrar.cli.render import Failure, Output
from registrar.client import (
    BearerRefused,
    ClientInformation,
    CredentialsNotSaved,
    CredentialStoreError,
    FileCredentialStore,
    RegistrarClientError,
    RegistrationRefused,
    RequestInvalid,
    SyncRegistrationClient,
)
from registrar.client.client_information import CREDENTIALS

TOKEN_VARIABLE: Final = "REGISTRAR_INITIAL_ACCESS_TOKEN"  # noqa: S105 (the name of a variable)


@dataclass(frozen=True, slots=True)
class Wish:
    """What to register where, and where to keep what is issued."""

    issuer: str
    metadata: Mapping[str, Any]
    token: str | None
    folder: Path
    key: str
    reuse: bool
    show_secret: bool


def register(wish: Wish, output: Output) -> None:
    """Register, or take what is stored, and tell in order what happened.

    Raises:
        UsageError: what was asked for may not be sent.
        Failure: the server refused, did not answer, or the credentials could not be kept.
    """
    try:
        store = FileCredentialStore(wish.folder)
        with SyncRegistrationClient(credential_store=store, key=wish.key) as client:
            stored = store.load(wish.issuer, wish.key) if wish.reuse else None
            if stored is not None and stored.usable(time.time()):
                output.say(f"Registered before at {wish.issuer}; nothing was sent. --new registers anew.")
                _tell(wish, stored, store, output, reused=True)
                return
            server = client.discover(wish.issuer)
            endpoint = server.registration_endpoint
            output.say(f"Discovery done at {server.issuer}.")
            output.say(f"Registration endpoint: {endpoint or 'none'}")
            _tell(wish, client.register(server, wish.metadata, wish.token), store, output, reused=False)
    except RequestInvalid as problem:
        raise click.UsageError(str(problem)) from None
    except RegistrationRefused as refusal:
        _tell_refusal(refusal, output)
        raise Failure(f"{wish.issuer} refused: {refusal.code}{_unless(refusal.faults, refusal.description)}") from None
    except BearerRefused as refusal:
        hint = f"; an initial access token goes into --token-file or {TOKEN_VARIABLE}" if wish.token is None else ""
        raise Failure(f"{refusal}{hint}") from None
    except CredentialsNotSaved as problem:
        # What was issued exists here alone; losing it would be worse than showing it.
        output.record(dict(problem.information.members), "Registered, and this is the only copy of the credentials:")
        raise Failure(f"the credentials were issued and could not be kept: {problem.__cause__}") from None
    except CredentialStoreError as problem:
        raise Failure(f"the credential store: {problem}") from None
    except RegistrarClientError as problem:
        raise Failure(str(problem)) from None


def initial_access_token(value: str | None, file: IO[str] | None) -> str | None:
    """The token from the option, the file or the environment, in this order.

    Raises:
        UsageError: there are an option and a file, or the file is empty.
    """
    if value is not None and file is not None:
        raise click.UsageError("--token and --token-file exclude each other")
    if file is None:
        return value or os.environ.get(TOKEN_VARIABLE, "").strip() or None
    token = file.read().strip()
    if not token:
        raise click.UsageError("--token-file is empty")
    return token


def _tell(
    wish: Wish, information: ClientInformation, store: FileCredentialStore, output: Output, *, reused: bool
) -> None:
    """What is registered, what of it is not as asked, and where the credentials lie."""
    path = store.path(information.issuer, wish.key)
    differences = information.differences(wish.metadata)
    rows = [
        {
            "member": one.member,
            "asked": one.requested,
            "registered": "nothing" if one.registered is None else one.registered,
        }
        for one in differences
    ]
    if output.as_json:
        output.dump(
            {
                "issuer": information.issuer,
                "registration_endpoint": information.registration_endpoint,
                "reused": reused,
                "client": dict(information.members),
                "differences": [
                    {"member": one.member, "requested": one.requested, "registered": one.registered}
                    for one in differences
                ],
                "notes": list(information.notes),
                "credentials": str(path),
            }
        )
        return
    members = dict(information.members)
    credentials = {name: members.pop(name) for name in CREDENTIALS if name in members}
    output.record(members, "Registered:")
    if rows:
        output.say("Registered otherwise than asked:")
        output.table(rows, ("member", "asked", "registered"))
    for note in information.notes:
        output.say(f"Note: {note}")
    output.record({"file": str(path)} | (credentials if wish.show_secret else {}), "Credentials:")
    if "client_secret" in credentials and not wish.show_secret:
        output.say("The secret is in the file; --show-secret prints it.")


def _tell_refusal(refusal: RegistrationRefused, output: Output) -> None:
    rows = [
        {"member": one.member, "rule": one.rule, "reason": one.reason, "accepted": one.accepted}
        for one in refusal.faults
    ]
    if output.as_json:
        output.dump({"error": refusal.code, "error_description": refusal.description, "faults": rows})
    elif rows:
        output.say("Refused, with every fault that the server found:")
        output.table(rows, ("member", "rule", "reason", "accepted"), prose=("reason", "accepted"))


def _unless(faults: object, description: str | None) -> str:
    """The description, where there are no faults that tell the same in full."""
    return "" if faults or not description else f": {description}"
