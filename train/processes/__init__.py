# SPDX-License-Identifier: Apache-2.0
"""Training in several processes or on a GPU, and pools of worker processes."""
