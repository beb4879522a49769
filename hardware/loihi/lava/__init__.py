# SPDX-License-Identifier: Apache-2.0
"""lava-dl in a subprocess with a private installation: it never enters the user's process."""
