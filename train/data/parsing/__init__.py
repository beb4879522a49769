# SPDX-License-Identifier: Apache-2.0
"""What the readers of several file formats share. It is between the bytes of a file and a checked `Recording`."""
