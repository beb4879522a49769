# SPDX-License-Identifier: Apache-2.0
"""The networks that are trained: architectures, neurons, attention."""
