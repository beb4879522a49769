# SPDX-License-Identifier: Apache-2.0
"""What the commands besides the stages do with runs and networks."""
