"""A chunk is fetched once by whoever asks first, and what nobody needs any more makes room."""

from __future__ import annotations

import threading
import time

import pytest

from modelimage.stream import pool as pool_module
from modelimage.stream.pool import ChunkPool


def load(pool: ChunkPool, key: int, *, passed_on: int = 0) -> bool:
    """Use a chunk, and tell whether it was there."""
    with pool.slot(key, 8) as slot:
        was_ready = slot.is_ready
        if not was_ready:
            slot.view[:] = bytes([key] * 8)
            slot.loaded()
        assert bytes(slot.view) == bytes([key] * 8)
        slot.passed_on += passed_on
    return was_ready


def test_a_chunk_is_kept_until_room_is_needed_the_one_unused_longest_going_first() -> None:
    pool = ChunkPool(2, 8)
    assert [load(pool, key) for key in (1, 2, 1, 3, 1, 2)] == [False, False, True, False, True, False]


def test_a_chunk_that_was_passed_on_as_a_whole_goes_before_one_that_was_not() -> None:
    pool = ChunkPool(2, 8)
    load(pool, 1, passed_on=5)
    load(pool, 2, passed_on=8)
    assert not load(pool, 3)
    assert load(pool, 1, passed_on=3)
    assert not load(pool, 4)
    assert load(pool, 3)
    assert not load(pool, 1)


def test_a_chunk_that_several_want_is_kept_until_all_have_had_it() -> None:
    pool = ChunkPool(2, 8, readers=2)
    load(pool, 1, passed_on=8)
    load(pool, 2, passed_on=8)
    assert load(pool, 2, passed_on=8)
    assert not load(pool, 3)
    assert load(pool, 1, passed_on=8)


def test_who_asks_while_it_is_loaded_waits_for_it() -> None:
    pool = ChunkPool(4, 8)
    begun, loads = threading.Event(), []

    def first() -> None:
        with pool.slot(7, 8) as slot:
            begun.set()
            time.sleep(0.05)
            slot.view[:] = b"complete"
            loads.append(1)
            slot.loaded()

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait()
    with pool.slot(7, 8) as slot:
        assert slot.is_ready
        assert bytes(slot.view) == b"complete"
    thread.join()


def test_a_chunk_whose_loading_failed_is_loaded_by_the_next() -> None:
    pool = ChunkPool(1, 8)

    def fail() -> None:
        with pool.slot(1, 8) as slot:
            slot.view[:] = b"halfhalf"
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert not load(pool, 1)
    assert load(pool, 1)


def test_who_came_first_gets_the_first_slot_that_is_free() -> None:
    pool = ChunkPool(1, 8)
    order: list[int] = []

    def use(key: int) -> None:
        load(pool, key)
        order.append(key)

    threads = [threading.Thread(target=use, args=(key,)) for key in range(2, 10)]
    with pool.slot(1, 8) as slot:
        slot.loaded()
        for number, thread in enumerate(threads):
            thread.start()
            while len(pool._turns[0]._waiting) <= number:  # until it waits
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == sorted(order)


def test_of_a_large_pool_each_chunk_has_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_WAYS", 4)
    pool = ChunkPool(18, 8)
    assert [load(pool, key) for key in range(16)] == [False] * 16
    assert all(load(pool, key) for key in range(16))
    assert not load(pool, 20)  # in the place of the chunk of its own part that is unused longest
    assert [load(pool, key) for key in (0, 1, 2, 3)] == [False, True, True, True]


def test_more_users_than_slots_all_get_their_turn() -> None:
    pool = ChunkPool(2, 8)
    done: list[int] = []

    def use(key: int) -> None:
        for _ in range(20):
            load(pool, key)
        done.append(key)

    threads = [threading.Thread(target=use, args=(key,)) for key in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(done) == list(range(12))
