from __future__ import annotations

import subprocess
import sys
import threading

from kilowait_agents.stopping import Exits, Stop


def test_a_wait_ends_when_a_process_that_is_followed_does_and_once() -> None:
    stop, exits = Stop(), Exits()
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    exits.follow({process.pid, 2**22 + 1})
    assert not stop.wait(0.01, exits)
    assert process.stdin is not None
    process.stdin.close()
    assert not stop.wait(30, exits), "it came back without having been told to stop"
    exits.follow({process.pid})
    assert not exits.files, "the driver may list a process that has ended; its end is told once"
    process.wait()
    exits.close()


def test_a_stop_from_another_thread_ends_a_wait_and_lasts() -> None:
    stop = Stop()
    threading.Timer(0.01, stop.set).start()
    assert stop.wait(30)
    assert stop.is_set()
    assert stop.wait(30)
