# SPDX-License-Identifier: Apache-2.0
"""Which sensor an AEDAT 2 file is of: by its header, by its addresses, or by the configuration."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from spikefold.errors import DataError
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import read
from tests.train.data.formats import format_writers as write
from tests.train.data.formats.format_cases import tuples

V2E = "# This is a raw AE data file created by AEDat2Output in v2e (see https://github.com/SensorsINI/v2e)"


def _corners(height: int, width: int) -> list[write.Event]:
    return [(0, 0, 0, 1), (10, width - 1, height - 1, 0), (20, 17, 33, 1), (30, 60, 40, 0)]


def _put(folder: Path, content: bytes) -> Path:
    (folder / "a.aedat").write_bytes(content)
    return folder / "a.aedat"


@pytest.mark.parametrize("header", [V2E, "# no chip"])
@pytest.mark.parametrize("sensor", [(180, 240), (260, 346)])
def test_an_unnamed_file_is_told_by_its_addresses_or_by_the_configuration(
    tmp_path: Path, header: str, sensor: tuple[int, int]
) -> None:
    events = _corners(*sensor)
    path = _put(tmp_path, write.aedat2_davis(events, sensor, header))
    (recording,) = read(path, Reading(sensor=sensor))
    assert (tuples(recording), recording.sensor) == (events, sensor)
    if sensor == (260, 346):  # its addresses fit no smaller one
        assert tuples(read(path)[0]) == events
        return
    with pytest.raises(
        DataError, match="names no chip, and the addresses fit several sensors: 240x180, 346x260"
    ) as e:
        read(path)
    assert "data.sensor" in e.value.hint


def test_an_unknown_chip_is_never_guessed(tmp_path: Path) -> None:
    events = _corners(128, 128)
    path = _put(tmp_path, write.aedat2_dvs128(events, "# AEChip: ch.unizh.ini.jaer.chip.cochlea.CochleaAMS1c\r\n"))
    with pytest.raises(DataError, match=r"unknown chip 'ch.unizh.ini.jaer.chip.cochlea.CochleaAMS1c'"):
        read(path)
    assert tuples(read(path, Reading(sensor=(128, 128)))[0]) == events


def test_a_configured_sensor_wins_over_the_header_before_anything_is_turned(tmp_path: Path) -> None:
    sensor = (200, 300)
    events = _corners(*sensor)
    path = _put(tmp_path, write.aedat2_davis(events, sensor, "# AEChip: eu.seebetter.ini.chips.davis.Davis346B"))
    (recording,) = read(path, Reading(sensor=sensor))
    assert (tuples(recording), recording.sensor) == (events, sensor)


@pytest.mark.parametrize("name", ["DavisRGBW640", "CDAVIS"])
@pytest.mark.parametrize("sensor", [(240, 320), (480, 640)])
def test_color_cameras_have_a_quarter_of_the_pixels_unless_addresses_lie_beyond(
    tmp_path: Path, name: str, sensor: tuple[int, int]
) -> None:
    events = _corners(*sensor)
    header = f"# AEChip: eu.seebetter.ini.chips.davis.{name}"
    (recording,) = read(_put(tmp_path, write.aedat2_davis(events, sensor, header)))
    assert (tuples(recording), recording.sensor) == (events, sensor)


def test_addresses_beyond_both_sold_cameras_are_of_the_large_one(tmp_path: Path) -> None:
    events = _corners(480, 640)
    (recording,) = read(_put(tmp_path, write.aedat2_davis(events, (480, 640), "# no chip")))
    assert (tuples(recording), recording.sensor) == (events, (480, 640))


def test_addresses_of_no_known_layout_are_refused(tmp_path: Path) -> None:
    content = b"#!AER-DAT2.0\r\n" + struct.pack(">IIII", 0x7FC003FF, 1, 0x7FFFF3FF, 2)
    for reading in (Reading(), Reading(sensor=(260, 346))):
        with pytest.raises(DataError):
            read(_put(tmp_path, content), reading)
