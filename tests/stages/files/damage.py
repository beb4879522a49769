# SPDX-License-Identifier: Apache-2.0
"""Systematic edits of a JSON file: what a truncated disk, a merge tool or a curious user leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any


def json_edits(text: str) -> Iterator[tuple[str, bytes | None]]:
    """What was done to the file, and its content then; None removes it."""
    whole = json.loads(text)
    yield "missing", None
    yield "empty", b""
    yield "truncated", text.encode()[: len(text) // 2]
    yield "no text", bytes(range(256))
    yield "deep", b"[" * 100_000
    yield "null", b"null"
    yield "a list for the object", json.dumps([whole]).encode()
    yield "a list of nothing", b"[]"
    if not isinstance(whole, dict):
        return
    for key, value in whole.items():
        yield f"{key} deleted", _with(whole, [key], delete=True)
        yield f"{key} of another type", _with(whole, [key], [value] if not isinstance(value, list) else {"0": value})
        yield f"{key} null", _with(whole, [key], None)
    yield "a key too many", json.dumps(whole | {"nonsense": 1}).encode()
    for key in ("schema_version", "schema"):
        if key in whole:
            yield "another version", _with(whole, [key], 99 if isinstance(whole[key], int) else f"{whole[key]}9")
    leaves = list(_leaves(whole))
    for kind, wrong in ((float, float("nan")), (float, -1e9), (int, -1), (int, 0.5), (int, "7"), (str, 3)):
        for top in whole:
            found = [path for path, value in leaves if path[0] == top and type(value) is kind and len(path) > 1]
            for place in {tuple(found[0]), tuple(found[-1])} if found else ():
                yield f"{'.'.join(map(str, place))} = {wrong}", _with(whole, list(place), wrong)
    inner = [path for path, value in _inner(whole) if isinstance(value, dict)]
    for path in inner[:: max(1, len(inner) // 25)]:
        yield f"{'.'.join(map(str, path))} = []", _with(whole, path, [])
        first = next(iter(_at(whole, path)), None)
        if first is not None:
            yield f"{'.'.join(map(str, [*path, first]))} deleted", _with(whole, [*path, first], delete=True)


def _at(whole: Any, path: list[Any]) -> Any:
    for key in path:
        whole = whole[key]
    return whole


def _with(whole: Any, path: list[Any], value: Any = None, *, delete: bool = False) -> bytes:
    changed = deepcopy(whole)
    holder = _at(changed, path[:-1])
    if delete:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return json.dumps(changed).encode()


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[list[Any], Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(one, (*path, index))
    else:
        yield list(path), value


def _inner(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[list[Any], Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        if isinstance(one, dict | list):
            yield [*path, key], one
            yield from _inner(one, (*path, key))
