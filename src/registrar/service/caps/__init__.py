"""Caps: how many clients may live at once, of one owner, token, software, address or label, and of an issuer in all.

Where a cap is full, the oldest of its clients that was never used makes room, and only where all are used is a new one
refused. A label's makes no room: what is labelled is somebody's by an operator's word, and not the next one's to end. A cap
must never be a way to lock others out, so each counts what one caller is answerable for: a `software_id` that nobody
attested is counted together with the address that claims it.

Every registration under a cap raises the version of an item of that cap in the same transaction. A process that has counted
the clients once knows from that version how many they are at the most, whoever else registers: while there is room by that
number, nobody waits and nothing is read. Where it is used up, who comes takes turns, counts the clients that live after
reading the version, has the oldest make room, and raises the version no further than there is room by that: of two that
counted the same clients one counts again. So the number holds exactly, over all processes. An update that
brings a client under a cap counts like a registration; what a smaller setting leaves above it goes in steps. The client that
makes room is deleted in a transaction before that one; where the registration then fails, there is room for another.
"""

from registrar.service.caps.counting import forget, synchronise
from registrar.service.caps.registrations import create
from registrar.service.caps.updates import joined, labelled

__all__ = ["create", "forget", "joined", "labelled", "synchronise"]
