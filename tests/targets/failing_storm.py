"""Fails as fast as it can, in one of two ways: always for the same name, or each time for another one."""
import os
import sys

directory, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    try:
        os.stat(f"{directory}/{number if 'other' in sys.argv else 'same'}")
    except OSError:
        pass
