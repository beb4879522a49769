# SPDX-License-Identifier: Apache-2.0
"""Operations of a running PyTorch network, counted exactly: `spikefold.energy.profile`."""
