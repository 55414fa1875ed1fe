"""A server that takes its time: it reads the request, and sleeps before it answers. Usage: [PORT=8077] report_server.py"""

import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Reports(BaseHTTPRequestHandler):
    def do_GET(self):
        self.build_report()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"total: 12\n")

    def build_report(self):
        time.sleep(600)


server = HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8077"))), Reports)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
