"""Merkle trees: roots and proofs against the definitions of RFC 9162, and no proof of what is not so."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import merkle

# The entries and roots of the tests of Certificate Transparency (RFC 6962), which everybody's trees are held against.
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf(entry) for entry in ENTRIES]


def recursive(leaves: list[bytes]) -> bytes:
    """The root as RFC 9162 §2.1.1 defines it."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    at = 1
    while at * 2 < len(leaves):
        at *= 2
    return sha256(b"\1" + recursive(leaves[:at]) + recursive(leaves[at:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_that_are_known(size: int) -> None:
    """As others compute them; the growing tree has the same."""
    growing = merkle.Growing()
    for hashed in LEAVES[:size]:
        growing.append(hashed)
    assert merkle.root(LEAVES[:size]).hex() == growing.root.hex() == ROOTS[size - 1]


def test_a_log_without_entries() -> None:
    """Has the hash of nothing."""
    assert merkle.root([]) == merkle.Growing().root == merkle.EMPTY


@pytest.mark.parametrize(("size", "peaks"), [(1, 0), (2, 2), (-1, 0), (3, 1)])
def test_peaks_fit_the_size(size: int, peaks: int) -> None:
    """A log that was kept wrongly does not go on."""
    with pytest.raises(ValueError, match="one peak for each bit"):
        merkle.Growing(size, [b"\0" * 32] * peaks)


@given(st.integers(1, 70), st.data())
def test_proofs(size: int, data: st.DataObject) -> None:
    """What is in the log is shown to be, and a log that only grew to have grown; after a restart too."""
    leaves = [merkle.leaf(str(at).encode()) for at in range(size)]
    whole = merkle.root(leaves)
    assert whole == recursive(leaves)
    index, before = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    proof = merkle.inclusion(leaves, index)
    assert merkle.includes(leaves[index], index, size, proof, whole)
    old, grown = merkle.root(leaves[:before]), merkle.consistency(leaves, before)
    assert merkle.extends(before, old, size, whole, grown)
    growing = merkle.Growing()
    for hashed in leaves[:before]:
        growing.append(hashed)
    growing = merkle.Growing(before, growing.peaks)
    for hashed in leaves[before:]:
        growing.append(hashed)
    assert growing.root == whole


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.data())
def test_nothing_else_is_proved(size: int, index: int, before: int, data: st.DataObject) -> None:
    """Not another entry, place, size or root, nor with a proof that was changed, shortened or lengthened."""
    leaves = [merkle.leaf(str(at).encode()) for at in range(size)]
    whole, index, before = merkle.root(leaves), index % size, before % size + 1
    proof, grown = merkle.inclusion(leaves, index), merkle.consistency(leaves, before)
    old = merkle.root(leaves[:before])
    other = data.draw(st.binary(min_size=32, max_size=32))
    assert not merkle.includes(other, index, size, proof, whole)
    assert not merkle.includes(leaves[index], index, size, [*proof, other], whole)
    assert not merkle.includes(leaves[index], size, size, proof, whole)
    assert not merkle.includes(leaves[index], -1, size, proof, whole)
    assert not merkle.extends(before, other, size, whole, grown)
    assert not merkle.extends(before, old, size, other, grown)
    assert not merkle.extends(before, old, size, whole, [*grown, other])
    assert not merkle.extends(0, old, size, whole, grown)
    assert not merkle.extends(size + 1, old, size, whole, grown)
    for path in (proof, grown):
        for at in range(len(path)):
            changed = [*path[:at], other, *path[at + 1 :]]
            assert not merkle.includes(leaves[index], index, size, changed, whole) or path is grown
            assert not merkle.extends(before, old, size, whole, changed) or path is proof
    if proof:
        assert not merkle.includes(leaves[index], index, size, proof[:-1], whole)
    if grown:
        assert not merkle.extends(before, old, size, whole, grown[:-1])


@pytest.mark.parametrize("index", [-1, 3])
def test_what_is_not_there_has_no_proof(index: int) -> None:
    """An error, and no proof of something else."""
    with pytest.raises(IndexError):
        merkle.inclusion(LEAVES[:3], index)
    with pytest.raises(IndexError):
        merkle.consistency(LEAVES[:3], index + 1 if index > 0 else 0)
