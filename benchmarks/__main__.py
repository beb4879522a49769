# SPDX-License-Identifier: Apache-2.0
"""Run every benchmark and print one table each: medians of several runs, process time, one thread."""

from __future__ import annotations

import torch

from benchmarks import counting, engines, event_driven, generators, training

torch.set_num_threads(1)
for benchmark in (engines, event_driven, counting, training, generators):
    print(benchmark.__doc__.splitlines()[0])
    for name, figure in benchmark.table():
        print(f"  {name:<44} {figure}")
