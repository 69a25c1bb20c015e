"""A new machine image of a fleet: its instances are replaced one by one, each through a drain of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from fleet_control.act.asg import AutoScaling, Group
from fleet_control.act.database import Database
from fleet_control.act.images import Images, Launch, ParameterImage
from fleet_control.act.jobs import Jobs
from fleet_control.act.machines import Machine
from fleet_control.act.workers import Workers
from fleet_control.decide import rollout as decide
from fleet_control.decide.model import AMI_ROLLOUT, Fleet, HeldFleet, Instance, Policy, Worker
from fleet_control.errors import Hold
from fleet_control.flows import rows
from fleet_control.flows.drains import WayDown
from fleet_control.flows.observe import read_queues
from fleet_control.flows.policy import read_policies
from fleet_control.messages.eventbridge import ImageChange
from fleet_control.messages.tasks import Rollout, RolloutTask
from fleet_control.telemetry import Recorder

LOOKS_A_WARMUP = 20
MOST_LOOKS, LONGEST_SECONDS = 1000, 36_000
"""What one execution may do: its history is limited, and the schedule starts the next one."""
ERROR_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Ports:
    stage: str
    database: Database
    jobs: Jobs
    workers: Workers
    groups: AutoScaling
    images: Images
    machine: Machine
    scale_in: Machine
    recorder: Recorder


def receive(ports: Ports, event: ImageChange) -> dict[str, object]:
    """Start the rollout of a fleet's new image. Raises Hold when it cannot be told which version that is."""
    group = _group_name(ports, event.slug)
    policy = _policies(ports).get(group)
    image = ports.images.wanted([event.slug]).get(event.slug) if policy and event.stage == ports.stage else None
    if policy is None or image is None:
        return _told(ports, group, "ignored", f"no fleet of the stage launches from {event.detail.name}")
    if isinstance(policy, HeldFleet):
        return _told(ports, group, "hold", policy.reason)
    return _start(ports, group, policy, image)


def survey(ports: Ports) -> dict[str, object]:
    """Start what is due: an event may be lost and an execution die, the instances still tell. A group without any has
    nothing to tell and costs no call. Raises Hold."""
    groups = {group.name: group for group in ports.groups.groups()}
    policies = {name: policy for name, policy in _policies(ports, groups).items() if isinstance(policy, Policy)}
    manned = {name: policy for name, policy in policies.items() if groups[name].instances}
    images = ports.images.wanted([_slug(ports, name) for name in manned])
    launched = _by_group(ports.images.launched(manned))
    due = [
        (name, policy, images[_slug(ports, name)])
        for name, policy in manned.items()
        if _slug(ports, name) in images and _outdated(groups[name], launched.get(name, ()), images[_slug(ports, name)])
    ]
    taken = (ports.machine.running() | ports.machine.failed()) if due else frozenset()
    free = [(name, policy, image) for name, policy, image in due if not decide.is_taken(name, _image(image), taken)]
    started = [name for name, policy, image in free if _start(ports, name, policy, image)["outcome"] == "started"]
    return {"outcome": "surveyed", "fleets": len(policies), "outdated": len(due), "started": started}


def look(ports: Ports, task: RolloutTask) -> dict[str, object]:
    """One look at the fleet, under the stage's lock: nobody else drains or launches meanwhile."""
    rollout = task.rollout
    try:
        with ports.database.stage_lock(f"fleet-control-{ports.stage}") as ours:
            found = _step(ports, rollout) if ours else decide.Step(decide.Next.WAIT, "another look is under way")
    except Hold as hold:
        found = decide.Step(decide.Next.WAIT, f"hold: {hold.reason}: {hold}")
    if found.next is decide.Next.WAIT and rollout.looks + 1 >= rollout.max_looks:
        found = decide.Step(decide.Next.DONE, f"the next survey goes on: {found.reason}", None, found.numbers)
    _record(ports, rollout, found)
    goes_on = "wait" if found.next is decide.Next.REPLACE else found.next.value
    updated = rollout.model_copy(update={"looks": rollout.looks + 1})
    return {"rollout": updated.model_dump(mode="json"), "next": goes_on, "reason": found.reason}


def _step(ports: Ports, rollout: Rollout) -> decide.Step:
    group = ports.groups.group(rollout.group)
    if group is None:
        return decide.Step(decide.Next.DONE, f"group {rollout.group} is gone")
    policy = _policies(ports).get(rollout.group)
    if policy is None or isinstance(policy, HeldFleet):
        return decide.Step(decide.Next.WAIT, policy.reason if policy else "the group has just come")
    image = ports.images.wanted([rollout.slug]).get(rollout.slug)
    if image is None:
        return decide.Step(decide.Next.DONE, "the image parameter is gone")
    # The database comes last, as for every look: whoever is not in its table has not registered.
    launches = ports.images.launched([rollout.group])
    scene, now = _scene(ports, group, policy, image, launches), ports.jobs.now()
    found = decide.step(scene, rollout.version, now)
    if found.next is decide.Next.REPLACE and found.worker is not None:
        WayDown(ports.workers, ports.scale_in, group.name, policy, now).begin(found.worker, AMI_ROLLOUT)
    return found


def _scene(ports: Ports, group: Group, policy: Policy, image: ParameterImage, launches: list[Launch]) -> decide.Scene:
    waiting, demand = ports.jobs.waiting(policy.workflows), ports.jobs.demand(policy.workflows)
    crew = _crew(ports)
    machines = {launch.id: launch for launch in launches}
    members = tuple(_instance(i.id, i.lifecycle, machines.get(i.id), crew.get(i.id)) for i in group.instances)
    registered = {row["worker_identifier"] for row in ports.workers.registrations()} | crew.keys()
    fleet = Fleet(group.name, policy, group.desired, members, waiting, max(0, demand - waiting))
    launched = tuple(_launched(launch, launch.id in registered) for launch in launches)
    return decide.Scene(fleet, _image(image), launched)


def _crew(ports: Ports) -> dict[str, Worker]:
    held = read_queues(ports.jobs).held_by
    return {row["worker_id"]: rows.worker(row, held.get(row["worker_id"], ())) for row in ports.workers.fleet()}


def _instance(name: str, lifecycle: str, machine: Launch | None, worker: Worker | None) -> Instance:
    if machine is None:
        return Instance(name, lifecycle, None, None, worker)
    return Instance(name, lifecycle, machine.launched_at, machine.state, worker)


def _launched(launch: Launch, registered: bool) -> decide.Launched:
    return decide.Launched(
        launch.id, launch.image, launch.launched_at, launch.is_gone, launch.ended_at, launch.taken_by_spot, registered
    )


def _image(found: ParameterImage) -> decide.Image:
    return decide.Image(found.image, found.version, found.since)


def _outdated(group: Group, launches: tuple[Launch, ...], image: ParameterImage) -> bool:
    members = tuple(_instance(i.id, i.lifecycle, None, None) for i in group.instances)
    return decide.outdated(members, tuple(_launched(launch, False) for launch in launches), _image(image))


def _by_group(launches: list[Launch]) -> dict[str, tuple[Launch, ...]]:
    names = {launch.group for launch in launches}
    return {name: tuple(launch for launch in launches if launch.group == name) for name in names}


def _policies(ports: Ports, groups: Mapping[str, Group] | None = None) -> dict[str, Policy | HeldFleet]:
    """Of the whole stage: of two groups that serve one workflow the second is on hold."""
    found = ports.groups.groups() if groups is None else groups.values()
    return {group.name: policy for group, policy in read_policies(found)}


def _group_name(ports: Ports, slug: str) -> str:
    return f"asg-{ports.stage}-{slug}"


def _slug(ports: Ports, group: str) -> str:
    return group.removeprefix(f"asg-{ports.stage}-")


def _start(ports: Ports, group: str, policy: Policy, image: ParameterImage) -> dict[str, object]:
    look_seconds = max(1, ceil(policy.warmup_seconds / LOOKS_A_WARMUP))
    rollout = Rollout(
        group=group,
        slug=_slug(ports, group),
        version=image.version,
        max_looks=min(MOST_LOOKS, LONGEST_SECONDS // look_seconds),
        look_seconds=look_seconds,
        error_seconds=ERROR_SECONDS,
    )
    name = decide.execution_name(group, _image(image), ports.jobs.now())
    started = ports.machine.start(name, {"rollout": rollout.model_dump(mode="json")})
    return _told(ports, group, "started" if started else "duplicate", f"image {image.image}, version {image.version}")


def _told(ports: Ports, group: str, outcome: str, reason: str) -> dict[str, object]:
    ports.recorder.decision(fleet=group, rule="rollout start", reason=reason, outcome=outcome)
    return {"outcome": outcome, "reason": reason, "fleet": group}


def _record(ports: Ports, rollout: Rollout, found: decide.Step) -> None:
    ports.recorder.decision(
        fleet=rollout.group,
        rule=f"rollout {found.next}",
        reason=found.reason,
        instance_id=found.worker.instance_id if found.worker else None,
        numbers=dict(found.numbers),
    )
