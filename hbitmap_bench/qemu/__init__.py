"""Cells on a real ``qemu-storage-daemon``: images, daemons over QMP, detection, build-up."""
