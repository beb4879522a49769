# SPDX-License-Identifier: Apache-2.0
"""SynSense's Speck and DYNAP-CNN: rules, placement, sinabs' conversion, the event-driven simulator, boards."""
