#!/usr/bin/env python3
"""Makes the files in bad/ from the photographs beside it: `python3 make_bad.py`."""

import pathlib
import random
import struct
import zlib

here = pathlib.Path(__file__).parent
bad = here / "bad"
bad.mkdir(exist_ok=True)


def chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


# As left by a download that broke off: one within its header, one within its picture.
(bad / "truncated.jpg").write_bytes((here / "rocket.jpg").read_bytes()[:200])
(bad / "truncated.png").write_bytes((here / "coffee.png").read_bytes()[:40_000])

# Not a picture at all. The seed makes it the same file each time.
(bad / "random.jpg").write_bytes(random.Random(1).randbytes(4_096))

# A decompression bomb: valid to the last checksum, but 10.8 GB when unpacked. The
# first 50 rows are there, so a decoder has every reason to begin.
side = 60_000
header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
rows = zlib.compress(bytes(50 * (1 + 3 * side)), 9)
(bad / "claims-60000x60000.png").write_bytes(
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
)
