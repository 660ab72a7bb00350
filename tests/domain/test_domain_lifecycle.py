"""The life of a client that nobody uses, day by day."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain.client import IDLE, Admission, Assurance, Client, State
from registrar.domain.credentials import Credentials
from registrar.domain.events import EVENTS
from registrar.domain.lifecycle import COARSE, DAY, EVENT, Lifetime, Look, Step, first, look
from registrar.domain.metadata import Registered

BORN = 1_790_000_000
LIFE = Lifetime(unused=30 * DAY, idle=90 * DAY, warning=7 * DAY, suspended=20 * DAY)


SHORT = Lifetime(idle=COARSE, warning=0, suspended=DAY)
HOUR = COARSE / DAY


def client(**more: object) -> Client:
    """A client of the first day."""
    made = Client(
        issuer="main",
        client_id="c",
        version=1,
        state=State.ACTIVE,
        created_at=BORN,
        updated_at=BORN,
        metadata=Registered({}),
        credentials=Credentials(),
        admission=Admission(Assurance.OPEN),
        policy="default",
    )
    return msgspec.structs.replace(made, **more)


def day(number: float) -> int:
    """A day of its life."""
    return BORN + int(number * DAY)


def on(number: float, used: float = 0, *, protected: bool = False, life: Lifetime = LIFE, **more: object) -> Look:
    """What becomes of it on a day, and when it is looked at again, in days."""
    found = look(client(**more), day(used) if used else 0, life, day(number), protected=protected)
    return Look(found.step, (found.due_at - BORN) // DAY if found.due_at else 0)


@pytest.mark.requirement("SEED-74")
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (on(1), (Step.NOTHING, 23)),
        (on(23), (Step.WARN, 30)),
        (on(24, warned_at=day(23)), (Step.NOTHING, 30)),
        (on(30, warned_at=day(23)), (Step.SUSPEND, 50)),
        (on(49, state=State.SUSPENDED, suspended_by=IDLE, suspended_at=day(30)), (Step.NOTHING, 50)),
        (on(50, state=State.SUSPENDED, suspended_by=IDLE, suspended_at=day(30)), (Step.DELETE, 0)),
        # a sweep that comes late still warns first, and for the whole time
        (on(200), (Step.WARN, 207)),
        (on(203, warned_at=day(200)), (Step.NOTHING, 207)),
        (on(207, warned_at=day(200)), (Step.SUSPEND, 227)),
        # it counts from the last use, and a warning before that counts no more
        (on(30, 20), (Step.NOTHING, 103)),
        (on(103 + HOUR, 20, warned_at=day(10)), (Step.WARN, 110)),
        (on(110 + HOUR, 20, warned_at=day(103 + HOUR)), (Step.SUSPEND, 130)),
        # which is known to the hour: it may have been used until just now
        (on(103 + HOUR / 2, 20), (Step.NOTHING, 103)),
        (on(20 + HOUR, 20, life=SHORT), (Step.NOTHING, 20)),
        (on(20 + 2 * HOUR, 20, life=SHORT), (Step.SUSPEND, 21)),
        # what a person allowed protects it
        (on(30, protected=True, warned_at=day(23)), (Step.NOTHING, 31)),
        (on(60, protected=True, state=State.SUSPENDED, suspended_by=IDLE, suspended_at=day(30)), (Step.NOTHING, 61)),
        # the operator's suspension is the operator's
        (on(500, state=State.SUSPENDED, suspended_at=day(30)), (Step.NOTHING, 0)),
        (on(500, state=State.DELETED), (Step.NOTHING, 0)),
        # the end that it was registered for comes in any case
        (on(5, expires_at=day(5)), (Step.EXPIRE, 0)),
        (on(5, 4, expires_at=day(5), protected=True), (Step.EXPIRE, 0)),
        (on(1, expires_at=day(5)), (Step.NOTHING, 5)),
        (on(500, state=State.SUSPENDED, expires_at=day(499)), (Step.EXPIRE, 0)),
        # one that waits for review is deleted and not suspended
        (on(30, state=State.PENDING, warned_at=day(23)), (Step.DELETE, 0)),
        # settings that are not there
        (on(500, life=Lifetime()), (Step.NOTHING, 0)),
        (on(10, life=Lifetime(idle=90 * DAY, warning=7 * DAY)), (Step.NOTHING, 93)),
        (on(500, life=Lifetime(idle=90 * DAY, warning=7 * DAY)), (Step.NOTHING, 583)),
        (on(500, life=Lifetime(idle=900)), (Step.NOTHING, 500)),
        (on(1, life=Lifetime(unused=300 * DAY, idle=10 * DAY, warning=DAY)), (Step.NOTHING, 10)),
        (on(500, 20, life=Lifetime(unused=30 * DAY)), (Step.NOTHING, 0)),
        (on(30, life=Lifetime(unused=30 * DAY, warning=0, suspended=0)), (Step.SUSPEND, 31)),
        (on(2, life=Lifetime(unused=2 * DAY)), (Step.WARN, 4)),
    ],
)
def test_what_becomes_of_it(found: Look, expected: tuple[Step, int]) -> None:
    """Warned, suspended, deleted; never without the steps before."""
    assert found == expected


def test_the_first_look() -> None:
    """In time for a warning, or at its end; never, where nothing ends it."""
    assert first(BORN, 0, LIFE) == day(23)
    assert first(BORN, day(2), LIFE) == day(2)
    assert first(BORN, day(200), LIFE) == day(23)
    assert first(BORN, 0, Lifetime()) == 0
    assert first(BORN, day(2), Lifetime()) == day(2)
    # What is used at once may be idle before what is never used would come to its end.
    assert first(BORN, 0, Lifetime(idle=90 * DAY, warning=7 * DAY)) == day(83)
    assert first(BORN, 0, Lifetime(unused=300 * DAY, idle=90 * DAY, warning=7 * DAY)) == day(83)
    assert first(BORN, 0, Lifetime(idle=900)) == BORN


TIMES = st.integers(0, 400)


@given(TIMES, TIMES, TIMES, st.booleans(), st.sampled_from([State.ACTIVE, State.PENDING]))
def test_nobody_in_use_is_ended(now: int, used: int, warned: int, protected: bool, state: State) -> None:
    """Whatever the clocks and the order: who was used lately, or is protected, or was not warned, goes on."""
    found = on(now, used, protected=protected, warned_at=day(warned), state=state)
    last = used or 0
    if found.step in (Step.SUSPEND, Step.DELETE):
        assert not protected
        assert now >= last + (90 if used else 30)
        assert warned >= last
        assert now >= warned + 7
    if found.step is Step.NOTHING and found.due_at:
        assert found.due_at > now or now < last


SECONDS = st.integers(0, 400 * DAY)
LIVES = st.builds(Lifetime, *[st.one_of(st.just(0), SECONDS)] * 6)
STATES = st.sampled_from([State.ACTIVE, State.PENDING, State.SUSPENDED])


@given(LIVES, SECONDS, st.integers(1, 400 * DAY), st.integers(0, 400 * DAY), st.booleans(), STATES)
def test_whoever_is_left_alone_is_looked_at_later(
    life: Lifetime, used: int, age: int, warned: int, protected: bool, state: State
) -> None:
    """Else the sweep would look at the same client for ever."""
    more = {"warned_at": BORN + warned, "suspended_at": BORN + warned, "suspended_by": IDLE}
    now = BORN + age
    found = look(client(state=state, **more), BORN + used if used else 0, life, now, protected=protected)
    if found.step is not Step.EXPIRE and found.due_at:
        assert found.due_at > now


def test_steps_are_told() -> None:
    """Every step of time has its event."""
    assert set(EVENT.values()) <= set(EVENTS)
