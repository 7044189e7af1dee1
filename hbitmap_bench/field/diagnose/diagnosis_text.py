"""A diagnosis as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from hbitmap_bench.base.drawing import encodable
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.wording import duration, number
from hbitmap_bench.field.diagnose.diagnosis import Diagnosis
from hbitmap_bench.field.diagnose.facts import Facts
from hbitmap_bench.field.diagnose.job import Node, View
from hbitmap_bench.field.diagnose.time_left import ASSUMED_RATES, Left
from hbitmap_bench.field.diagnose.watch import SCAN, Window

_DETECTED = {
    "access": "access bitmap: the filter's first bitmap without a name is full",
    "deny": "deny bitmap: the filter's first bitmap without a name is empty",
    "unknown": "not recognised: the filter's first bitmap without a name is neither full nor empty",
    None: "no copy-before-write filter under a snapshot-access node here",
}


def render(facts: Facts, diagnosis: Diagnosis, console: Console) -> None:
    """Print what was seen, then what follows from it."""
    for line in lines(facts, diagnosis, console.encoding):
        console.print(line, soft_wrap=True)


def lines(facts: Facts, diagnosis: Diagnosis, encoding: str) -> list[Text]:
    """What ``render`` prints, in characters that the encoding has."""
    return [
        Text(encodable(f"{name:<11}", encoding), style="bold") + Text(encodable(text, encoding))
        for name, text in _lines(facts, diagnosis)
    ]


def _lines(facts: Facts, diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    if facts.view is not None:
        yield "job", _job(facts)
        if facts.view.chain:
            yield "reads", _chain(facts.view)
            yield "algorithm", _DETECTED[facts.view.detected]
            if facts.view.done_part:
                yield "done", _overwritten(facts.view)
    if facts.window is not None:
        yield "process", _process(facts.window)
    if diagnosis.left is not None and facts.image is not None:
        yield "position", _position(diagnosis.left, facts.image)
        yield "time left", _time_left(diagnosis.left)
    yield "diagnosis", f"{diagnosis.kind}: {diagnosis.reason}"
    for remedy in diagnosis.remedies:
        yield "next time", remedy
    for note in facts.notes:
        yield "not known", note


def _job(facts: Facts) -> str:
    job = facts.job
    if job is None:
        return "no backup job"
    later = facts.job_later or job
    limit = f", at most {format_size(job.speed)} a second" if job.speed else ""
    return (
        f"{job.name} ({job.kind}): {later.status}, {later.done:,} of {later.total:,} bytes "
        f"done{limit}"
    )


def _chain(view: View) -> str:
    names = [_node(node) for node in view.chain]
    return " > ".join(names) if view.chain_is_known else f"some of: {', '.join(names)}"


def _overwritten(view: View) -> str:
    names = " > ".join(_node(node) for node in view.fleecing)
    under = f"; its old content lies in {names}" if names else ""
    return f"{view.done_part:.1%} of the disk since the filter is there (done bitmap){under}"


def _node(node: Node) -> str:
    if node.driver == "qcow2" and node.cluster_bytes:
        size, cluster = format_size(node.size), format_size(node.cluster_bytes)
        extended = ", extended L2" if node.l2_entry_bytes == 16 else ""
        return f"{node.name} (qcow2, {size}, {cluster} clusters{extended})"
    return f"{node.name} ({node.driver})"


def _process(window: Window) -> str:
    busy = f"{window.cpu_share:.0%} of a processor over {window.seconds:.1f} s"
    if window.scanning is None or window.scan_share is None:
        return f"{busy}; what it does was not sampled"
    scans, total = window.scanning
    if not total:
        return f"{busy}; perf has no sample"
    low, _, high = window.scan_share
    done = window.done_share
    of_it = f"; {done:.0%} of them for the done bitmap" if done else ""
    return (
        f"{busy}; {scans / total:.1%} of its thread's samples in {SCAN} ({total:,} samples): "
        f"{low:.0%}..{high:.0%} of the time{of_it}"
    )


def _position(left: Left, image: Node) -> str:
    speed = f"{left.speed / 2**30:,.1f} GiB/s of the disk"
    if left.offset is None:
        return f"not seen; {speed} by the bytes read, if those are L2 tables"
    rate = (
        f"; {left.words_s / 1e9:.2f} G words/s scanned, if the L2 slice is the default"
        if left.words_s
        else ""
    )
    return (
        f"{left.offset / 2**40:.3f} of {image.size / 2**40:.3f} TiB "
        f"({left.offset / image.size:.0%}), {speed}{rate}"
    )


def _time_left(left: Left) -> str:
    low, high = (duration(end) for end in left.interval)
    if left.seconds is None and left.offset is not None:
        return f"between {low} and {high}: where the done clusters lie is not seen"
    if left.seconds is None and left.interval[0] > 0:
        rates = "..".join(number(rate / 1e9) for rate in ASSUMED_RATES)
        return f"between {low} and {high}, if it scans {rates} G words/s"
    if left.seconds is None:
        return f"at most {high}: where it stands is not seen"
    return (
        f"{duration(left.seconds)} (between {low} and {high}), estimated: if the host stays as busy"
        " as it is"
    )
