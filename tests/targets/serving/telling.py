"""What a model server tells everybody, for the page that shows it: one worker that had an incident, in words that would do harm. `telling.py pellucid serve`."""

import http.server
import json
import os
import time

HARM = "<img src=x onerror=document.title='owned'>\x1b[31mred\x1b[0m\n\u202eesrever"
WORKER = {
    "worker": 0,
    "pid": os.getpid(),
    "ready": True,
    "sentence": f"worker 0 (pid {os.getpid()}) waits for requests",
    "queued": 0,
    "rss_bytes": 1 << 27,
    "last_error": f"ValueError: {HARM}",
}
STUCK = {
    "id": "i-20261126-193201-41",
    "at": time.time() - 90000,
    "pid": 41,
    "kind": "stuck",
    "outcome": "replaced",
    "sentence": "worker 2 (pid 41) has been in request r-2-1 (1 row) for 2.0 s of its 2 s",
    "cause": f"predict waits for Lock {HARM}",
}
UNKNOWN = {
    "id": "i-20261126-193200-0",
    "at": time.time() - 90001,
    "pid": 0,
    "kind": "died",
    "outcome": "replaced",
    "sentence": "worker 1 died",
    "cause": "killed by SIGKILL",
}
asked = 0


def metrics():
    global asked
    asked += 30
    return f"""pellucid_requests_total{{worker="0",status="200"}} {asked}
pellucid_request_seconds_bucket{{worker="0",le="0.01"}} {asked - asked // 50}
pellucid_request_seconds_bucket{{worker="0",le="+Inf"}} {asked}
pellucid_predictions_total{{worker="0"}} {asked // 3}
pellucid_batched_requests_total{{worker="0"}} {asked}
pellucid_self_checks_total{{worker="0"}} 7
pellucid_incidents_total{{kind="stuck"}} 1
""".encode()


class Teller(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = {
            "/healthz": lambda: json.dumps(
                {"status": "ok", "model": f"loan {HARM}", "version": 3, "workers": [WORKER]}
            ).encode(),
            "/metrics": metrics,
            "/incidents": lambda: json.dumps({"incidents": [STUCK, UNKNOWN]}).encode(),
        }[self.path]()
        self.send_response(200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Teller)
print("ready", flush=True)
server.serve_forever()
