# SPDX-License-Identifier: Apache-2.0
"""The budget of a chip as tables in Markdown. Estimates are in italics, rates on an estimated placement too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = tuple[str, ...]
NOMINAL = "Bins hold equally many events: rates and powers are those of steps of nominal length."


def chip_markdown(name: str, chip: dict[str, Any]) -> Iterator[str]:
    """Parts of the text: power, cores, time of a step, and what is unknown.

    Args:
        name: of the network.
        chip: ``ChipBudget.to_json()``.
    """
    yield f"### {cell(name)} on {cell(chip['title'])}\n"
    if chip["nominal_dt"]:
        yield f"{NOMINAL}\n"
    if chip["power"] is not None:
        yield _power(chip["power"])
    yield _cores(chip)
    if chip["step_time"] is not None:
        yield _step(chip["step_time"])
    if chip.get("system_track"):
        yield _system_track(chip["system_track"])
    if chip["beside"] is not None:
        yield f"For comparison, in no number of {chip['chip']}: {cell(chip['beside']['label'])}.\n"
        yield _power(chip["beside"]["power"])
        if chip["beside"]["step_time"] is not None:
            yield _step(chip["beside"]["step_time"])
    if chip["unknown"]:
        yield "".join(f"- unknown: {', '.join(keys)}. {cell(why)}.\n" for why, keys in by_reason(chip["unknown"]))


def by_reason(unknown: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Reasons with the numbers that are unknown for them."""
    return [(why, [key for key, one in unknown.items() if one == why]) for why in dict.fromkeys(unknown.values())]


def table(header: Row, rows: list[Row]) -> str:
    """A table, its first column to the left."""
    align = ("---", *["---:"] * (len(header) - 1))
    return "".join(f"| {' | '.join(cell(one) for one in row)} |\n" for row in (header, align, *rows))


def cell(text: str) -> str:
    """Text that breaks no table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _power(power: dict[str, Any]) -> str:
    def total(name: str, energy: float | None, band: list[float] | None) -> Row:
        return (name, "", "", _estimate(energy), _band(*(band or (None, None))), "")

    bands, rate = power["bands_uj"], power["break_even_synops_per_s"]
    rows = [
        *map(_term, power["static"]),
        *map(_term, power["running"]),
        *map(_term, power["dynamic"]),
        total("sum at rest", power["static_uj"], bands["static"]),
        total("sum of events", power["dynamic_uj"], bands["dynamic"]),
        total("chip", power["total_uj"], bands["total"]),
        *(_term(one | {"name": f"sensor, in no sum: {one['name']}"}) for one in power["sensor"]),
    ]
    header = ("part", "a clip", "constant", "estimate, uJ / clip", "low to high", "written in")
    return (
        f"{cell(power['title'])}: on for {power['on_s']:.4g} s a clip, {_estimate(power['power_mw'])} mW. Events "
        f"cost what rest costs at {_estimate(power['break_even'])} times these, or {_estimate(rate)} SynOps/s.\n\n"
        f"{table(header, rows)}\nNot priced: {cell('; '.join(power['not_priced'])) or 'nothing'}.\n"
    )


def _term(term: dict[str, Any]) -> Row:
    price = term["price"]
    unit = {"pJ": "", "mW": " s"}.get(price["unit"], " s MHz")
    amount = f"{term['per_clip']:,.4f}{unit}" if unit else f"{term['per_clip']:,.1f}"
    band = "none published" if price["low"] == price["high"] else _band(term["low_uj"], term["high_uj"])
    if price["evidence"] == "bounded":
        band += " (bounded by the measured power of whole networks, not measured by operation)"
    return (term["name"], amount, _constant(price), _estimate(term["energy_uj"]), band, term["where"])


def _constant(price: dict[str, Any]) -> str:
    value = price["value"]
    return f"{value if isinstance(value, str) else f'{value:.6g}'} {price['unit']}"


def _cores(chip: dict[str, Any]) -> str:
    mark = "*" if chip["estimate"] else ""
    rows: list[Row] = [
        (
            core["layer"],
            f"{mark}{core['cores']}{mark}" + f" ({_numbers(core['numbers'])})" * bool(core["numbers"]),
            f"{mark}{core['mean_per_s']:,.0f}{mark}",
            f"{mark}{core['peak_per_s']:,.0f}{mark}",
            "unknown" if core["limit_per_s"] is None else f"{core['limit_per_s']:,.0f}",
            "" if core["smallest_dt_us"] is None else f"{core['smallest_dt_us']:,}",
            core["light"],
            core["advice"],
        )
        for core in chip["cores"]
    ]
    header: Row = (
        "layer",
        "cores",
        "busiest core, mean SynOps/s",
        "peak SynOps/s",
        "limit",
        "smallest step, us",
        "light",
        "to do",
    )
    if not chip["event_driven"]:  # no limit of a core: a busy one makes the step longer
        header, rows = header[:4], [row[:4] for row in rows]
    return table(header, rows)


def _numbers(cores: list[int]) -> str:
    return "core " + ", ".join(map(str, cores))


def _step(step: dict[str, Any]) -> str:
    (low, high), (peak_low, peak_high) = step["mean_us"], step["peak_us"]
    return (
        f"A step takes at least *{low:,.2f} to {high:,.2f}* us, the busiest *{peak_low:,.2f} to {peak_high:,.2f}* us "
        f"({cell(step['layer'])}), of {step['dt_us']:,.0f} us: {step['light']} ({', '.join(step['where'])}).\n"
    )


def _system_track(track: dict[str, Any]) -> str:
    """NeuroBench's report form, marked where it is an estimate."""

    def between(name: str) -> str:
        return "*unknown*" if track[name] is None else _band(*track[name])

    header = ("NeuroBench's form", "idle, mW", "active, mW", "dynamic, mW", "execution, ms", "dynamic energy, mJ")
    names = ("idle_mw", "active_mw", "dynamic_mw")
    time = f"{track['execution_time_ms']:,.3f}"
    kind = "estimate" if track["estimated"] else "measured"
    row = (f"{track['system']} ({kind})", *map(between, names), time, between("dynamic_energy_mj"))
    return f"{table(header, [row])}\nPre-processing: {cell(track['pre_processing'])}.\n"


def _estimate(value: float | None) -> str:
    return "*unknown*" if value is None else f"*{value:,.3f}*"


def _band(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"*{low:,.3f} to {high:,.3f}*"
