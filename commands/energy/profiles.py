# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy profiles``: the technology profiles, and every number of one with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikefold.energy.prices.technology import Number, Price, TechnologyProfile
    from spikefold.hardware.chip import Table


def profiles(
    name: Annotated[str | None, typer.Argument(help="A profile, or FILE.toml of your own.")] = None,
    as_json: Json = False,
) -> None:
    """List the technology profiles; with a name, every number with band, kind, evidence, coverage and source.

    For example: spikefold energy profiles speck
    """
    with guarded():
        from spikefold.energy.prices.load import load_profile, profile_names

        if name is None:
            found = [load_profile(one) for one in profile_names()]
            if as_json:
                say_json([one.model_dump(mode="json") for one in found])
                return
            show(_overview(found))
            return
        profile = load_profile(name)
        if as_json:
            say_json(profile.model_dump(mode="json"))
            return
        show(_details(profile))
        typer.echo(f"source of the profile: {profile.source}")


def _overview(found: Iterable[TechnologyProfile]) -> Table:
    from spikefold.hardware.chip import Table

    rows = tuple(
        (
            one.name,
            _kinds(one),
            _known(one.node_nm),
            _with_ends(one.energy_pj.mac),
            _with_ends(one.energy_pj.ac),
            one.title,
        )
        for one in found
    )
    return Table("Technology profiles", ("profile", "kind", "nm", "E_MAC, pJ", "E_AC, pJ", "what"), rows)


def _details(profile: TechnologyProfile) -> Table:
    from spikefold.hardware.chip import Table

    columns = ("number", "value", "band", "unit", "kind", "evidence", "nm, V", "covers", "line", "source")
    rows = tuple(
        (
            name,
            _amount(price),
            _band(price),
            price.unit,
            price.kind,
            price.evidence,
            f"{_known(price.node_nm)}, {_known(price.voltage_v)}",
            price.covers,
            price.where,
            price.source,
        )
        for name, price in profile.constants()
    )
    return Table(f"{profile.name}: {profile.title}", columns, rows)


def _kinds(profile: TechnologyProfile) -> str:
    """Kinds of the two operations that every profile prices."""
    return " and ".join(dict.fromkeys((profile.energy_pj.mac.kind, profile.energy_pj.ac.kind)))


def _band(price: Price) -> str:
    """Low to high, and where they come from; empty for a number without a band."""
    return "" if price.low == price.high else f"{_known(price.low)} to {_known(price.high)} ({price.band})"


def _with_ends(price: Price) -> str:
    """The value; with its interval where that is all that is known, for the value alone would say too much."""
    if price.evidence != "bounded":
        return _amount(price)
    return f"{_amount(price)} ({_known(price.low)} to {_known(price.high)}, bounded)"


def _amount(price: Price) -> str:
    return _known(price.value)


def _known(number: Number) -> str:
    return number if isinstance(number, str) else f"{number:,.15g}"
