"""The points of small order on the curve of Ed25519, found by its own arithmetic (RFC 8032, 5.1)."""

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
IDENTITY = (0, 1)

Point = tuple[int, int]


def small_order_encodings() -> list[str]:
    """Return every text of 32 bytes, also those that no careful writer makes, that reads as a point of small order."""
    ys = {y for _, y in _torsion()}
    wide = [y + lift for y in ys for lift in (0, P) if y + lift < 2**255]
    return [(y | sign << 255).to_bytes(32, "little").hex() for y in wide for sign in (0, 1)]


def _torsion() -> set[Point]:
    for y in range(2, 100):
        for point in _points_at(y):
            # What is left of a point times the order of the large subgroup is of small order.
            small = _multiply(L, point)
            found = {_multiply(times, small) for times in range(8)}
            if len(found) == 8:
                return found
    raise AssertionError("one point in two has a part of order eight")


def _points_at(y: int) -> list[Point]:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    candidates = (root, root * pow(2, (P - 1) // 4, P) % P)
    return [(x, y) for x in candidates if x * x % P == square]


def _multiply(times: int, point: Point) -> Point:
    found = IDENTITY
    while times:
        if times & 1:
            found = _add(found, point)
        point, times = _add(point, point), times >> 1
    return found


def _add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    cross = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + cross, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - cross, -1, P) % P
