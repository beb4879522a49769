# SPDX-License-Identifier: Apache-2.0
"""Parts of the import of NIR files; `spikefold.export.nir.from_nir` puts them together."""
