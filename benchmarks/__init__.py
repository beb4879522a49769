# SPDX-License-Identifier: Apache-2.0
"""Speed beside the peers, in one run on one thread: ``python -m benchmarks``."""
