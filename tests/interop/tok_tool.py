"""The tokenizer of the library, driven record by record through tests/tools/tok_tool.c.
SPDX-License-Identifier: MIT"""

import json
import struct
import subprocess

import numpy as np

ENDS, PLAIN_SPECIAL = 1, 2  # PQ_ENCODE_*
SKIP_SPECIAL = 1            # PQ_DECODE_*


class TokTool:
    def __init__(self, program, source, n_vocab=0):
        self.command = [str(program), str(source), str(n_vocab)]

    def _run(self, mode, flags, records, item_in, item_out):
        sent = b"".join(struct.pack("<I", len(r) // item_in) + r for r in records)
        done = subprocess.run([*self.command, mode, str(flags)], input=sent, check=False,
                              capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        back, at = [], 0
        while at < len(done.stdout):
            size = struct.unpack_from("<I", done.stdout, at)[0] * item_out
            back.append(done.stdout[at + 4:at + 4 + size])
            at += 4 + size
        return back

    def encode(self, texts, flags=0):
        """One list of ids for each str or bytes."""
        sent = [t if isinstance(t, bytes) else t.encode() for t in texts]
        return [np.frombuffer(r, "<u4").tolist() for r in self._run("encode", flags, sent, 1, 4)]

    def decode(self, lists, flags=0, mode="decode"):
        """The bytes of each list of ids."""
        return self._run(mode, flags, [np.array(ids, "<u4").tobytes() for ids in lists], 4, 1)

    def stream(self, lists, flags=0):
        return self.decode(lists, flags, "stream")

    def chat(self, requests):
        """The text of each request (tok_tool.c says what it may have), or the error as a list of
        one."""
        back = self._run("chat", 0, [json.dumps(r).encode() for r in requests], 1, 1)
        return [r[1:].decode() if r[:1] == b"+" else [r[1:].decode()] for r in back]
