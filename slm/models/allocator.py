"""The C library's memory allocator, set for the large temporary tensors of a model on the CPU."""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # numbers of glibc's <malloc.h>


@cache
def keep_freed_memory() -> None:
    """Keep freed memory in the process for the next tensor, instead of giving it back to the system.

    By default glibc maps every tensor above 32 MB anew (and smaller ones at first), and touching fresh pages costs more
    than the arithmetic on them: a training step on two cores took 1.4 times as long. Does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
