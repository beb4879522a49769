# SPDX-License-Identifier: Apache-2.0
"""Commands that only look: they change no run."""
