"""The work of the other tools, each call in a process of its own so that time and memory are its
alone. Prints the seconds of the call itself: the interpreter's start and imports are not counted
against a peer. SPDX-License-Identifier: MIT"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "interop"))

PIECE = 8 << 20


def copy(target, n_bytes, *sources):
    """What storage asks of any converter: reads every source byte, writes n_bytes, syncs."""
    buffer, left = bytearray(PIECE), int(n_bytes)
    with open(target, "wb", buffering=0) as out:
        for source in sources:
            with open(source, "rb", buffering=0) as f:
                while f.readinto(buffer):
                    if left:
                        left -= out.write(memoryview(buffer)[:left])
        while left > 0:
            left -= out.write(memoryview(buffer)[:left])
        os.fsync(out.fileno())


def llama(source, target, file_type, threads):
    import llama_runtime
    began = time.monotonic()
    llama_runtime.quantize(source, target, int(file_type), int(threads))
    return began


def mlx(source, target, bits, group):
    import mlx_runtime
    began = time.monotonic()
    mlx_runtime.convert(source, target, quantize=True, q_bits=int(bits), q_group_size=int(group))
    return began


def main(tool, *arguments):
    started = time.monotonic()
    began = {"copy": copy, "llama": llama, "mlx": mlx}[tool](*arguments)
    print(time.monotonic() - (began or started))


if __name__ == "__main__":
    main(*sys.argv[1:])
