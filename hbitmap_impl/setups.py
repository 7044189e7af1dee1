"""The three setups that are compared, put together from the same parts."""

from __future__ import annotations

from typing import Final, Literal

from hbitmap_impl.access_check import AccessBitmap, AccessCheck, DenyBitmap
from hbitmap_impl.backup import BackupJob
from hbitmap_impl.copy_before_write import CopyBeforeWrite, OnCbwError
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import Disk, NullDisk
from hbitmap_impl.snapshot_access import SnapshotAccess

Setup = Literal["plain", "access", "deny"]

CHECKS: Final[dict[str, type[AccessCheck]]] = {"access": AccessBitmap, "deny": DenyBitmap}


def assemble(
    setup: Setup,
    disk: Disk,
    *,
    cbw_cluster_bytes: int = 65536,
    target_cluster_bytes: int = 65536,
    target: Disk | None = None,
) -> BackupJob:
    """A backup job over ``disk``, through the filters that the setup has.

    ``plain`` asks the disk itself (blockdev-backup); ``access`` and ``deny`` ask a snapshot-access
    node over a copy-before-write filter over it (cbw + snap, without and with the patches).
    ``cbw_cluster_bytes`` is the copy cluster of that filter, ``target`` where it would copy to (a
    null disk by default); ``target_cluster_bytes`` is the cluster size of the backup's own target.
    The access check, with its counters, is the job's ``check``. ``ValueError`` for another setup.
    """
    if setup == "plain":
        return BackupJob(disk, target_cluster_bytes)
    if setup not in CHECKS:
        raise ValueError(f"a setup is plain, access or deny, not {setup!r}")
    cbw = filtered(CHECKS[setup], disk, cluster_bytes=cbw_cluster_bytes, target=target)
    return BackupJob(SnapshotAccess(cbw), target_cluster_bytes)


def filtered(
    check: type[AccessCheck],
    disk: Disk,
    *,
    cluster_bytes: int = 65536,
    target: Disk | None = None,
    bitmap: HBitmap | None = None,
    on_cbw_error: OnCbwError = "break-guest-write",
) -> CopyBeforeWrite:
    """A copy-before-write filter over ``disk`` with this kind of access check.

    A check that needs another filter names it in a class attribute ``filter_type``. ``target`` is a
    null disk by default; other parameters and errors as for ``CopyBeforeWrite``.
    """
    filter_type: type[CopyBeforeWrite] = getattr(check, "filter_type", CopyBeforeWrite)
    if target is None:
        target = NullDisk(disk.size)
    return filter_type(
        disk,
        target,
        check,
        bitmap=bitmap,
        on_cbw_error=on_cbw_error,
        cluster_bytes=cluster_bytes,
    )


def overwrite(job: BackupJob, done_bytes: int) -> HBitmap:
    """Take the first ``done_bytes`` of the disk as overwritten by the guest, and copied before.

    Returns the filter's done bitmap, with its counters. Costs one pass over that part of its words.
    ``ValueError`` for the setup ``plain``, which has no filter.
    """
    if not isinstance(job.source, SnapshotAccess):
        raise ValueError("a guest's writes are copied by a filter, which plain does not have")
    cbw = job.source.filter
    cbw.assume_done(0, done_bytes)
    return cbw.done_bitmap
