# SPDX-License-Identifier: Apache-2.0
"""Every file format written event by event from its definition, with nothing of the readers' code or tables."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

Event = tuple[int, int, int, int]
"""t, x, y, p: microseconds, column from the left, row from above, 1 for ON."""


def aedat2_dvs128(events: Sequence[Event], chip: str = "# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n") -> bytes:
    body = b"".join(struct.pack(">II", (127 - y) << 8 | (127 - x) << 1 | (1 - p), t) for t, x, y, p in events)
    return f"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n{chip}".encode() + body


def aedat2_davis346(
    events: Sequence[Event], chip: str = "# AEChip: eu.seebetter.ini.chips.davis.Davis346B\r\n"
) -> bytes:
    body = b"".join(struct.pack(">II", (259 - y) << 22 | (345 - x) << 12 | p << 11, t) for t, x, y, p in events)
    return f"#!AER-DAT2.0\r\n{chip}#End Of ASCII Header\r\n".encode() + body


def aedat2_davis(events: Sequence[Event], sensor: tuple[int, int], header: str) -> bytes:
    """The layout of every DAVIS: rows from below, columns from the right of ``sensor`` ``(H, W)``."""
    height, width = sensor
    body = b"".join(
        struct.pack(">II", (height - 1 - y) << 22 | (width - 1 - x) << 12 | p << 11, t) for t, x, y, p in events
    )
    return f"#!AER-DAT2.0\r\n{header}\r\n#End Of ASCII Header\r\n".encode() + body


def aedat2_atis(events: Sequence[Event]) -> bytes:
    """Rows from below and columns from the left of 304x240 pixels."""
    body = b"".join(struct.pack(">II", (239 - y) << 10 | x << 1 | (1 - p), t) for t, x, y, p in events)
    return b"#!AER-DAT2.0\r\n# AEChip: at.ait.dss.sni.jaer.chip.atis.ATIS304\r\n" + body


def aedat3(events: Sequence[Event], packet: int = 2, source: int = 1, kind: int = 1) -> bytes:
    """Packets of a few events; each packet's overflow counter is that of its first event."""
    head = (
        b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-07-21 (TZ+0200)\r\n#!END-HEADER\r\n"
    )
    out = [head]
    groups: list[list[Event]] = []
    for event in events:
        if not groups or len(groups[-1]) == packet or groups[-1][0][0] >> 31 != event[0] >> 31:
            groups.append([])
        groups[-1].append(event)
    for group in groups:
        n = len(group)
        out.append(struct.pack("<HHIIIIII", kind, source, 8, 4, group[0][0] >> 31, n, n, n))
        out += [struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF) for t, x, y, p in group]
    return b"".join(out)


def flat_table(fields: Sequence[tuple[int, bytes | None]], identifier: bytes) -> bytes:
    """A FlatBuffer of one table. A field is (scalar bytes are stored inline) or, with a first item of 1, a vector."""
    slots: list[int] = []
    inline = b"\0\0\0\0"
    pending: list[tuple[int, bytes]] = []
    for is_vector, content in fields:
        if content is None:
            slots.append(0)
            continue
        size = 4 if is_vector else len(content)
        inline += b"\0" * (-len(inline) % size)
        slots.append(len(inline))
        if is_vector:
            pending.append((len(inline), content))
            inline += b"\0\0\0\0"
        else:
            inline += content
    vtable = struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), len(inline), *slots)
    vtable += b"\0" * (-(8 + len(vtable)) % 8)
    start = 8 + len(vtable)
    table = bytearray(inline)
    struct.pack_into("<i", table, 0, len(vtable))
    tail = b""
    for place, content in pending:
        tail += b"\0" * (-(start + len(table) + len(tail) + 4) % 8)
        struct.pack_into("<I", table, place, len(table) + len(tail) - place)
        count, raw = struct.unpack_from("<I", content)[0], content[4:]
        tail += struct.pack("<I", count) + raw
    return struct.pack("<I4s", start, identifier) + vtable + bytes(table) + tail


def sized(buffer: bytes) -> bytes:
    return struct.pack("<I", len(buffer)) + buffer


def aedat4_packet(events: Sequence[Event]) -> bytes:
    raw = b"".join(struct.pack("<qhhB3x", t, x, y, p) for t, x, y, p in events)
    return sized(flat_table([(1, struct.pack("<I", len(events)) + raw)], b"EVTS"))


INFO = """<dv version="2.0"><node name="outInfo"><node name="0"><attr key="typeIdentifier" type="string">EVTS</attr>
<node name="info"><attr key="sizeX" type="int">346</attr><attr key="sizeY" type="int">260</attr></node>
</node></node></dv>"""


def aedat4(
    events: Sequence[Event],
    packet: int = 2,
    compression: int = 0,
    pack: Callable[[bytes], bytes] = bytes,
    closed: bool = True,
    stream: int = 0,
) -> bytes:
    def header(table: int) -> bytes:
        info = struct.pack("<I", len(INFO)) + INFO.encode() + b"\0"
        fields = [(0, struct.pack("<i", compression)), (0, struct.pack("<q", table)), (1, info)]
        return b"#!AER-DAT4.0\r\n" + sized(flat_table(fields, b"IOHE"))

    bodies = [aedat4_packet(events[i : i + packet]) for i in range(0, len(events), packet)]
    bodies.insert(1, sized(flat_table([(0, struct.pack("<q", 5))], b"FRME")))
    packets = b"".join(struct.pack("<ii", stream, len(pack(body))) + pack(body) for body in bodies)
    start = len(header(0))
    table = sized(flat_table([(1, struct.pack("<I", 0))], b"FTAB"))
    return header(start + len(packets) if closed else -1) + packets + (pack(table) if closed else b"")


def evt2(events: Sequence[Event], head: str = "% evt 2.0\n% geometry 320x240\n% end\n") -> bytes:
    out, high = [head.encode()], -1
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            out.append(struct.pack("<I", 8 << 28 | high))
        out.append(struct.pack("<I", p << 28 | (t & 63) << 22 | x << 11 | y))
    return b"".join(out)


EVT3_HEAD = "% evt 3.0\n% format EVT3;height=240;width=320\n% geometry 320x240\n% end\n"


def evt3_words(*words: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<H", kind << 12 | value) for kind, value in words)


def evt3(events: Sequence[Event], head: str = EVT3_HEAD) -> bytes:
    out, time = [head.encode()], (-1, -1)
    for t, x, y, p in events:
        high, low = t >> 12 & 0xFFF, t & 0xFFF
        if high != time[0]:
            out.append(evt3_words((8, high)))
        if (high, low) != time:
            out.append(evt3_words((6, low)))
        time = high, low
        out.append(evt3_words((0, y), (2, p << 11 | x)))
    return b"".join(out)


DAT_HEAD = "% Data file containing CD events\n% Version 2\n% Width 320\n% Height 240\n"


def dat(events: Sequence[Event], head: str = DAT_HEAD, kind: int = 12) -> bytes:
    body = b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for t, x, y, p in events)
    return head.encode() + bytes([kind, 8]) + body


def event_stream(events: Sequence[Event], atis: bool = False) -> bytes:
    """Version 2.0, rows from below. An ATIS stream gets an exposure measurement before every event."""
    out, before = [b"Event Stream\x02\x00\x00", bytes([2 if atis else 1]), struct.pack("<HH", 320, 240)], 0
    longest = 63 if atis else 127
    for t, x, y, p in events:
        passed, before = t - before, t
        out.append(b"\xfc" if atis else b"\xfe")
        while atis and passed >= 2 * longest:
            out.append(b"\xfe")
            passed -= 2 * longest
        while passed >= longest:
            out.append(b"\xfd" if atis else b"\xff")
            passed -= longest
        if atis:
            out.append(struct.pack("<BHH", passed << 2 | 1, 9, 9))
            passed = 0
        out.append(struct.pack("<BHH", passed << 2 | p << 1 if atis else passed << 1 | p, x, 239 - y))
    return b"".join(out)


def nmnist(events: Sequence[Event]) -> bytes:
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for t, x, y, p in events)


def text(events: Sequence[Event]) -> bytes:
    return "".join(f"{t} {x} {y} {p}\n" for t, x, y, p in events).encode()
