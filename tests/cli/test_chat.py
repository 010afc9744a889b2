"""phiq chat on a terminal: editing, history, several lines, Ctrl-C and Ctrl-D.
SPDX-License-Identifier: MIT

Environment: PQ_PHIQ names the program."""

import json
import os
import pathlib
import shutil
import stat
import tempfile
import time
import unittest

from terminal import Terminal

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHIQ = os.environ["PQ_PHIQ"]
SAMPLE = ROOT / "models" / "phiq-sample"
LEFT, UP, RUBOUT, CTRL_C, CTRL_D = "\x1b[D", "\x1b[A", "\x7f", "\x03", "\x04"


class Chat(unittest.TestCase):
    def setUp(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="phiq-chat-"))
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)
        self.history = self.tmp / "state" / "phiq" / "chat_history"

    def chat(self, *options):
        env = {"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": str(self.tmp),
               "XDG_STATE_HOME": str(self.tmp / "state")}
        t = Terminal([PHIQ, "chat", SAMPLE, "-n", 6, *options], env)
        t.wait_for_prompt("> ")
        return t

    def say(self, t, keys):
        """The answer, up to the next prompt."""
        t.keys(keys + "\n")
        t.wait_for("\n")
        return t.wait_for_prompt("> ")

    def saved(self, t):
        """The messages of the user so far."""
        path = self.tmp / "talk.json"
        self.say(t, f"/save {path}")
        return [m["content"] for m in json.loads(path.read_text())["messages"]
                if m["role"] == "user"]

    def leave(self, t):
        t.keys(CTRL_D)
        self.assertEqual(t.close(), 0)

    def test_editing(self):
        with self.chat() as t:
            self.say(t, "Hällo wörld" + 2 * LEFT + RUBOUT + "ß")
            self.say(t, "日本" + LEFT + "\U0001f600")
            self.assertEqual(self.saved(t), ["Hällo wößld", "日\U0001f600本"])
            self.leave(t)

    def test_several_lines(self):
        with self.chat() as t:
            t.keys("one\\\n")
            t.wait_for_prompt("\n. ")
            self.say(t, "two")
            t.keys('"""three\n')
            t.wait_for_prompt("\n. ")
            t.keys("\n")
            t.wait_for_prompt("\n. ")
            self.say(t, '/four"""')
            self.say(t, '"""five"""')
            self.assertEqual(self.saved(t), ["one\ntwo", "three\n\n/four", "five"])
            self.leave(t)

    def test_history_is_kept_for_the_next_session(self):
        with self.chat() as t:
            self.say(t, "/system Über")
            self.say(t, "first words")
            self.leave(t)
        self.assertEqual(stat.S_IMODE(self.history.stat().st_mode), 0o600)
        with self.chat() as t:
            self.say(t, UP + UP + "all")  # the older one
            self.say(t, UP + UP)
            self.assertEqual(self.saved(t), ["first words"])
            self.leave(t)
        self.assertEqual(self.history.read_text().splitlines()[:4],
                         ["/system Über", "first words", "/system Überall", "first words"])

    def test_history_can_be_left_out(self):
        with self.chat("--no-history") as t:
            self.say(t, "secret")
            self.leave(t)
        self.assertFalse(self.history.exists())

    def test_history_that_cannot_be_kept_is_said(self):
        (self.tmp / "state").write_text("a file where a folder should be")
        with self.chat() as t:
            self.say(t, "Hello")
            self.assertEqual(self.saved(t), ["Hello"])
            self.leave(t)
            self.assertIn(b"what you type is not kept", t.seen)

    def test_long_history_is_cut(self):
        self.history.parent.mkdir(parents=True)
        self.history.write_text("".join(f"line {i}\n" for i in range(100000)))
        with self.chat() as t:
            self.say(t, UP)
            self.assertEqual(self.saved(t), ["line 99999"])
            self.leave(t)
        self.assertLess(self.history.stat().st_size, 600000)

    def test_interrupt_ends_an_answer_and_not_the_program(self):
        with self.chat("-n", 100000, "--temperature", 1, "--stop", "never") as t:
            for _ in range(2):
                t.keys("Tell me a long story\n")
                t.wait_for("\n")
                time.sleep(0.1)  # some words
                t.keys(CTRL_C)
                t.wait_for("(cancelled)")
                t.wait_for_prompt("> ")
            self.assertEqual(len(self.saved(t)), 2)
            self.leave(t)

    def test_interrupt_drops_what_is_typed(self):
        with self.chat() as t:
            for keys in ("abc", "", "def"):
                t.keys(keys + CTRL_C)
                t.wait_for("^C")
                t.wait_for_prompt("> ")
            t.keys("one\\\n")
            t.wait_for_prompt("\n. ")
            t.keys("two" + CTRL_C)
            t.wait_for_prompt("> ")
            self.say(t, "three")
            self.assertEqual(self.saved(t), ["three"])
            self.leave(t)

    def test_load(self):
        with self.chat() as t:
            self.say(t, "Once")
            self.assertEqual(self.saved(t), ["Once"])
            self.say(t, "/reset")
            self.say(t, "Twice")
            self.assertIn("no list", self.say(t, "/load {}"))
            self.assertIn("cannot open", self.say(t, f"/load {self.tmp}/none"))
            self.assertEqual(self.saved(t), ["Twice"])
            (self.tmp / "other.json").write_text((self.tmp / "talk.json").read_text()
                                                 .replace("Twice", "Thrice"))
            self.say(t, f"/load {self.tmp}/other.json")
            self.say(t, "More")
            self.assertEqual(self.saved(t), ["Thrice", "More"])
            t.keys("/quit\n")
            self.assertEqual(t.close(), 0)


if __name__ == "__main__":
    unittest.main()
