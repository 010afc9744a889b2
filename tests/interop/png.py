"""PNG pictures as arrays, read and written with nothing but zlib. SPDX-License-Identifier: MIT"""

import struct
import zlib

import numpy as np

MAGIC = b"\x89PNG\r\n\x1a\n"


def _chunks(data):
    assert data[:8] == MAGIC, "not a PNG"
    at = 8
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        yield kind, data[at + 8:at + 8 + n]
        at += 12 + n


def _paeth(a, b, c):
    p = a + b - c
    da, db, dc = abs(p - a), abs(p - b), abs(p - c)
    return a if da <= db and da <= dc else b if db <= dc else c


def _unfilter(kind, line, above, size):
    """One line of bytes, by the five filters of the PNG specification."""
    if kind == 0:
        return line
    if kind == 2:
        return line + above
    if kind == 1:  # sums along the line, one for each channel
        return np.add.accumulate(line.reshape(-1, size), axis=0, dtype=np.uint8).reshape(-1)
    out, up = bytearray(line.tobytes()), above.tobytes()
    for i, x in enumerate(out):
        left, corner = (out[i - size], up[i - size]) if i >= size else (0, 0)
        guess = (left + up[i]) // 2 if kind == 3 else _paeth(left, up[i], corner)
        out[i] = (x + guess) & 255
    return np.frombuffer(bytes(out), np.uint8)


def read_png(path):
    """[height, width, 3 or 4] of 8-bit channels; what browsers write."""
    with open(path, "rb") as f:
        chunks = list(_chunks(f.read()))
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert depth == 8 and colour in (2, 6) and not interlaced, "an unusual PNG"
    size = 3 if colour == 2 else 4
    raw = zlib.decompress(b"".join(d for kind, d in chunks if kind == b"IDAT"))
    lines = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * size)
    out = np.zeros((height, width * size), np.uint8)
    above = out[0]
    for y in range(height):
        above = out[y] = _unfilter(lines[y, 0], lines[y, 1:], above, size)
    return out.reshape(height, width, size)


def write_png(path, pixels):
    height, width, size = pixels.shape

    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if size == 3 else 6, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    with open(path, "wb") as f:
        f.write(MAGIC + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 9)) +
                chunk(b"IEND", b""))
