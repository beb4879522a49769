# SPDX-License-Identifier: Apache-2.0
"""A chip that nobody built: what a package outside spikefold needs to bring in order to add one."""
