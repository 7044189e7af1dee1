"""The compiled core, and the commit it was built from. All other settings are in pyproject.toml."""

import subprocess
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

# No -march and no -mpopcnt: a wheel must run anywhere. What needs them is chosen at import.
FLAGS = ["-O3"]
# Which change no instruction: without debug information it compiles in two thirds of the time.
ARGUMENTS = [*FLAGS, "-g0"]

core = Extension(
    "hbitmap_impl.hbitmap",
    ["hbitmap_impl/hbitmap.pyx"],
    extra_compile_args=ARGUMENTS,
    define_macros=[("HBITMAP_FLAGS", f'"{" ".join(FLAGS)}"')],
)

qcow2_entries = Extension(
    "hbitmap_impl.qcow2_entries", ["hbitmap_impl/qcow2_entries.pyx"], extra_compile_args=ARGUMENTS
)

contender_bitmaps = Extension(
    "hbitmap_impl.contender_bitmaps",
    ["hbitmap_impl/contender_bitmaps.pyx"],
    extra_compile_args=ARGUMENTS,
)


def git(*arguments: str) -> str:
    """What git prints in this folder; nothing where it fails or is missing."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


class BuildPy(build_py):
    """Puts the commit into the package: an installed one has no checkout to ask."""

    def run(self) -> None:
        """Copy the modules, then write the commit beside them, if this file belongs to one."""
        super().run()
        if not self.editable_mode and git("ls-files", "setup.py"):
            commit = git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
            Path(self.build_lib, "hbitmap_bench", "base", "commit.txt").write_text(commit)


modules = cythonize([core, qcow2_entries, contender_bitmaps])
setup(cmdclass={"build_py": BuildPy}, ext_modules=modules)
