# SPDX-License-Identifier: Apache-2.0
"""From recordings on disk, or generated ones, to frames."""
