"""Opens the plug-in for NVIDIA GPUs as the core does and prints why it cannot be used, if it cannot.

usage: check_cuda_loads.py PLUG_IN
"""

from __future__ import annotations

import ctypes
import os
import sys


class Backend(ctypes.Structure):
    """The beginning of pycnn::kernels::Backend."""

    _fields_ = [
        ("version", ctypes.c_uint32),
        ("layout", ctypes.c_uint32),
        ("library", ctypes.c_char_p),
        ("unavailable", ctypes.CFUNCTYPE(ctypes.c_char_p)),
    ]


library = ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW | os.RTLD_LOCAL)
library.pycnn_backend_v1.restype = ctypes.POINTER(Backend)
reason = library.pycnn_backend_v1().contents.unavailable()
if reason is not None and (not reason.strip() or b"\n" in reason):
    sys.exit(f"the reason is not one line: {reason!r}")
print("loads:", "a GPU can be used" if reason is None else reason.decode())
