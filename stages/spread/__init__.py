# SPDX-License-Identifier: Apache-2.0
"""Work on many processes of one machine or of a cluster, by Ray; with it nothing is computed otherwise."""
