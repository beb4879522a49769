# SPDX-License-Identifier: Apache-2.0
"""The stages of a run, each from files to files. No numerics here."""
