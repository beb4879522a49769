# SPDX-License-Identifier: Apache-2.0
"""Many designs from one file: each a run of its own, and the front of accuracy against energy against cores."""
