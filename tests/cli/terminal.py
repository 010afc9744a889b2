"""A program on a terminal of its own: keys go in, and what the screen gets is waited for.
SPDX-License-Identifier: MIT"""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

LIMIT = 60  # seconds; a busy machine is slow
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>78]|\x07")


class Terminal:
    """Standard input, output and error are the terminal."""

    def __init__(self, command, env):
        self.master, slave = pty.openpty()
        self.seen, self.begin = b"", 0
        self.child = subprocess.Popen([str(x) for x in command], stdin=slave, stdout=slave,
                                      stderr=slave, start_new_session=True,
                                      preexec_fn=lambda: _own_terminal(slave), env=env)
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.master)

    def keys(self, text):
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def _more(self, seconds):
        """Reads what has come; False when nothing comes any more."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self.master, 4096)
        except OSError:  # the other side is closed
            return False
        self.seen += piece
        return bool(piece)

    def text(self):
        """What came since the words that were last waited for, without control sequences."""
        return _CONTROL.sub(b"", self.seen).decode("utf-8", "replace")[self.begin:]

    def wait_for(self, words):
        """What came up to these words; later calls look behind them."""
        limit = time.monotonic() + LIMIT
        while words not in self.text():
            if time.monotonic() > limit or not self._more(0.1):
                raise AssertionError(f"waited for {words!r}, got {self.text()!r}")
        text = self.text()
        end = text.index(words) + len(words)
        self.begin += end
        return text[:end]

    def wait_for_prompt(self, words):
        """The same, and until the editor has the terminal: it shows its prompt a moment before."""
        said, limit = self.wait_for(words), time.monotonic() + LIMIT
        while termios.tcgetattr(self.master)[3] & termios.ICANON:
            if time.monotonic() > limit:
                raise AssertionError("the terminal gives whole lines only: no editor")
            time.sleep(0.001)
        return said

    def close(self):
        """Waits for the end; the exit status."""
        end = time.monotonic() + LIMIT
        while self._more(0.1) and time.monotonic() < end:
            pass
        return self.child.wait(LIMIT)


def _own_terminal(slave):
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
