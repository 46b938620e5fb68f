"""What a keeper remembers of the ledger: the answers of sets, in a quarter of their memory for each erasure."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.identifiers import id_text
from calllog_guard.workers.keeper.ledger_memory import DoneDecisions, ErasedPeople, NameTable

MANY = 5000
NAMES = st.lists(st.integers(0, 40).map(lambda number: number.to_bytes(16, "big")), max_size=80)


def person(number: int) -> str:
    """A pseudonym."""
    return id_text((number + 1).to_bytes(16, "big"))


@given(NAMES, NAMES)
def test_a_table_of_names_answers_like_a_set(held: list[bytes], asked: list[bytes]) -> None:
    table, known = NameTable(16), set[bytes]()
    for name in held:
        if table.add(name):
            known.add(name)
    assert known == set(held) - {bytes(16)}, "zeros mark what is free"
    assert [each in table for each in asked] == [each in known for each in asked]
    assert len(table) == len(known)


def test_a_table_that_grows_forgets_nobody_and_keeps_its_slack() -> None:
    table = NameTable(16)
    names = [number.to_bytes(16, "little") for number in range(1, MANY)]
    assert all(map(table.add, names))
    assert all(name in table for name in names)
    assert table.size_bytes <= MANY * 16 * 3.1, "at most two of three slots are free, just after it has grown"


def test_an_erasure_that_is_done_takes_a_table_s_bytes_and_no_objects() -> None:
    """The ledger only grows, and a keeper remembers all of it: sets of texts took 470 bytes for each."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        erased, done = ErasedPeople(), DoneDecisions()
        for number in range(MANY):
            name = f"{person(number)}.{person(MANY + number)}"
            erased.note(person(number), name, done=False)
            done.add(name)
            erased.finished(person(number), name)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / MANY < 200
    assert erased.gone(person(MANY - 1))


def test_whoever_is_erased_is_gone_once_all_their_erasures_are_done() -> None:
    erased = ErasedPeople()
    alice = person(1)
    assert (alice in erased, erased.gone(alice)) == (False, False)
    for name in ("first", "second"):
        erased.note(alice, name, done=False)
    erased.finished(alice, "first")
    assert (alice in erased, erased.gone(alice)) == (True, False)
    erased.finished(alice, "second")
    assert (alice in erased, erased.gone(alice)) == (True, True)
    erased.note(alice, "third", done=False)
    assert not erased.gone(alice), "what is not done waits for its barrier"
    erased.note(alice, "second", done=True)
    assert not erased.gone(alice), "that another was done says nothing of it"
    erased.finished(alice, "third")
    assert erased.gone(alice)


def test_what_is_done_of_somebody_who_is_not_erased_erases_nobody() -> None:
    erased = ErasedPeople()
    erased.finished(person(1), "a restriction")
    assert person(1) not in erased


def test_names_that_are_written_otherwise_than_ours_are_others() -> None:
    """22 letters hold 132 bits: four spellings of an id decode to the same bytes, and only one of them is its name."""
    done, erased = DoneDecisions(), ErasedPeople()
    name = f"{person(1)}.{person(2)}"
    twin = name[:-1] + chr(ord(name[-1]) + 1)
    done.add(name)
    assert (name in done, twin in done) == (True, False)
    done.add(twin)
    done.add("no name of ours")
    assert (twin in done, "no name of ours" in done, len(done)) == (True, True, 3)
    erased.note(twin.rpartition(".")[2], twin, done=True)
    assert erased.gone(twin.rpartition(".")[2])
    assert not erased.gone(person(2))
