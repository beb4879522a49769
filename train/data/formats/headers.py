# SPDX-License-Identifier: Apache-2.0
"""The text at the head of AEDAT and Prophesee files, and the sensors that it names."""

from __future__ import annotations

from spikefold.errors import DataError

SENSORS = {
    "dvs128": (128, 128),
    "davis128": (128, 128),
    "davis208": (192, 208),
    "davis240": (180, 240),
    "davis346": (260, 346),
    "davis640": (480, 640),
    "dvxplorer": (480, 640),
}
"""``(H, W)`` in pixels by the start of the camera's name; iniVation, "Supported devices"."""


def sensor_named(text: str) -> tuple[int, int] | None:
    """``(H, W)`` of the first known camera that a line of text names."""
    lowered = text.lower()
    return next((size for name, size in SENSORS.items() if name in lowered), None)


def text_lines(data: bytes, mark: bytes, last: bytes | None = None) -> tuple[list[str], int]:
    """The lines at the start of a file that begin with ``mark``, and the position of the first byte behind them.

    A line of anything but ASCII is data that happens to begin with the mark, so it ends the header; so does ``last``.

    Raises:
        DataError: the file ends inside a line of text.
    """
    lines: list[str] = []
    position = 0
    while data.startswith(mark, position):
        end = data.find(b"\n", position)
        line = data[position : end + 1 if end >= 0 else None]
        if not line.isascii() or b"\0" in line:
            break
        if end < 0:
            raise DataError("the header is cut short", hint="copy the file again")
        position = end + 1
        lines.append(line.decode("ascii").strip())
        if last is not None and line.strip().lower() == last:
            break
    return lines, position


def positive_size(height: str | None, width: str | None) -> tuple[int, int] | None:
    """``(H, W)`` from two numbers of a header, None where one is absent.

    Raises:
        DataError: they are no positive numbers.
    """
    if height is None or width is None:
        return None
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise DataError(f"the header's sensor is {width}x{height}", hint="width and height are positive numbers")
    return int(height), int(width)
