# SPDX-License-Identifier: Apache-2.0
"""What the stages write as JSON and others read, each file as a model with a schema version."""
