# SPDX-License-Identifier: Apache-2.0
"""The report of a run: the content of ``report.json``, and the page that shows it."""
