# SPDX-License-Identifier: Apache-2.0
"""Write ``report.json`` and ``report.html`` of a run whose stages are done."""

from __future__ import annotations

from typing import Any

from spikefold.files import write_json, write_text
from spikefold.session import Session
from spikefold.stages.report.assemble import assemble
from spikefold.stages.report.page import render


def write_report(session: Session) -> dict[str, Any]:
    """Write both files and return the content of ``report.json``.

    Raises:
        DataError: a stage has not run, or one of its files is damaged; then neither file is written.
    """
    report = assemble(session)
    page = render(session, report)
    write_json(session.folder / "report.json", report)
    write_text(session.folder / "report.html", page)
    return report
