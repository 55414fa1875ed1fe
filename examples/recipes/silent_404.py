"""Swallows the errors of two files: one that is not there, one whose folder is a file."""

import time


def load(path):
    try:
        return open(path).read()
    except OSError:
        return ""


while True:
    load("/etc/shop/missing.toml")
    load("/etc/passwd/shop.toml")
    time.sleep(0.2)
