"""A build folder like QEMU's, of the stub library in stub/: what the driver is compiled against."""

import subprocess
from pathlib import Path

STUB = Path(__file__).parent / "stub"
SOURCES = Path(__file__).parents[1] / "qemu_benchmarks" / "driver"

RULES = f"""\
rule compile
  command = cc -std=gnu11 -O2 -Werror -MD -MQ $out -MF $out.d -iquote {STUB}/include -o $out -c $in
rule archive
  command = rm -f $out && ar rcs $out $in
rule link
  command = cc -Wl,--as-needed -o $out $in -Wl,--start-group libqemuutil.a -lm -Wl,--end-group
build libqemuutil.a.p/util_hbitmap.c.o: compile {STUB}/hbitmap.c
build libqemuutil.a: archive libqemuutil.a.p/util_hbitmap.c.o
build qemu-img.p/qemu-img.c.o: compile qemu-img.c
build qemu-img: link qemu-img.p/qemu-img.c.o | libqemuutil.a
"""


def configured(folder):
    """A folder where nothing has been built yet."""
    (folder / "build.ninja").write_text(RULES)
    return folder


def built(folder):
    """A folder with the library, and without its programs."""
    subprocess.run(["ninja", "-C", configured(folder), "libqemuutil.a"], check=True)
    return folder
