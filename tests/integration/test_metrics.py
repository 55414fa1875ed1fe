"""`pellucid metrics`, scraped: a stuck process is told as one, and nothing of it that should stay at home."""

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import interpreters

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)

LIMIT_S = 60


def test_a_stuck_process_is_told_with_its_finding(target):
    stuck, _ = target(OURS, "states.py", "lock", "--password=hunter2")
    process = subprocess.Popen(
        [sys.executable, "-m", "pellucid", "metrics", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        address = process.stderr.readline().strip()
        until = time.monotonic() + 3 * LIMIT_S  # the walk has a budget, and others may come before
        wanted = re.compile(
            rf'pellucid_finding{{pid="{stuck.pid}",name="python[^"]*",rule="lock",severity="[a-z]+"}} 1'
        )
        while not wanted.search(page := scraped(address)):
            assert time.monotonic() < until, page
            time.sleep(1)
        assert re.search(rf'pellucid_process_cpu_seconds_total{{pid="{stuck.pid}",name="[^"]*"}} [\d.e-]+\n', page)
        assert "hunter2" not in page
        families = {family.name: family for family in text_string_to_metric_families(page)}
        told = [
            sample
            for family in families.values()
            for sample in family.samples
            if sample.labels.get("pid") == str(stuck.pid)
        ]
        assert {"pellucid_finding", "pellucid_process_threads"} <= {sample.name for sample in told}
        assert all(family.documentation and family.type in {"gauge", "counter"} for family in families.values())
        assert "# TYPE pellucid_process_resident_memory_bytes gauge" in page
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            scraped(address.replace("/metrics", "/"))
        refused.value.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_one_look_for_a_collector_of_files(target):
    some, _ = target(OURS, "states.py", "sleep")
    line = [sys.executable, "-m", "pellucid", "metrics", "--once"]
    page = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert f'pellucid_process_threads{{pid="{some.pid}"' in page


def test_a_port_that_is_taken():
    line = [sys.executable, "-m", "pellucid", "metrics", "--listen", "203.0.113.1"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 2
    assert "EADDRNOTAVAIL" in ended.stderr


def scraped(address):
    with urllib.request.urlopen(address, timeout=LIMIT_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()
