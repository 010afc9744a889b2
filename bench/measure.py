"""Runs one program and says what it cost: seconds, processor seconds, peak memory in all and
without the pages of mapped files. SPDX-License-Identifier: MIT"""

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass

SAMPLE_SECONDS = 0.02


@dataclass
class Cost:
    seconds: float      # wall time of the process
    cpu: float          # user + system
    peak: int           # bytes resident, mapped pages included
    peak_private: int   # bytes resident beyond mapped files, sampled 50 times a second
    output: str         # what it printed


def _private(pid):
    """RssAnon + RssShmem of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as f:
            kib = re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", f.read(), re.M)
    except OSError:
        return 0
    return 1024 * sum(map(int, kib))


class _Sampler(threading.Thread):
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.done = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, _private(self.pid))


def measure(command):
    began = time.monotonic()
    child = subprocess.Popen([str(x) for x in command], stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sampler = _Sampler(child.pid)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    sampler.done.set()
    sampler.join()
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\nexit {child.returncode}\n{output}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, sampler.peak,
                output)
