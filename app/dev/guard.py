"""Runs one command that must not outlive the process that asked for it.

    python -I -S guard.py OWNER_PID STOP_SIGNAL GRACE_SECONDS USER_OR_DASH COMMAND…

The owner keeps the writing end of the guard's stdin. When it closes, or when the owner is gone, the command
gets the stop signal, after the grace SIGKILL, and the guard ends with the command's status. This works
however the owner ends, kill -9 included, on every POSIX system and for every starting thread.
PR_SET_PDEATHSIG alone is Linux only, fires when the starting *thread* ends, and is forgotten at a change of
user. Here it covers the one case left: the guard itself killed with -9.

Nothing but the standard library is imported, so that a guard starts in about 20 ms.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# How often to look for the owner in case something else (a forked worker) keeps the pipe open.
_OWNER_CHECK_SECONDS = 0.5


def _die_with_guard(stop_signal: int) -> Callable[[], None] | None:
    """What the command's process calls before exec; it runs after the change of user, which would undo it."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, stop_signal, 0, 0, 0)

    return before_exec


def _start(command: list[str], user: str, stop_signal: int) -> subprocess.Popen[bytes]:
    """The command as a child, as `user` ("-" is: no change). It inherits the lock the guard was given."""
    switch = {} if user == "-" else {"user": user, "group": user, "extra_groups": []}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command,
        stdin=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=_die_with_guard(stop_signal),  # noqa: PLW1509 (a guard has one thread)
        **switch,
    )


def _wait_for_end(child: subprocess.Popen[bytes], owner: int, woken: int) -> None:
    """Return when the command has ended, when its owner closed the pipe or is gone, or on a SIGTERM."""
    while child.poll() is None and os.getppid() == owner:
        ready, _, _ = select.select([sys.stdin.fileno(), woken], [], [], _OWNER_CHECK_SECONDS)
        if sys.stdin.fileno() in ready:
            return
        if woken in ready and signal.SIGTERM in os.read(woken, 64):
            return


def _stop(child: subprocess.Popen[bytes], stop_signal: int, grace: float) -> int:
    if child.poll() is None:
        child.send_signal(stop_signal)
    try:
        return child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def main(arguments: list[str]) -> int:
    """Run the command to its end; the answer is its exit status, as a shell would give it."""
    owner, stop_signal, grace, user, *command = arguments
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        child = _start(command, user, int(stop_signal))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot run {command[0]}: {error}", file=sys.stderr)
        return 127
    _wait_for_end(child, int(owner), woken)
    status = _stop(child, int(stop_signal), float(grace))
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
