"""Compiles one module of the core in a folder of its own, as ``setup.py`` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

_BUILD: Final = """
from setuptools import Extension
from setuptools.dist import Distribution
from Cython.Build import cythonize
core = Extension(
    NAME, [NAME.replace(".", "/") + ".pyx"], extra_compile_args=["-O3", "-g0"],
    define_macros=[("HBITMAP_FLAGS", '"-O3"'), *MACROS],
)
build = Distribution({"ext_modules": cythonize([core], quiet=True)}).get_command_obj("build_ext")
build.inplace = True
build.ensure_finalized()
build.run()
"""


def compile_module(folder: Path, name: str, macros: str = "") -> None:
    """Compile the module ``name``, whose ``.pyx`` is below the folder, beside its source.

    ``macros`` are elements of a list of setuptools' macros, as Python source. Costs some ten
    seconds. Raises ``CalledProcessError`` where it does not compile.
    """
    script = _BUILD.replace("NAME", repr(name)).replace("*MACROS", macros)
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, capture_output=True)
