"""Memory that a step frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from omnimouse_model.train.heap import kept_heap

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
with kept_heap("cpu"):
    faults()
    inside = faults()
print(inside, faults())
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_freed_arrays_are_used_again_inside_and_given_back_outside():
    ran = [sys.executable, "-c", FAULTS]
    told = subprocess.run(ran, capture_output=True, text=True, check=True).stdout
    inside, outside = map(int, told.split())
    assert 10 * inside < outside
