# SPDX-License-Identifier: Apache-2.0
"""What one chip's network costs in power and time, from its own published numbers or the user's."""
