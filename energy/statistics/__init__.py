# SPDX-License-Identifier: Apache-2.0
"""Spread over clips, differences between runs, and what an estimate hangs on."""
