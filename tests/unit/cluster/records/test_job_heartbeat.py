"""A job is judged by the heartbeat of its run, whatever Ray says of it."""

from __future__ import annotations

from actors.core.journal import keys
from actors.core.journal.batch import WriteBatch
from actors.journal.stores.memory import MemoryStore
from cluster.records.job_heartbeat import owner_of_job, sign_of
from cluster.records.owner_watch import Sign

LEASE_S = 5.0


class World:
    """A store that an owner writes to every `beats_s` seconds of a clock that only waiting moves."""

    def __init__(self, owner: str | None, beats_s: float = float("inf")) -> None:
        self.store = MemoryStore()
        self.now = 0.0
        self._beats_s = beats_s
        if owner is not None:
            self.store.commit(
                WriteBatch({keys.writer("r"): f"{owner}:life".encode(), keys.heartbeat("r"): b"0"})
            )

    def pause(self, seconds: float) -> None:
        self.now += seconds
        beats = int(self.now / self._beats_s)
        self.store.commit(WriteBatch({keys.heartbeat("r"): str(beats).encode()}))

    def sign(self, job: str = "r") -> Sign:
        return sign_of(self.store, "r", job, LEASE_S, pause=self.pause, clock=lambda: self.now)


def owner(job: str | None) -> str:
    return owner_of_job("host/17/ab", {} if job is None else {"HEADRACE_JOB": job})


def test_a_job_whose_run_shows_no_sign_of_life_for_a_whole_lease_is_silent():
    world = World(owner("r"))
    assert world.sign() is Sign.SILENT
    assert world.now >= LEASE_S


def test_a_job_whose_run_shows_a_sign_of_life_is_alive_and_not_watched_any_longer():
    world = World(owner("r"), beats_s=1.0)
    assert world.sign() is Sign.ALIVE
    assert world.now < 2.0


def test_of_a_job_that_has_not_claimed_its_run_yet_nothing_is_known():
    assert World(None).sign() is Sign.UNKNOWN
    assert World(owner(None)).sign() is Sign.UNKNOWN  # the run was begun without a job
    assert World(owner("r")).sign("r~2") is Sign.UNKNOWN  # an earlier job's, which has died


def test_a_job_that_is_replaced_while_it_is_watched_leaves_the_run_alive():
    world = World(owner("r"))

    def taken_over(seconds: float) -> None:
        world.now += seconds
        world.store.commit(WriteBatch({keys.writer("r"): b"other:life"}))

    sign = sign_of(world.store, "r", "r", LEASE_S, pause=taken_over, clock=lambda: world.now)
    assert sign is Sign.ALIVE


def test_a_watcher_that_stood_still_gives_the_job_a_whole_lease_again():
    world = World(owner("r"))
    looks = []

    def stopped_once(seconds: float) -> None:
        looks.append(seconds)
        world.now += 100.0 if len(looks) == 1 else seconds
        if len(looks) == 10:
            world.store.commit(WriteBatch({keys.heartbeat("r"): b"1"}))

    assert sign_of(world.store, "r", "r", LEASE_S, pause=stopped_once, clock=lambda: world.now) is Sign.ALIVE


def test_of_a_store_that_is_too_slow_to_watch_a_job_by_nothing_is_known():
    world = World(owner("r"))

    def slow(seconds: float) -> None:
        world.now += LEASE_S

    assert sign_of(world.store, "r", "r", LEASE_S, pause=slow, clock=lambda: world.now) is Sign.UNKNOWN
