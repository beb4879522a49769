# SPDX-License-Identifier: Apache-2.0
"""Events in, trained attention spiking networks out."""
