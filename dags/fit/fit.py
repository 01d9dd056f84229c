"""Fit a polynomial, print its error."""

import argparse
import math

from leastsquares import polyfit

parser = argparse.ArgumentParser()
parser.add_argument("--degree", type=int, required=True)
parser.add_argument("points")
options = parser.parse_args()
with open(options.points) as table:
    points = [tuple(map(float, line.split())) for line in table]
coefficients = polyfit(points, options.degree)
errors = [y - sum(c * x**i for i, c in enumerate(coefficients)) for x, y in points]
print(f"rmse={math.sqrt(sum(e * e for e in errors) / len(errors)):.5f}")
