# SPDX-License-Identifier: Apache-2.0
"""A trained run on other recordings: ``spikefold evaluate``. The run itself is only read."""
