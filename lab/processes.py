"""Child processes that cannot outlive the lab.

Linux kills a child through PR_SET_PDEATHSIG when the *thread* that forked it ends, not the process. Children are
therefore forked by one thread that lives as long as the interpreter: a story thread that restarts the database and
returns must not take the database with it.
"""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

PR_SET_PDEATHSIG = 1


@lru_cache(maxsize=1)
def _nursery() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="nursery")


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent goes; to be called in the child, between fork and exec."""
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a child that is killed with this process; stdout and stderr are appended to `log` (dropped without one).

    Ctrl-C in the terminal reaches only the parent, which then stops its children in order.
    """
    _libc()
    if threading.current_thread().name.startswith("nursery"):
        raise RuntimeError("spawn() may not be called from the thread that serves it")
    return _nursery().submit(_fork, list(command), dict(env) if env else None, cwd, log).result()


def _fork(
    command: list[str], env: dict[str, str] | None, cwd: Path | None, log: Path | None
) -> "subprocess.Popen[bytes]":
    target = log or Path(os.devnull)
    with target.open("ab") as output:
        return subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the only way to arm the signal before exec; libc is loaded already
        )


def stop(process: "subprocess.Popen[bytes]", patience: float = 3.0) -> None:
    """SIGTERM, then SIGKILL after `patience` seconds; returns once the child is gone."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
