"""What a fault inside the engine would raise. A wide except would also swallow what ends a worker's task."""

import re
from typing import Final

import re2

FAULTS: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    AssertionError,
    SystemError,
    re.error,
    re2.error,
)
