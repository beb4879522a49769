# SPDX-License-Identifier: Apache-2.0
"""Recording files, one format a file. Each turns bytes into `RawEvents`; `train.data.readers` registers them."""
