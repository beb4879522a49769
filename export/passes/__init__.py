# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a network, one idea a file: ``Network -> Network``."""
