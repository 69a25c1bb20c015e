"""In whatever order things happen: a pool is replaced without a gap, a warned job has ended in time or comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fleet_control.decide import hook
from fleet_control.decide.losses import of_warned
from fleet_control.decide.model import SPOT_INTERRUPTION, Drain, Fleet, Instance, Lease
from fleet_control.decide.plan import plan
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import build as b

LIMITS = hook.Limits(drain=60, job=3600, margin=15)
END = 105
"""Seconds after the warning by which its worker's last jobs have ended."""


# -- a pool is recommended away ------------------------------------------------------------------------------------


def pool(size: int, busy: list[bool], recommended: list[bool]) -> list[Instance]:
    members = [b.busy(f"i-{n}") if busy[n - 1] else b.idle(f"i-{n}", 5) for n in range(1, size + 1)]
    return [replace(member, rebalance=told) for member, told in zip(members, recommended, strict=True)]


def serving(members: list[Instance]) -> int:
    return sum(member.worker is not None for member in members)


@given(st.data())
def test_a_pool_is_replaced_one_by_one_and_never_serves_with_fewer_than_desired(data: st.DataObject) -> None:
    """Replacements come alive in any order, between any two looks; jobs come and go."""
    size = data.draw(st.integers(1, 5), "desired")
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    members = pool(size, data.draw(flags, "busy"), data.draw(flags, "recommended"))
    extra = data.draw(st.integers(1, size), "replacements")
    members += [b.booting(f"i-{100 + n}", age=5) for n in range(extra)]
    boots = data.draw(st.permutations([f"i-{100 + n}" for n in range(extra)]), "order")
    for name in [*boots, *(None for _ in range(extra))]:
        (decided,) = plan(b.observation(_fleet(members, size)), 50).fleets
        assert decided.desired is None
        if decided.scale_in is not None and decided.scale_in.worker is not None:
            gone = decided.scale_in.worker.instance_id
            assert len(members) > size
            assert gone not in boots or not any(member.rebalance for member in members)
            members = [member for member in members if member.id != gone]
        members = [b.busy(member.id) if member.id == name else member for member in members]
        assert serving(members) >= size
    for _ in range(extra):
        (decided,) = plan(b.observation(_fleet(members, size)), 50).fleets
        if decided.scale_in is not None:
            members = [m for m in members if m.worker != decided.scale_in.worker]
    assert len(members) == size


def _fleet(members: list[Instance], desired: int) -> Fleet:
    """With as many jobs as want every instance of desired."""
    return b.fleet(*members, desired=desired, leased=2 * desired)


# -- a worker is warned --------------------------------------------------------------------------------------------

SECONDS = st.integers(0, 200)


@st.composite
def warned(draw: st.DrawFn) -> tuple[Drain, tuple[Lease, ...]]:
    ids = draw(st.lists(st.integers(1, 6), unique=True, max_size=4))
    leases = tuple(
        b.lease(n, expires_in=draw(st.sampled_from([-5, 90, 900])), attempts=draw(st.integers(1, 3))) for n in ids
    )
    finish_by = draw(st.none() | st.just(b.NOW + timedelta(seconds=END)))
    finishing = frozenset(draw(st.lists(st.integers(1, 6))))
    return Drain(100, SPOT_INTERRUPTION, b.NOW, finish_by=finish_by, finishing=finishing), leases


@given(warned(), SECONDS)
def test_by_the_end_of_its_time_every_job_has_ended_or_comes_back(
    found: tuple[Drain, tuple[Lease, ...]], after: int
) -> None:
    drain, leases = found
    now = b.NOW + timedelta(seconds=after)
    back = {lost.lease.dispatch_id for lost in of_warned(drain, leases, now)}
    kept = {lease.dispatch_id for lease in leases if not lease.is_stuck(now)} - back
    assert kept <= drain.finishing
    assert not kept or (drain.finish_by is not None and now < drain.finish_by)


@given(warned(), SECONDS, SECONDS)
def test_what_comes_back_is_never_let_finish_again(
    found: tuple[Drain, tuple[Lease, ...]], first: int, second: int
) -> None:
    drain, leases = found
    early, late = sorted((first, second))
    before, after = (
        {lost.lease.dispatch_id for lost in of_warned(drain, leases, b.NOW + timedelta(seconds=seconds))}
        for seconds in (early, late)
    )
    stuck = {lease.dispatch_id for lease in leases if lease.is_stuck(b.NOW + timedelta(seconds=late))}
    assert before - stuck <= after


@given(warned(), SECONDS)
def test_its_group_is_not_answered_over_a_job_that_neither_ended_nor_came_back(
    found: tuple[Drain, tuple[Lease, ...]], after: int
) -> None:
    drain, leases = found
    now = b.NOW + timedelta(seconds=after)
    told = hook.answer("i-1", b.worker(draining=True, drain=drain, leases=leases), LIMITS, None, now)
    live = {lease for lease in leases if lease.is_live(now)}
    assert not told.goes or live <= {lost.lease for lost in told.requeue}
    spared = {lease for lease in live if drain.spares(lease, now)}
    assert not (told.goes and spared)
