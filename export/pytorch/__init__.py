# SPDX-License-Identifier: Apache-2.0
"""What a PyTorch module computes, followed call by call, and the neurons of four libraries."""
