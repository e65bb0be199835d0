"""The one thing that pyproject.toml cannot say for sure: compiled loops that an installation can do without."""

import sys
import zlib
from pathlib import Path

from setuptools import Extension, setup

# No -ffast-math: the compiled loops and their twins in Python are to give equal results. -fno-math-errno lets the
# square root be one instruction.
FLAGS = (
    ["/O2", "/std:c11"] if sys.platform == "win32" else ["-O3", "-fno-math-errno", "-fno-trapping-math", "-std=gnu11"]
)

FILES = sorted(Path("fenlei/compiled").glob("*.[ch]"))

setup(
    ext_modules=[
        Extension(
            "fenlei.compiled._loops",
            ["fenlei/compiled/module.c"],
            depends=[path.as_posix() for path in FILES],
            # As fenlei.compiled.checksum has it.
            define_macros=[("SOURCE", f"{zlib.crc32(b''.join(path.read_bytes() for path in FILES))}u")],
            extra_compile_args=FLAGS,
            extra_link_args=["-Wl,-s"] if sys.platform == "linux" else [],  # without symbols a third of the size
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
