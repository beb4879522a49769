# SPDX-License-Identifier: Apache-2.0
"""NIR graph files: `from_nir` reads them with the help of the other modules, `to_nir` writes them."""
