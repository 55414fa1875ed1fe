"""A job that fetches its report, and waits for ever. Usage: nightly.py [PORT]"""

import sys
from urllib.request import urlopen

PORT = sys.argv[1] if len(sys.argv) > 1 else "8077"


def fetch_report():
    return urlopen(f"http://127.0.0.1:{PORT}/report").read()


print(fetch_report())
