# SPDX-License-Identifier: Apache-2.0
"""What `import spikefold` gives: a network in, a chip's verdicts, files and page out."""
