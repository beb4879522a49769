# SPDX-License-Identifier: Apache-2.0
"""Generated recordings of an event camera: gestures and digits."""
