# SPDX-License-Identifier: Apache-2.0
"""The network description, its exact rewrites, and the files for each chip and tool."""
