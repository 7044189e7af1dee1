"""A prediction on a terminal: when the first byte is copied, old and new, and what would help."""

from __future__ import annotations

from rich.console import Console

from hbitmap_bench.base.drawing import Table, say, show
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.wording import NOTHING, duration, number
from hbitmap_bench.field.predict.calibrate import BUILDS_DIFFER
from hbitmap_bench.field.predict.knobs import AS_IT_IS, Knob
from hbitmap_bench.field.predict.prediction import Estimate, Prediction
from hbitmap_bench.qemu.filters import LONG_NAMES, SETUPS, Setup


def render(found: Prediction, console: Console) -> None:
    """Print one image's prediction. Text from images and builds is never read as markup."""
    say(console, "")
    say(console, f"{found.subject.name}: {_what(found)}", "bold")
    say(console, headline(found))
    for table in (setup_table(found), knob_table(found)):
        show(console, table)


def headline(found: Prediction) -> str:
    """The answer in a sentence or two."""
    old, new = found.estimate("access"), found.estimate("deny")
    return (
        f"Predicted: the first byte after {duration(old.seconds)} with the access bitmap "
        f"({_durations(old)}), after {duration(new.seconds)} with the deny bitmap "
        f"({_durations(new)}). {found.lost_share:.0%} of the former is lost to the access check."
    )


def _durations(estimate: Estimate) -> str:
    return f"between {duration(estimate.low_s)} and {duration(estimate.high_s)}"


def setup_table(found: Prediction) -> Table:
    """The three set-ups on the image as it is."""
    rows = tuple(
        (LONG_NAMES[setup], *_figures(found, setup, AS_IT_IS), *_measured(found, setup, AS_IT_IS))
        for setup in SETUPS
    )
    columns = ("build-up", *_FIGURES, *_measured_columns(found))
    return Table("As it is", columns, rows, _notes(found), 1, grouped=False)


def knob_table(found: Prediction) -> Table:
    """What each knob makes of the build-up, above all of that with the access bitmap."""
    columns = ("knob", *_FIGURES, "new\ns", *_measured_columns(found))
    rows = tuple(_knob_row(found, knob) for knob in found.knobs)
    notes = []
    if any(knob.image_cluster_bytes for knob in found.knobs):
        notes.append("Image clusters: as if the image were converted to them, all allocated.")
    notes.append("New: the deny bitmap, with the same knob turned.")
    return Table(
        "Without a new QEMU: the access bitmap, with one knob turned",
        columns,
        rows,
        tuple(notes),
        1,
        False,
    )


_FIGURES = ("predicted\ns", "interval\ns", "queries", "M\nwords")


def _what(found: Prediction) -> str:
    subject = found.subject
    words = [subject.format, format_size(subject.image_bytes)]
    if subject.cluster_bytes:
        words.append(f"{format_size(subject.cluster_bytes)} clusters")
        words.append(f"L2 slice {format_size(subject.default_slice_bytes)}")
    if subject.l2_entry_bytes == 16:
        words.append("extended L2")
    if subject.has_backing:
        words.append("with a backing file")
    return ", ".join(words)


def _knob_row(found: Prediction, knob: Knob) -> tuple[str, ...]:
    lacking = "" if found.can_run(knob) is not False else "\nnot in this build"
    if knob.min_cluster_bytes and found.can_run(knob) is None:
        lacking = "\nQEMU 9.2 and later"
    setup: Setup = "deny" if found.calibration.detected == "deny" else "access"
    return (
        f"{knob}{lacking}",
        *_figures(found, "access", knob),
        number(found.estimate("deny", knob).seconds),
        *_measured(found, setup, knob),
    )


def _figures(found: Prediction, setup: Setup, knob: Knob) -> tuple[str, ...]:
    estimate = found.estimate(setup, knob)
    counts = found.counted[knob].of(setup)
    words = {"plain": 0, "access": counts.words_access, "deny": counts.words_deny}[setup]
    return (
        number(estimate.seconds),
        _ends(estimate),
        f"{counts.queries:,}",
        number(words / 1e6) if words else NOTHING,
    )


def _measured_columns(found: Prediction) -> tuple[str, ...]:
    return ("measured\ns", "ratio") if found.measured_s else ()


def _measured(found: Prediction, setup: Setup, knob: Knob) -> tuple[str, ...]:
    if not found.measured_s:
        return ()
    measured = found.measured(setup, knob)
    if measured is None:
        return (NOTHING, NOTHING)
    n = len(found.measured_s[knob, setup])
    ratio = found.estimate(setup, knob).seconds / measured
    return f"{number(measured)}\nn={n}", f"{ratio:.2f}"


def _ends(estimate: Estimate) -> str:
    return f"{number(estimate.low_s)}..{number(estimate.high_s)}"


def _notes(found: Prediction) -> tuple[str, ...]:
    notes = [
        "Queries and words: counted in the image's own tables, exactly. Seconds: " + how(found)
    ]
    if found.calibration.detected == "deny":
        notes.append("This build has a deny bitmap: a word's cost is that of our own scan here.")
    if found.subject.path is None:
        notes.append("A planned image counts as fully allocated, its data as not yet written.")
    else:
        notes.append(
            "The image was opened read-only, without a lock. If it is in use, its tables change "
            "while they are read, and the counts are of no one moment. Seconds are with its "
            "metadata in the page cache: a first pass reads it from the disk besides."
        )
    return tuple(notes)


def how(found: Prediction) -> str:
    """Where the seconds come from."""
    build = found.calibration.build
    if build is not None:
        how = f"predicted by calibration on {build.name}"
        return how + ("; measured: on the real daemon." if found.measured_s else ".")
    return (
        "predicted from QEMU 7.2.22's costs on a reference host, in proportion to this host's own "
        f"scan and queries; builds differ {BUILDS_DIFFER:g}-fold, and so do the ends of the "
        "interval from its middle. Give --qemu PATH to calibrate on a build."
    )
