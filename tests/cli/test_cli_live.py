"""The operator at the command line while a server process serves the same database: the server sees it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Live

MAIN = ("--issuer", "main")


def registered(live: Live, **metadata: Any) -> dict[str, Any]:
    """A client that has just registered over HTTP."""
    answer = live.post(metadata, live.issue(*MAIN))
    assert answer.status_code == 201, answer.text
    members: dict[str, Any] = answer.json()
    return members


def test_token(live: Live) -> None:
    """A token that is issued here registers there, as often as it may and no more."""
    assert live.post().status_code == 401
    token = live.told("token", "issue", *MAIN, "--uses", "2", "--label", "live")
    answers = [live.post(token=token["token"]) for _ in range(3)]
    (row,) = [row for row in live.told("token", "list", *MAIN) if row["token_id"] == token["token_id"]]
    listed = live.told("client", "list", *MAIN, "--token", token["token_id"])

    assert [answer.status_code for answer in answers] == [201, 201, 401]
    assert (row["uses"], row["status"]) == (2, "spent")
    assert [client["client_id"] for client in listed] == [answer.json()["client_id"] for answer in answers[:2]]


def test_revoked_token(live: Live) -> None:
    """A token that is revoked here registers nothing there."""
    token = live.told("token", "issue", *MAIN, "--uses", "0")
    before = live.post(token=token["token"])
    live.done("token", "revoke", token["token_id"], *MAIN)

    assert before.status_code == 201
    assert live.post(token=token["token"]).status_code == 401
    assert live.manage("GET", before.json()).status_code == 200


@pytest.mark.requirement("R7592-9")
def test_states(live: Live) -> None:
    """A suspended client is answered 403, a resumed one as before, and a deleted one 401."""
    client = registered(live)

    def answers() -> list[int]:
        metadata = {"client_id": client["client_id"], "redirect_uris": client["redirect_uris"]}
        return [live.manage("GET", client).status_code, live.manage("PUT", client, metadata).status_code]

    assert answers() == [200, 200]
    live.done("client", "suspend", client["client_id"], *MAIN, "--reason", "a complaint")
    assert answers() == [403, 403]
    assert live.manage("DELETE", client).status_code == 403
    live.done("client", "resume", client["client_id"], *MAIN)
    assert answers() == [200, 200]
    live.done("client", "delete", client["client_id"], *MAIN)
    assert answers() == [401, 401]


@pytest.mark.requirement("R7592-16")
def test_rotated_secret(live: Live) -> None:
    """The next read answers the new secret; in the overlap the old one is known too, and afterwards no more."""
    client = registered(live)
    rotated = live.told("client", "rotate-secret", client["client_id"], *MAIN)
    read = live.manage("GET", client).json()

    def presented(secret: str) -> int:
        metadata = {key: client[key] for key in ("client_id", "client_name", "redirect_uris")}
        return live.manage("PUT", client, metadata | {"client_secret": secret}).status_code

    assert read["client_secret"] == rotated["client_secret"]
    assert read["client_secret"] != client["client_secret"]
    assert read["registration_access_token"] == client["registration_access_token"]
    assert [presented(client["client_secret"]), presented(rotated["client_secret"])] == [200, 200]
    assert presented("x" * 86) == 400
    last = live.told("client", "rotate-secret", client["client_id"], *MAIN, "--overlap", "0")["client_secret"]
    assert [presented(client["client_secret"]), presented(rotated["client_secret"])] == [400, 400]
    assert presented(last) == 200


def test_both_at_once(live: Live) -> None:
    """Commands and registrations that write at the same time all succeed."""
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(live.post, url=live.open_url) for _ in range(40)]
        tokens = [live.issue(*MAIN, "--label", "busy") for _ in range(8)]

    assert {answer.result().status_code for answer in answers} == {201}
    assert len(set(tokens)) == 8
    assert len([row for row in live.told("token", "list", *MAIN) if row["label"] == "busy"]) == 8
