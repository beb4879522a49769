# SPDX-License-Identifier: Apache-2.0
"""A Speck board through the vendor's samna, or the reason why there is none."""
