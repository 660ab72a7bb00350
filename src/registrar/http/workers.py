"""Several processes that do the same: started, replaced when one is killed, stopped together."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

log = logging.getLogger("registrar")

_AGAIN_SECONDS = 1
_TOLD = (signal.SIGINT, signal.SIGTERM)


def supervise(
    count: int, work: Callable[[int], None], let_go: Callable[[], None] = lambda: None, *, hang_up: bool = False
) -> None:
    """Run `work` in so many processes until told to stop; each is then told, and waited for.

    A process that is killed or told to stop is replaced. One of the first that fails has found something that the others
    will find too. One that took another's place may have come while the database was gone, which the others outlast: it is
    replaced as well, after a moment.

    Args:
        count: how many processes.
        work: what each of them does, given its number from 0; it ends on SIGTERM. Who takes a place takes its number.
        let_go: ends the supervisor's hold on what they listen on, when they are told to stop: once none of them listens,
            who comes is to be refused, and not to wait for somebody who never takes the call. It may be called again.
        hang_up: whether SIGHUP means something to them; without, it ends all of them, as it does a single process.

    Raises:
        SystemExit: a worker failed, with its exit code.
    """
    supervisor = _Supervisor(work, let_go)
    for number in _TOLD:
        signal.signal(number, supervisor.stop)
    if hang_up:
        signal.signal(signal.SIGHUP, supervisor.pass_on)
    for place in range(count):
        supervisor.start(place)
    code = supervisor.wait()
    if code:
        sys.exit(code)
    log.info("all workers stopped")


class _Supervisor:
    def __init__(self, work: Callable[[int], None], let_go: Callable[[], None]) -> None:
        self._work, self._let_go = work, let_go
        self._workers: dict[int, int] = {}
        self._late: set[int] = set()
        """Those that took the place of another."""
        self._stopping = False
        # Nothing is ever written to it. That it closes tells the workers that the supervisor is gone, however that came.
        self._lifeline = os.pipe()

    def start(self, place: int, *, late: bool = False) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD)  # a worker that is not known yet would not be told
        if self._stopping:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TOLD)
            return
        if worker := os.fork():
            self._workers[worker] = place
            if late:
                self._late.add(worker)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TOLD)
            return
        code = 1
        try:
            for number in (*_TOLD, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TOLD)
            os.close(self._lifeline[1])
            threading.Thread(target=self._follow, daemon=True).start()
            code = _run(lambda: self._work(place))
        finally:
            os._exit(code)  # what the supervisor has yet to do is not the worker's to do

    def stop(self, number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
        del number, frame
        self._stopping = True
        self._let_go()
        for worker in self._workers:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(worker, signal.SIGTERM)

    def pass_on(self, number: int, frame: FrameType | None = None) -> None:
        """Tell every worker what the supervisor was told."""
        del frame
        for worker in self._workers:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(worker, number)

    def wait(self) -> int:
        """Until no worker is left; the exit code of the one that failed."""
        first = 0
        while self._workers:
            worker, status = os.wait()
            place, late = self._workers.pop(worker, 0), worker in self._late
            self._late.discard(worker)
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                first = first or max(code, 0)
            elif code > 0 and not late:
                log.error("worker %d failed with %d; the others are stopped", worker, code)
                first = code
                self.stop()
            elif code > 0:
                log.error("worker %d failed with %d; another takes its place in a second", worker, code)
                time.sleep(_AGAIN_SECONDS)
                self.start(place, late=True)
            else:
                log.error("worker %d was ended by signal %d; another takes its place", worker, -code)
                self.start(place, late=True)
        return first

    def _follow(self) -> None:
        os.read(self._lifeline[0], 1)
        os.kill(os.getpid(), signal.SIGTERM)


def _run(work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201 (as the interpreter does)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as problem:  # noqa: BLE001 (whatever it is, this process ends here)
        show = getattr(problem, "show", None)  # a refusal that the command line tells in one line
        if show is None:
            traceback.print_exc()
        else:
            show()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
