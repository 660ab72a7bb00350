"""Commands that end with the process that started them, however that ends: after `kill -9` nobody is left to stop a server."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Final

_SETPRIV: Final = shutil.which("setpriv")  # of util-linux; where it is missing, servers outlive whoever is killed


def tied(*command: str | Path, by: str = "KILL") -> list[str]:
    """A command of which the first process is sent a signal once this process is gone (PR_SET_PDEATHSIG of Linux).

    Args:
        command: what is run; it keeps its process id, its signals and its output.
        by: the signal, without `SIG`. What has processes of its own has to look after them.

    Raises:
        RuntimeError: this is not the first thread. The system takes the end of the thread for that of the process.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a process that is tied to a thread would end with it: start it from the first one")
    return [*([_SETPRIV, "--pdeathsig", by, "--"] if _SETPRIV else []), *map(str, command)]
