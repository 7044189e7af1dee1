"""A look at a virtual machine of libvirt, which keeps QEMU's only QMP connection: through virsh.

virsh finds the libvirt to ask by itself: a local one, or what ``LIBVIRT_DEFAULT_URI`` names.
"""

from __future__ import annotations

import json
import shutil
from types import TracebackType
from typing import Any, Final, Self

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.field.diagnose.peek import TIMEOUT_S, NoAnswerError, require_question
from hbitmap_bench.field.diagnose.process import with_uuid
from hbitmap_bench.qemu.builds import run_tool

_NO_VIRSH: Final = "--libvirt asks through virsh, and it is not on PATH: install libvirt-clients"
_NO_DOMAIN: Final = (
    "{error}: give --libvirt a machine that `virsh list` shows (LIBVIRT_DEFAULT_URI says whose)"
)


class Domain:
    """A context: inside, ``ask`` sends one question to the machine's QEMU, and waits.

    libvirt marks a machine that is asked so as tainted ("custom-monitor") until it is shut off.
    Raises ``UserError`` where virsh is missing or does not know the machine. A question takes 50 ms
    more than over a socket.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.pid: int | None = None
        """The machine's process, if it is seen from here."""

    def __enter__(self) -> Self:
        if shutil.which("virsh") is None:
            raise UserError(_NO_VIRSH)
        try:
            self._uuid = _virsh("domuuid", f"--domain={self._name}").strip()
        except UserError as error:
            raise UserError(_NO_DOMAIN.format(error=error)) from error
        self.pid = with_uuid(self._uuid)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def ask(self, question: str, **arguments: object) -> Any:  # noqa: ANN401 - QMP's JSON
        """The answer; None where this QEMU does not know the question.

        Raises ``NoAnswerError``, and ``ValueError`` for what is not in ``QUESTIONS``.
        """
        require_question(question)
        command = json.dumps({"execute": question, "arguments": arguments})
        try:
            told = _virsh("qemu-monitor-command", f"--domain={self._uuid}", command)
        except UserError as error:
            raise NoAnswerError(str(error)) from error
        return json.loads(told).get("return")


def _virsh(*arguments: str) -> str:
    return run_tool(["virsh", *arguments], TIMEOUT_S)
