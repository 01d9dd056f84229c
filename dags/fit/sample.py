"""Forty noisy points of a parabola, the same for the same seed."""

import argparse
import random

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, required=True)
dice = random.Random(parser.parse_args().seed)
for i in range(40):
    x = i / 39
    print(f"{x:.6f}\t{1 + 2 * x - 3 * x * x + dice.gauss(0, 0.01):.6f}")
