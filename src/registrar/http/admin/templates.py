"""Routes of templates: made, changed and ended."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import asdict

from registrar.domain.errors import ProtocolError
from registrar.domain.metadata import Presented
from registrar.http import answers
from registrar.http.admin.bodies import Reason, Why, read
from registrar.http.admin.call import Call, Row
from registrar.http.admin.pages import PAGED, page
from registrar.http.answers import Created
from registrar.service import templates


class TemplateWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A template as it is to be."""

    metadata: Presented
    """What its instances have; judged as a registration is."""
    template_id: str = ""
    """Its name, where it is created."""
    allowed: list[str] = []
    """The members that an instance may choose for itself."""
    policy: str = ""
    """The policies that judge it and its instances, with spaces between; the issuer's own by default."""
    description: Why = ""
    """What it is for, for people."""
    version: int | None = None
    """Where it is changed: the version that was seen."""

    def wanted(self) -> templates.Wanted:
        """As the use case takes it."""
        return templates.Wanted(self.metadata, tuple(self.allowed), self.policy, self.description)


async def _list_templates(call: Call) -> answers.Templates:
    found = templates.every(call.registry, call.issuer, call.query.get("after", ""))
    rows, after = await page(call, "template_id", (one.public() async for one in found))
    return answers.Templates(templates=rows, after=after)


async def _create_template(call: Call) -> Created[answers.ChangedTemplate]:
    asked = read(call, TemplateWanted)
    return Created(_changed(await templates.create(*call.acting, asked.template_id, asked.wanted())))


async def _show_template(call: Call) -> answers.TemplateInUse:
    found = await templates.find(call.registry, call.issuer, call.name)
    instances = await templates.instances_of(call.registry, call.issuer, call.name)
    return answers.TemplateInUse(**asdict(found.public()), instances=instances)


async def _change_template(call: Call) -> answers.ChangedTemplate:
    asked = read(call, TemplateWanted)
    if asked.template_id not in ("", call.name):
        raise ProtocolError("invalid_request", "template_id is another one than that of the path.")
    return _changed(await templates.change(*call.acting, call.name, asked.wanted(), expected=asked.version))


async def _enable_template(call: Call) -> answers.ChangedTemplate:
    return _changed(await templates.enable(*call.acting, call.name, read(call, Reason).reason))


async def _disable_template(call: Call) -> answers.ChangedTemplate:
    return _changed(await templates.disable(*call.acting, call.name, read(call, Reason).reason))


async def _delete_template(call: Call) -> answers.ChangedTemplate:
    return _changed(await templates.delete(*call.acting, call.name, read(call, Reason).reason))


def _changed(changed: templates.Changed) -> answers.ChangedTemplate:
    return answers.ChangedTemplate(**asdict(changed.template.public()), waiting=changed.waiting)


ROUTES: Final = (
    Row("GET", "templates", "admin.templates", _list_templates, asks=PAGED),
    Row("POST", "templates", "admin.templates", _create_template, takes=TemplateWanted),
    Row("GET", "templates/{}", "admin.templates", _show_template),
    Row("PUT", "templates/{}", "admin.templates", _change_template, takes=TemplateWanted),
    Row("DELETE", "templates/{}", "admin.templates", _delete_template, takes=Reason),
    Row("POST", "templates/{}/enable", "admin.templates", _enable_template, takes=Reason),
    Row("POST", "templates/{}/disable", "admin.templates", _disable_template, takes=Reason),
)
