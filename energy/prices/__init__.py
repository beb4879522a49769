# SPDX-License-Identifier: Apache-2.0
"""What an operation costs, by technology profile, each number with its source."""
