# SPDX-License-Identifier: Apache-2.0
"""The sensors that jAER writes AEDAT 2 for: how their addresses are laid out, and how a file's sensor is told.

Source: the event extractors of jAER (https://github.com/SensorsINI/jaer; ``DVS128``, ``Tmpdiff128``,
``DavisBaseCamera``, ``DavisChip``, ``ATIS304``, and the chip classes beside them for the sizes).

- DVS128, Tmpdiff128: y bits 14-8, x bits 7-1 from the right, polarity bit 0, clear for ON (``type = (1 - addr) & 1``;
  iniVation's page on AEDAT 2 says the opposite, files were written for jAER); bit 15 and above mark what is no pixel.
- DAVIS: bit 31 set for what is no DVS event (frames, inertial samples); y bits 30-22, x bits 21-12 from the right,
  polarity bit 11, set for ON; bit 10 marks an external input; the lower ten bits are clear.
- ATIS304: y bits 17-10, x bits 9-1 from the left, polarity bit 0, clear for ON.

All count rows from below, as jAER draws them. v2e writes the DAVIS's layout for 346x260 and 240x180 and names no chip
(https://github.com/SensorsINI/v2e, ``aedat2_output.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikefold.errors import DataError

Size = tuple[int, int]


class Layout(NamedTuple):
    """Where an address keeps its fields."""

    no_pixel: int
    """Bits that are set for what is no DVS event."""
    unused: int
    """Bits that are clear in every DVS event."""
    y_shift: int
    y_bits: int
    x_shift: int
    x_bits: int
    polarity_shift: int
    on: int
    from_right: bool

    def fields(self, address: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and polarity as the addresses have them."""
        x = (address >> self.x_shift) & ((1 << self.x_bits) - 1)
        y = (address >> self.y_shift) & ((1 << self.y_bits) - 1)
        p = ((address >> self.polarity_shift) & 1) == self.on
        return x, y, p.astype(np.uint8)

    def pixels(self, address: np.ndarray) -> np.ndarray:
        """Which addresses are DVS events."""
        return (address & self.no_pixel) == 0


DVS128 = Layout(0xFFFF8000, 0, 8, 7, 1, 7, 0, 0, True)
DAVIS = Layout(0x80000400, 0x3FF, 22, 9, 12, 10, 11, 1, True)
ATIS = Layout(0xFFFC0000, 0, 10, 8, 1, 9, 0, 0, False)


class _Kind(NamedTuple):
    """Sensors of one layout that a name can mean: the smallest that holds the addresses is meant."""

    layout: Layout
    sizes: tuple[Size, ...]


_NAMED = {
    "tmpdiff128": _Kind(DVS128, ((128, 128),)),
    "dvs128": _Kind(DVS128, ((128, 128),)),
    "atis": _Kind(ATIS, ((240, 304),)),
    "sbret": _Kind(DAVIS, ((180, 240),)),
    "dvs240": _Kind(DAVIS, ((180, 240),)),
    # events from one pixel in four of the 640x480 that take images, unless a file has addresses beyond
    "rgbw640": _Kind(DAVIS, ((240, 320), (480, 640))),
    "cdavis": _Kind(DAVIS, ((240, 320), (480, 640))),
    "davis128": _Kind(DAVIS, ((128, 128),)),
    "davis192": _Kind(DAVIS, ((192, 208),)),
    "davis208": _Kind(DAVIS, ((192, 208),)),
    "davis240": _Kind(DAVIS, ((180, 240),)),
    "davis320": _Kind(DAVIS, ((240, 320),)),
    "davis346": _Kind(DAVIS, ((260, 346),)),
    "davis640": _Kind(DAVIS, ((480, 640),)),
}
"""By what the name of a chip contains, lower case; the first that fits."""
_SOLD = ((180, 240), (260, 346))
"""Sizes of the DAVIS that were sold, and that v2e writes."""
_LARGEST = (480, 640)
_UNNAMED = ((DVS128, ((128, 128),)), (DAVIS, _SOLD), (ATIS, ((240, 304),)))
"""What a file that names no chip can be of; jAER names the rare ones."""


def chip_of(lines: list[str], address: np.ndarray, sensor: Size | None) -> tuple[Layout, Size]:
    """How a file's addresses are laid out, and the size of its sensor.

    Args:
        lines: of the header.
        address: ``(N,)`` of all that the file holds.
        sensor: ``(H, W)`` that was configured, and wins.

    Raises:
        DataError: neither the header nor the addresses nor the configuration tells it.
    """
    chip = next((line.partition(":")[2].strip() for line in lines if "aechip" in line.lower()), "")
    # a cochlea beside a camera has addresses of its own
    known = {} if "cochlea" in chip.lower() else _NAMED
    kind = next((kind for name, kind in known.items() if name in chip.lower()), None)
    if kind is not None:
        fitting = [size for size in kind.sizes if _fits(kind.layout, size, address)]
        return kind.layout, sensor or (fitting or list(kind.sizes))[0]
    layouts = [(DAVIS, _SOLD)] if any("v2e" in line for line in lines) else _UNNAMED
    possible = [(layout, size) for layout, sizes in layouts for size in sizes if _fits(layout, size, address)]
    if not possible and _fits(DAVIS, _LARGEST, address):
        possible = [(DAVIS, _LARGEST)]
    if sensor is not None:
        return _for_sensor(sensor, possible, address), sensor
    # a name that nobody knows may be of anything: it is not told from addresses alone
    if len(possible) == 1 and not chip:
        return possible[0]
    said = f"the header names the unknown chip {chip[:80]!r}" if chip else "the header names no chip"
    sizes = ", ".join(sorted({f"{width}x{height}" for _, (height, width) in possible})) or "none that is known"
    raise DataError(
        f"{said}, and the addresses fit several sensors: {sizes}"
        if len(possible) > 1
        else f"{said}; of the known sensors its addresses fit {sizes}",
        hint="say the size, data.sensor = [height, width]",
    )


def _for_sensor(sensor: Size, possible: list[tuple[Layout, Size]], address: np.ndarray) -> Layout:
    """The layout of an unnamed file whose sensor was configured: of exactly that size, else any that fits.

    Raises:
        DataError: none does, or several do.
    """
    candidates = {layout for layout, size in possible if size == sensor} or {layout for layout, _ in possible}
    if len(candidates) > 1:
        candidates = {layout for layout in candidates if _fits(layout, sensor, address)}
    if len(candidates) == 1:
        return candidates.pop()
    height, width = sensor
    what = f"the addresses fit {len(candidates)} layouts of sensors of {width}x{height} pixels"
    raise DataError(what, hint="check data.sensor, or write the recording again with jAER, which names the chip")


def _fits(layout: Layout, size: Size, address: np.ndarray) -> bool:
    """Whether every DVS event lies on a sensor of that size, and there is one."""
    events = address[layout.pixels(address)]
    if layout is not DAVIS and np.any(address[~layout.pixels(address)] & 0x7FFF0000):
        return False  # special events of the small chips have no bits there
    if not len(events) or np.any(events & layout.unused):
        return False
    x, y, _ = layout.fields(events)
    return bool(x.max() < size[1] and y.max() < size[0])
