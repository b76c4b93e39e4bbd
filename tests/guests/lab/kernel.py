"""The kernel, unpacked on the host.

Under emulation a *second* boot unpacks its kernel over pages that the first one ran code from: each
store there invalidates translated code, and a reset takes 15 s instead of 5. QEMU loads an unpacked
kernel by itself, at once. It does so again when a guest wakes up, over the sleeping kernel's data:
guests that are to be suspended get the packed one.
"""

from __future__ import annotations

import ctypes
import gzip
import lzma
import struct
from collections.abc import Iterator

_ELF = b"\x7fELF"


def unpacked(image: bytes) -> bytes | None:
    """The ELF inside a bzImage; None if it can't be had, the image boots as it is then.

    Places and magic numbers are those of the x86 boot protocol.
    """
    sectors = image[0x1F1] or 4
    start = (sectors + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[start + offset : start + offset + length]
    try:
        kernel = _unpack(payload)
    except (OSError, EOFError, IndexError, lzma.LZMAError):
        return None
    return kernel if kernel.startswith(_ELF) else None


def _unpack(payload: bytes) -> bytes:
    """Unpack by magic number; empty for a method that the standard library lacks."""
    if payload.startswith(b"\x02\x21\x4c\x18"):
        return b"".join(unpack_block(block) for block in _blocks(payload))
    if payload.startswith(b"\x1f\x8b"):
        return gzip.decompress(payload[:-4])
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(payload)
    return b""


def _zstd(payload: bytes) -> bytes:
    """Unpack with the library that dpkg itself needs; Python has none of its own before 3.14.

    Raises:
        OSError: this machine has no such library.
    """
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
    library.ZSTD_decompress.restype = ctypes.c_size_t
    packed = library.ZSTD_findFrameCompressedSize(payload, ctypes.c_size_t(len(payload)))
    # The kernel's build appends its size.
    (size,) = struct.unpack_from("<I", payload, len(payload) - 4)
    kernel = ctypes.create_string_buffer(size)
    length = library.ZSTD_decompress(
        kernel, ctypes.c_size_t(size), payload, ctypes.c_size_t(packed)
    )
    return kernel.raw if length == size else b""


def _blocks(payload: bytes) -> Iterator[bytes]:
    """The blocks of LZ4's legacy frame; the kernel's size, appended by its build, ends them."""
    place = 4
    while place + 4 <= len(payload):
        (size,) = struct.unpack_from("<I", payload, place)
        place += 4
        if place + size > len(payload):
            return
        yield payload[place : place + size]
        place += size


def unpack_block(block: bytes) -> bytes:
    """Unpack one LZ4 block: literals, then a copy from what was unpacked, again and again."""
    out = bytearray()
    place = 0
    while True:
        token = block[place]
        count, place = _length(block, place + 1, token >> 4)
        out += block[place : place + count]
        place += count
        if place >= len(block):
            return bytes(out)
        back = block[place] | block[place + 1] << 8
        count, place = _length(block, place + 2, token & 15)
        count += 4
        piece = out[-back:] if count >= back else out[-back : len(out) - back + count]
        out += (piece * (count // back + 1))[:count]


def _length(block: bytes, place: int, count: int) -> tuple[int, int]:
    """A length that goes on in further bytes if its four bits are full, and where it ends."""
    if count == 15:
        while True:
            more = block[place]
            place += 1
            count += more
            if more != 255:
                break
    return count, place
