"""Routes of jobs: what is done to many clients."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from registrar.http import answers
from registrar.http.admin.bodies import Why, read
from registrar.http.admin.call import Call, Row
from registrar.http.admin.pages import PAGED, page
from registrar.http.answers import Accepted
from registrar.service import bulk, operators
from registrar.service.bulk import Job, Selection, ShownJob
from registrar.service.operators import Unknown

_SURVEYED: Final = 10_000
"""Clients that a dry run over HTTP looks at."""


class JobWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to many clients."""

    act: bulk.Act
    """What is done to each."""
    selection: Selection
    """To which."""
    reason: Why = ""
    """Why; it goes into the audit."""
    overlap: Annotated[int, msgspec.Meta(ge=0, le=operators.LARGEST)] | None = None
    """Seconds for which replaced secrets still work; the issuer's setting by default."""
    dry_run: bool = False
    """Whether it is only counted what would be done."""


async def _list_jobs(call: Call) -> answers.Jobs:
    found = bulk.every(call.registry, call.issuer, call.query.get("after", ""))
    mine = (one.public() async for one in found if call.token.within.items() <= one.selection.labels.items())
    rows, after = await page(call, "job_id", mine)
    return answers.Jobs(jobs=rows, after=after)


def narrowed(call: Call, selection: Selection) -> Selection:
    """A selection within the labels of the token: also one of everything is of everything within.

    Raises:
        BearerError: `insufficient_scope`; it asks for labels that are not within.
    """
    if not call.token.within:
        return selection
    return msgspec.structs.replace(selection, labels=call.labels_within(selection.labels), everything=False)


async def _job(call: Call) -> Job:
    """A job that the token may know of.

    Raises:
        Unknown: there is none.
    """
    found = await bulk.find(call.registry, call.issuer, call.name)
    if not call.token.within.items() <= found.selection.labels.items():
        raise Unknown(f"there is no job {call.name} at {call.issuer.name}")
    return found


async def _start_job(call: Call) -> answers.Survey | Accepted[ShownJob]:
    asked = read(call, JobWanted)
    asked.selection.check()
    asked = msgspec.structs.replace(asked, selection=narrowed(call, asked.selection))
    if asked.dry_run:
        meant, fit, whole = await bulk.survey(
            call.registry, call.issuer, asked.act, asked.selection, most=_SURVEYED, tell=lambda _: None
        )
        return answers.Survey(act=asked.act, clients=meant, would_change=fit, more=not whole)
    job = await started(call, asked.act, asked.selection, asked.reason, overlap=asked.overlap)
    return Accepted(job.public())


async def started(call: Call, act: bulk.Act, selection: Selection, reason: str, **more: Any) -> Job:
    """Start a job, which the server works on from now on."""
    job = await bulk.start(*call.acting, act, selection, reason=reason, at_server=True, **more)
    call.registry.errands.start(bulk.work(call.registry, call.issuer, job.job_id), f"the job {job.job_id}")
    return job


async def _show_job(call: Call) -> ShownJob:
    return (await _job(call)).public()


async def _stop_job(call: Call) -> ShownJob:
    await _job(call)
    return (await bulk.stop(*call.acting, call.name)).public()


ROUTES: Final = (
    Row("GET", "jobs", "admin.clients", _list_jobs, confined=True, asks=PAGED),
    Row("POST", "jobs", "admin.clients", _start_job, takes=JobWanted, confined=True),
    Row("GET", "jobs/{}", "admin.clients", _show_job, confined=True),
    Row("POST", "jobs/{}/stop", "admin.clients", _stop_job, confined=True),
)
