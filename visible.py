# SPDX-License-Identifier: Apache-2.0
"""Makes characters visible that a reader cannot see, and that make a page or a terminal show something else.

Names of classes, recordings and layers come from strangers. A right-to-left override turns what follows it around, an
escape sequence recolours or overwrites a terminal, and half of a surrogate pair cannot be written at all. Joiners
that scripts need (U+200C, U+200D) stay.
"""

from __future__ import annotations

import re
from typing import TypeVar

Value = TypeVar("Value")
_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\u00ad\u200b\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffb"  # blanks that are none, and separators
    "\ud800-\udfff"
    "\U000e0000-\U000e007f"  # tags
    "]"
)


def visible(value: Value) -> Value:
    r"""A text with its hidden characters written out, as ``\u202e``; anything else as it is.

    A text that is marked as safe HTML stays so: what is written in place of a character needs no escape.
    """
    if not isinstance(value, str) or _HIDDEN.search(value) is None:
        return value
    shown = _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(value))
    return type(value)(shown)
