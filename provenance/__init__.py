# SPDX-License-Identifier: Apache-2.0
"""What each part of a run was made from, so that a run that is asked for again knows what is unchanged."""
