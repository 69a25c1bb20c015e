"""The search for secrets in what a run left behind: it finds them in disguise, names the place, and cannot be blind."""

import base64
from pathlib import Path

import pytest

from lab.secrecy import Search, holders, marked, produced

SECRET = "marked0123456789abcdef01234567"
PLANTED = "i-0123456789abcdef0"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_it_finds_what_is_hidden_in_an_encoding(tmp_path: Path, before: str) -> None:
    for name, text in {
        "plain": f"{before}{SECRET} etc",
        "base64": base64.b64encode(f"{before}{SECRET} etc".encode()).decode(),
        "hex": (before + SECRET).encode().hex(),
        "innocent": base64.b64encode(f"{before}something else".encode()).decode(),
    }.items():
        (tmp_path / name).write_text(text)
    assert holders(tmp_path, {"it": SECRET}) == {"it": ["base64", "hex", "plain"]}


def test_no_two_secrets_of_the_lab_are_alike() -> None:
    assert len({marked() for _ in range(100)}) == 100
    assert len(marked()) == len(SECRET)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that shows what was planted, and keeps its secret where it belongs."""
    for name, text in {
        "logs/x.log": f"{PLANTED} is not ours",
        "events.jsonl": PLANTED,
        "mariadb/data/user.MAD": SECRET,
        "mariadb/mariadbd.log": "ready",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


SEARCH = Search({"password": SECRET}, PLANTED, ("logs/x.log", "events.jsonl"), {"password": ("answers.json",)})


def test_a_run_that_keeps_its_secrets_breaks_nothing(run: Path) -> None:
    assert SEARCH.broken(run) == []
    assert [path.name for path in produced(run)] == ["events.jsonl", "x.log", "mariadbd.log"]


def test_a_secret_out_of_place_is_named_with_every_file_that_has_it(run: Path) -> None:
    for name in ("logs/x.log", "mariadb/mariadbd.log"):
        (run / name).write_text(f"{PLANTED} access denied using {SECRET}")
    assert SEARCH.broken(run) == ["password found in logs/x.log, mariadb/mariadbd.log"]


def test_a_secret_where_it_may_be_breaks_nothing(run: Path) -> None:
    (run / "answers.json").write_text(SECRET)
    assert SEARCH.broken(run) == []


def test_a_search_that_does_not_see_what_was_planted_says_so(run: Path) -> None:
    (run / "events.jsonl").write_text("")
    assert SEARCH.broken(run) == ["the search for secrets is blind: what was planted is not found in events.jsonl"]
