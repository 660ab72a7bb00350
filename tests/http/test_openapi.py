"""The OpenAPI document: it describes every route, and what it allows, and what it does not, is answered without a 5xx."""

from __future__ import annotations

import json
from typing import Any

import anyio
import hypothesis
import jsonschema
import pytest
import schemathesis
from described import DOCUMENT, fits
from hypothesis import HealthCheck, Phase, given, settings
from joserfc.jwk import ECKey
from registering import PUBLIC, bearer, configured, issue, register

from registrar.domain.access_token import ADMINISTRATION
from registrar.http import admin
from registrar.testing import served

ON = "admin_api = true"
METADATA, INFORMATION = ({"$ref": f"#/components/schemas/{name}"} for name in ("Metadata", "ClientInformation"))
OPERATIONS = [one.ok() for one in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]


@pytest.mark.anyio
async def test_the_document_is_served_and_whole() -> None:
    """Without a token, since it holds nothing secret; every route is in it, with its scope."""
    async with served(configured(issuer=ON)) as server:
        answer = await server.client.get("/admin/api/openapi.json")
        assert answer.status_code == 200
        told = answer.json()
        for row in admin.ROUTES:
            operation = told["paths"]["/admin/api/" + row.path.replace("{}", "{name}")][row.method.lower()]
            assert row.scope in operation["description"]
            assert ("requestBody" in operation) is (row.takes is not None)
        assert told["paths"].keys() == DOCUMENT["paths"].keys()
        assert (await server.client.post("/admin/api/openapi.json")).status_code in (404, 405)


@pytest.mark.anyio
async def test_what_the_protocol_answers_is_as_the_document_says() -> None:
    """A public and a confidential client with members of every type: what is sent fits, and so does each answer."""
    sent = {
        **PUBLIC,
        "contacts": ["ops@app.example"],
        "logo_uri": "https://app.example/logo.png",
        "require_auth_time": True,
        "default_max_age": 60,
    }
    own = {
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [ECKey.generate_key("P-256").as_dict(private=False)]},
    }
    told = DOCUMENT["paths"]
    async with served(configured(issuer=ON)) as server:
        for body in (sent, {**sent, "token_endpoint_auth_method": "client_secret_basic"}, {**sent, **own}):
            fits(METADATA, body)
            made = await server.client.post("/register", json=body)
            assert str(made.status_code) in told["/register"]["post"]["responses"]
            fits(INFORMATION, made.json())
            at = f"/register/{made.json()['client_id']}"
            token = bearer(made.json()["registration_access_token"])
            for method, status in (("GET", 200), ("PUT", 200), ("DELETE", 204)):
                content = {"json": {**body, "client_id": made.json()["client_id"]}} if method == "PUT" else {}
                answer = await server.client.request(method, at, headers=token, **content)
                assert answer.status_code == status
                assert str(status) in told["/register/{client_id}"][method.lower()]["responses"]
                if answer.content:
                    fits(INFORMATION, answer.json())
    with pytest.raises(jsonschema.ValidationError):
        fits(INFORMATION, {**made.json(), "redirect_uris": "https://app.example/cb"})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
def test_whatever_the_document_allows_is_answered(operation: Any) -> None:
    """Bodies, queries and names as the document has them, and such as it has not: a clear answer, never a 5xx."""
    odd = [{}, {"a": 1}, [], "x", 7, None, {"labels": 1}, {"selection": []}, {"act": "x"}, {"metadata": "x"}]

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), at=hypothesis.strategies.integers(-3, len(odd) - 1))
    def attack(case: Any, at: int) -> None:
        async def send() -> None:
            async with served(configured(issuer=ON)) as server:
                token, _ = await issue(server, scope=("dcr", *ADMINISTRATION), max_uses=0)
                client = await register(server, PUBLIC)
                path = case.formatted_path
                if at % 2:
                    path = path.replace(str((case.path_parameters or {}).get("name", "\0")), client["client_id"])
                body = case.body if at < 0 or not isinstance(case.body, dict | list | str | int) else odd[at]
                sends = operation.method.upper() in ("POST", "PUT")
                query = {name: str(value) for name, value in (case.query or {}).items()}
                content = json.dumps(body, default=str).encode() if sends else None
                headers = bearer(token) | ({"content-type": "application/json"} if sends else {})
                answer = await server.client.request(
                    operation.method.upper(), path, params=query, content=content, headers=headers
                )
                assert answer.status_code < 500, (path, body, answer.text)
                if answer.status_code >= 400 and operation.method.upper() != "HEAD":
                    assert answer.json()["error"]

        anyio.run(send)

    attack()
