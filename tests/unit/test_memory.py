"""How the process uses memory; in a process of its own, since it stays so."""

import subprocess
import sys
from pathlib import Path

import pytest

OPERATOR = Path(__file__).parents[2] / "operator"

COUNT_OF_MAPPED = """
import ctypes
from image_share_operator import process

class Info(ctypes.Structure):  # mallinfo2(3)
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
if {saves}:
    process.save_memory()
page = bytes(4_000_000)
del page  # glibc takes this as a sign that such sizes come and go
before = libc.mallinfo2().hblks
page = bytes(1_000_000)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.timeout(90)
@pytest.mark.skipif(sys.platform != "linux", reason="is about glibc")
@pytest.mark.parametrize(("saves", "mapped"), [(True, 1), (False, 0)])
def test_large_buffers_leave_no_holes(saves: bool, mapped: int) -> None:
    """A page of a list is mapped by itself, so all of it goes back when it is freed."""
    code = COUNT_OF_MAPPED.format(saves=saves)
    ended = subprocess.run(
        (sys.executable, "-c", code),
        env={"PYTHONPATH": str(OPERATOR)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert int(ended.stdout) == mapped
