"""The compiled core. All other settings are in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

# No -march and no -mpopcnt: a wheel must run anywhere. What needs them is chosen at import.
FLAGS = ["-O3"]

core = Extension(
    "hbitmap_impl.hbitmap",
    ["hbitmap_impl/hbitmap.pyx"],
    extra_compile_args=FLAGS,
    define_macros=[("HBITMAP_FLAGS", f'"{" ".join(FLAGS)}"')],
)

setup(ext_modules=cythonize([core]))
