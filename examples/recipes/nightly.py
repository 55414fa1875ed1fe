"""A job that fetches its report, and waits for ever. Usage: [PORT=8077] nightly.py"""

import os
from urllib.request import urlopen

PORT = os.environ.get("PORT", "8077")


def fetch_report():
    return urlopen(f"http://127.0.0.1:{PORT}/report").read()


print(fetch_report())
