# SPDX-License-Identifier: Apache-2.0
"""``spikefold import``: checkpoints of published code as runs."""
