"""Polynomial least squares by the normal equations."""


def solve(a, b):
    """Gaussian elimination with pivoting; a is n x n, b has n entries."""
    n = len(b)
    rows = [list(row) + [value] for row, value in zip(a, b)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(i + 1, n):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [x - factor * y for x, y in zip(rows[r], rows[i])]
    x = [0.0] * n
    for i in reversed(range(n)):
        x[i] = (rows[i][n] - sum(rows[i][j] * x[j] for j in range(i + 1, n))) / rows[i][i]
    return x


def polyfit(points, degree):
    powers = range(degree + 1)
    a = [[sum(x ** (i + j) for x, _ in points) for j in powers] for i in powers]
    return solve(a, [sum(y * x**i for x, y in points) for i in powers])
