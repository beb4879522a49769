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
    # their events come from one pixel in four of the 640x480 that take images (libcaer, davis.c)
    "davisrgb": (240, 320),
    "davishet640": (240, 320),
    "dvxplorer_mini": (480, 640),
    "dvxplorer_lite": (240, 320),
    "dvxplorer": (480, 640),
}
"""``(H, W)`` in pixels by the start of the camera's name, longer names first; iniVation, "Supported devices"."""
_DIGITS = 9
"""Most digits of a number in a header; Python refuses to read thousands of them."""
_MOST_LINE = 1 << 16
"""Most bytes of a line of a header."""


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
        end = data.find(b"\n", position, position + _MOST_LINE)
        line = data[position : end + 1 if end >= 0 else position + _MOST_LINE]
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
        DataError: they are no positive numbers, or numbers of very many digits.
    """
    if height is None or width is None:
        return None
    short = [text if len(text) <= _DIGITS else f"{text[:_DIGITS]}..." for text in (width, height)]
    whole = all(text.isascii() and text.isdecimal() and len(text) <= _DIGITS for text in (width, height))
    if not whole or not int(height) or not int(width):
        what = f"the header's sensor is {'x'.join(short)}"
        raise DataError(what, hint=f"width and height are positive numbers of at most {_DIGITS} digits")
    return int(height), int(width)
