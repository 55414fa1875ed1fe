"""A small HTTP server that sleeps before it answers. Usage: http_server.py SECONDS; prints its port."""

import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

SECONDS = float(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.think()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def think(self):
        time.sleep(SECONDS)

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
