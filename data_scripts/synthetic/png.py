"""A PNG writer whose bytes depend on the pixels alone.

What zlib makes of the same pixels differs between its versions and forks, so a checksum of a
compressed file would hold on some machines only. This writer takes the "average" filter of PNG and
one dynamic Huffman block of DEFLATE without matches (RFC 1951, 3.2.7): on noisy pictures matches
gain nothing, and the code stays short. CRC-32 and Adler-32 come from zlib, where they are defined.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from typing import cast

import numpy as np
from numpy.typing import NDArray

_END = 256  # the symbol that ends a block
_LONGEST = 15  # bits of the longest code that DEFLATE allows


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """The PNG file of an image.

    Args:
        pixels: (H, W) grey or (H, W, 3) RGB, uint8.
    """
    height, width = pixels.shape[:2]
    colour = {2: 0, 3: 2}[pixels.ndim]
    values = pixels.reshape(height, -1)
    left, above = np.zeros_like(values), np.zeros_like(values)
    step = values.shape[1] // width
    left[:, step:], above[1:] = values[:, :-step], values[:-1]
    rows = np.empty((height, 1 + values.shape[1]), np.uint8)
    rows[:, 0] = 3  # the filter type "average"
    # The mean of two bytes in bytes: what they share, and half of what they do not.
    np.subtract(values, (left & above) + ((left ^ above) >> 1), out=rows[:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _compress(rows.reshape(-1))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _compress(data: NDArray[np.uint8]) -> bytes:
    counts = np.bincount(data, minlength=_END + 1)
    counts[_END] = 1
    lengths = _code_lengths(counts)
    codes = _canonical_codes(lengths)
    # The lengths of 257 literal codes and one unused distance code are told with a code of 16
    # symbols of 4 bits each, whose own lengths come first, in the order RFC 1951 sets.
    told = np.append(lengths, 0)
    nibble = _canonical_codes(np.full(16, 4))
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
    head = [(1, 1), (2, 2), (0, 5), (0, 5), (len(order) - 4, 4)]
    head += [(4 if symbol < 16 else 0, 3) for symbol in order]
    bits = [np.array([value for value, _ in head]), nibble[told], codes.take(data), codes[[_END]]]
    widths = [
        np.array([width for _, width in head]),
        np.full(len(told), 4),
        lengths.take(data),
        lengths[[_END]],
    ]
    block = _pack(np.concatenate(bits), np.concatenate(widths))
    return b"\x78\x01" + block + struct.pack(">I", zlib.adler32(data.tobytes()))


def _code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Huffman code lengths of at most 15 bits; 0 for symbols that do not occur."""
    while True:
        heap = [(int(count), symbol) for symbol, count in enumerate(counts) if count]
        heapq.heapify(heap)
        parents: dict[int, int] = {}
        node = len(counts)
        while len(heap) > 1:
            (a, left), (b, right) = heapq.heappop(heap), heapq.heappop(heap)
            parents[left] = parents[right] = node
            heapq.heappush(heap, (a + b, node))
            node += 1
        depth = {node - 1: 0}
        for child in sorted(parents, reverse=True):
            depth[child] = depth[parents[child]] + 1
        lengths = np.array([depth.get(s, 0) for s in range(len(counts))])
        if lengths.max() <= _LONGEST:
            return lengths
        counts = (counts + 1) // 2  # flattens the tree


def _canonical_codes(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The code of each symbol, its first bit lowest, as DEFLATE packs it."""
    codes = np.zeros(len(lengths), np.int64)
    code = previous = 0
    for symbol in np.lexsort((np.arange(len(lengths)), lengths)):
        length = int(lengths[symbol])
        if length:
            code <<= length - previous
            codes[symbol] = int(f"{code:0{length}b}"[::-1], 2)
            code, previous = code + 1, length
    return codes


def _pack(values: NDArray[np.int64], widths: NDArray[np.int64]) -> bytes:
    """Join bit strings of up to 15 bits, lowest bit first."""
    ends = np.cumsum(widths)
    starts = ends - widths
    shifted = values.astype(np.uint64) << (starts & 31).astype(np.uint64)
    word = starts >> 5
    # Each 32-bit word begins at least one code, so the groups are words 0, 1, 2, ...
    first = np.append(0, 1 + np.flatnonzero(word[1:] != word[:-1]))
    sums = np.add.reduceat(shifted, first)
    words = np.zeros(len(sums) + 1, np.uint64)
    words[:-1] = sums & np.uint64(0xFFFFFFFF)
    words[1:] |= sums >> np.uint64(32)
    return cast(bytes, words.astype("<u4").tobytes())[: (int(ends[-1]) + 7) // 8]
