"""Routes of policies: what they are, and what one would say to a request."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registrar.domain.client import Assurance
from registrar.domain.metadata import Presented, SignedRequest
from registrar.http import answers
from registrar.http.admin.bodies import read
from registrar.http.admin.call import Call, Row
from registrar.policy import comparison
from registrar.policy.comparison import ShownPolicy
from registrar.service import explanation
from registrar.service.explanation import Explanation
from registrar.service.operators import Unknown


class Explained(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request to be explained, and who is supposed to send it."""

    request: dict[str, Any] | str
    """What would be sent: an object, or a JWT as a string."""
    assurance: Assurance = Assurance.OPEN
    """What was verified of the sender."""
    token_scope: str = ""
    """The scopes of the sender's token, with spaces between."""
    client_class: str = msgspec.field(name="class", default="")
    """The class of the sender."""
    owner: str = ""
    """The person whose token it would be."""


async def _list_policies(call: Call) -> answers.Policies:
    rows = [
        answers.PolicyRow(name=name, description=policy.description, digest=policy.digest)
        for name, policy in sorted(call.issuer.policies.items())
    ]
    return answers.Policies(policies=rows, policy=call.issuer.policy.name)


async def _show_policy(call: Call) -> ShownPolicy:
    if call.name not in call.issuer.policies:
        raise Unknown(f"there is no policy {call.name} at {call.issuer.name}")
    return comparison.public(call.issuer.policies[call.name])


async def _explain(call: Call) -> Explanation:
    asked = read(call, Explained)
    if any(name not in call.issuer.policies for name in call.name.split()):
        raise Unknown(f"there is no policy {call.name} at {call.issuer.name}")
    body = SignedRequest(asked.request) if isinstance(asked.request, str) else Presented(asked.request)
    supposed = explanation.Supposed(asked.assurance, tuple(asked.token_scope.split()), asked.client_class, asked.owner)
    return await explanation.explain(call.registry, call.issuer, call.name, body, supposed)


ROUTES: Final = (
    Row("GET", "policies", "admin.policies", _list_policies),
    Row("GET", "policies/{}", "admin.policies", _show_policy),
    Row("POST", "policies/{}/explain", "admin.policies", _explain, takes=Explained),
)
