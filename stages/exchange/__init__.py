# SPDX-License-Identifier: Apache-2.0
"""Networks trained elsewhere: from a file to the files of each chip."""
