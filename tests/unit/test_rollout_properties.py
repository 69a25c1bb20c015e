"""What must hold of every look of a rollout, whatever the fleet looks like."""

from __future__ import annotations

from fleet_control.decide.model import Fleet, Standing
from fleet_control.decide.rollout import Image, Launched, Next, Scene, step
from fleet_control.decide.standing import standings
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import build as b
from tests.unit.test_plan_properties import fleets

IMAGE = Image("ami-new", 2, b.ago(60))
SETTLED = {Standing.BUSY, Standing.IDLE, Standing.DRAINING, Standing.OUTSIDE}


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    fleet: Fleet = draw(fleets(1))
    remembered = [
        Launched(
            one.id,
            draw(st.sampled_from(["ami-old", "ami-old", "ami-new"])),
            one.launched_at or b.ago(30),
            gone=one.is_going,
            registered=one.worker is not None or draw(st.booleans()),
        )
        for one in fleet.instances
        if draw(st.integers(0, 9))
    ]
    return Scene(fleet, IMAGE, tuple(remembered))


@given(scenes(), st.sampled_from([2, 2, 2, 1]))
def test_at_most_one_is_out_and_it_is_idle_old_and_in_service(scene: Scene, version: int) -> None:
    found = step(scene, version, b.NOW)
    if found.next is not Next.REPLACE:
        assert found.worker is None
        return
    assert version == IMAGE.version
    where = standings(scene.fleet, b.NOW)
    (chosen,) = [one for one in scene.fleet.instances if one.worker == found.worker]
    assert (where[chosen.id], chosen.lifecycle, scene.image_of(chosen)) == (Standing.IDLE, "InService", "ami-old")
    assert set(where.values()) <= SETTLED
    ours = [one for one in scene.fleet.instances if one.worker and one.worker.drain]
    assert not any(one.worker.drain.is_scale_in for one in ours if one.worker and one.worker.drain)


@given(scenes())
def test_a_version_is_given_up_only_for_one_that_never_registered(scene: Scene) -> None:
    found = step(scene, IMAGE.version, b.NOW)
    failed = [one for one in scene.launched if one.image == IMAGE.id and one.failed(scene.fleet.policy, b.NOW)]
    assert (found.next is Next.STOP) == bool(failed)
    assert not any(one.registered for one in failed)


@given(scenes())
def test_done_means_that_nobody_who_serves_runs_an_older_image(scene: Scene) -> None:
    found = step(scene, IMAGE.version, b.NOW)
    where = standings(scene.fleet, b.NOW)
    serving = [one for one in scene.fleet.instances if one.exists and where[one.id] in (Standing.BUSY, Standing.IDLE)]
    if found.next is Next.DONE:
        assert {scene.image_of(one) for one in serving} <= {IMAGE.id}
