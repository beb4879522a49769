# SPDX-License-Identifier: Apache-2.0
"""Published measurements of chips, each beside what this program predicts for it."""
