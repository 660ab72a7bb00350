"""The class of a client: told from the facts of its admission, with what it is admitted, and by what it is judged."""

from __future__ import annotations

import msgspec

from registrar.domain.errors import RegistrationError
from registrar.domain.findings import listed
from registrar.policy import classes
from registrar.policy.evidence import demanded
from registrar.service.admission import Admitted
from registrar.service.parts import Parts
from registrar.service.registry import Issuer


def classified(issuer: Issuer, admitted: Admitted, parts: Parts) -> tuple[Admitted, Parts]:
    """The admission under the policies of the client's class, and the parts with that class among their facts.

    The names of these policies stay with the client, so every update is judged by them too; an update does not change
    the class.

    Raises:
        RegistrationError: the facts make it a client of no class that is registered here.
    """
    if not issuer.classes:
        return admitted, parts
    supposed = parts.facts.client_class  # by an explanation alone: at a registration nothing has said it yet
    if supposed:
        found = next((one for one in issuer.classes if one.name == supposed), None)
    else:
        found = classes.assigned(issuer.classes, parts.facts)
    if found is None:
        accepted = listed(one.name for one in issuer.classes)
        raise RegistrationError([*parts.found, classes.NO_CLASS.refuse("class", accepted=accepted)])
    known = found.knows(parts.presented.get("software_id"), parts.facts)
    facts = msgspec.structs.replace(parts.facts, client_class=found.name, preregistered=known)
    lacking = demanded(found.admission, facts)
    policy = " ".join(dict.fromkeys((*admitted.policy.split(), *found.policies)))
    return (
        msgspec.structs.replace(admitted, policy=policy),
        msgspec.structs.replace(parts, facts=facts, found=(*lacking, *parts.found)),
    )
