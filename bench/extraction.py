"""What extraction of a transformer of 100 layers and 10^8 parameters costs, beside its own run.

    python bench/extraction.py [--tokens 16 128 512] [--layers 100] [--width 288]

Each way runs in a process of its own, with one thread: processor time, and the peak of resident
memory of the whole process, Python and torch among it. Wanted: less than twice the forward pass
plus 2 s, and less than 1.5 times the memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings


def model(layers: int, width: int):
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, 8, batch_first=True)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            h = self.n1(x)
            x = x + self.attention(h, h, h, need_weights=False)[0]
            return x + self.down(nn.functional.gelu(self.up(self.n2(x))))

    torch.manual_seed(0)
    return nn.Sequential(*[Block() for _ in range(layers)], nn.Linear(width, 10)).eval()


def one(way: str, tokens: int, layers: int, width: int) -> dict[str, float]:
    """Return the cost of one way, in this process."""
    import torch

    torch.set_num_threads(1)
    module = model(layers, width)
    x = torch.randn(1, tokens, width)
    times = []
    for _ in range(3):
        start = time.process_time()
        with torch.no_grad():
            module(x)
        times.append(time.process_time() - start)
    seconds, found = sorted(times)[1], 0
    if way == "extraction":
        from eiplane.extract import ExtractOptions, to_network

        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = len(to_network(module, ExtractOptions(input_data=x)).network)
        seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "MiB": peak, "layers": found,
            "parameters": sum(p.numel() for p in module.parameters())}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 128, 512])
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--width", type=int, default=288)
    parser.add_argument("--way", choices=["forward", "extraction"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        cost = one(options.way, options.tokens[0], options.layers, options.width)
        print(json.dumps(cost))
        return 0
    print("tokens  forward s  extraction s  of 2 x + 2 s  forward MiB  extraction MiB  ratio")
    bad = False
    for tokens in options.tokens:
        costs = []
        for way in ("forward", "extraction"):
            out = subprocess.run(
                [sys.executable, __file__, "--way", way, "--tokens", str(tokens), "--layers",
                 str(options.layers), "--width", str(options.width)],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            costs.append(json.loads(out.splitlines()[-1]))
        forward, extraction = costs
        share = extraction["seconds"] / (2 * forward["seconds"] + 2)
        ratio = extraction["MiB"] / forward["MiB"]
        bad |= share >= 1 or ratio >= 1.5
        print(
            f"{tokens:6}  {forward['seconds']:9.2f}  {extraction['seconds']:12.2f}  {share:12.2f}  "
            f"{forward['MiB']:11.0f}  {extraction['MiB']:14.0f}  {ratio:5.2f}"
        )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
