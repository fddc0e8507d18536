"""Memory that is freed is kept, unless the environment has chosen otherwise."""

import os
import platform
import subprocess
import sys

import pytest

# Counts the pages that Linux hands out to a thread that takes and frees 64 MiB, ten times.
COUNT = """
import resource
import threading
from jaxcap.allocation import keep_freed_memory

def take():
    global pages
    bytes_ = b"x" * 2**26
    del bytes_
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytes_ = b"x" * 2**26
        del bytes_
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{call}
thread = threading.Thread(target=take)
thread.start()
thread.join()
print(pages)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library than glibc"
)


def count_pages(call, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    kept.pop("GLIBC_TUNABLES", None)
    process = subprocess.run(
        [sys.executable, "-c", COUNT.format(call=call)],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(process.stdout)


def test_freed_memory_is_used_again():
    assert count_pages("keep_freed_memory()") < count_pages("") / 5


@pytest.mark.parametrize("name", ["MALLOC_TOP_PAD_", "GLIBC_TUNABLES"])
def test_what_the_environment_chooses_stays(name):
    value = "glibc.malloc.top_pad=131072" if name == "GLIBC_TUNABLES" else "131072"
    assert count_pages("keep_freed_memory()", **{name: value}) > count_pages("") / 2
