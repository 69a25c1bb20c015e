"""The world of `make lab`: it tells how to ask for things, and does what it is asked."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from lab.ask import parse
from lab.cloud import journal as journals
from lab.control import ask, granted
from lab.visit import Visit, welcome

from .waiting import until

COMMAND = ".venv/bin/python -m lab.ask "


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with Visit(tmp_path_factory.mktemp("visit")) as visit:
        yield visit


def test_what_the_welcome_says_can_be_asked_for(visit: Visit) -> None:
    lines = [line.strip() for line in welcome(visit).splitlines() if line.strip().startswith(COMMAND)]
    told = [shlex.split(line.removeprefix(COMMAND).split("  ")[0]) for line in lines]
    assert [parse(words)[0] for words in told] == ["jobs", "interrupt", "kill", "away", "look"]
    assert all(name in welcome(visit) for name in (visit.world.cloud.endpoint, str(visit.world.database.port)))


def test_a_job_that_is_asked_for_is_done(visit: Visit) -> None:
    assert ask(visit.control.port, "jobs", {"workflow": "face-swap", "seconds": 0.2}) == (
        True,
        "submitted 1, JobQueued sent",
    )
    until(lambda: "completed" in visit.look(), seconds=30)


def test_an_instance_is_taken_by_its_name_or_any_that_is_there(visit: Visit) -> None:
    visit.jobs("face-swap", seconds=0.2)
    until(lambda: "InService" in visit.world.instances().values(), seconds=30)
    taken = visit.interrupt().split()[0]
    warned = [e["id"] for e in journals.read(visit.run / "journal.jsonl") if e.get("state") == "warned"]
    assert warned == [taken]


@pytest.mark.parametrize("wish", ["interrupt", "kill"])
def test_a_name_that_nobody_has_is_refused(visit: Visit, wish: str) -> None:
    wishes = {"interrupt": visit.interrupt, "kill": visit.kill}
    assert granted(wishes, wish, {"instance": "i-*"}) == (400, f"{wish}: no instance 'i-*' is there; `look` shows them")
