"""DockerCoins in one process, on real sockets: redis (what is used of it), rng, hasher and workers.

Usage: coinapp.py WORKERS SLEEP [FAULT]. Faults: double (each unit of work counts twice), slow (a worker
dawdles), dawdle (so it does for its first 8 units), fall (the counter is set back), stall (nobody works),
late (nobody works for 3 s), badcoin, badhash, deaf (redis never answers).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import socketserver
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

WORKERS, SLEEP, FAULT = int(sys.argv[1]), float(sys.argv[2]), (sys.argv[3:] or [""])[0]
counter = 0
wallet: dict[bytes, bytes] = {}
lock = threading.Lock()


class Redis(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2])
            self.wfile.write(answer(words))


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(value), value)


def answer(words: list[bytes]) -> bytes:
    with lock:
        if words == [b"GET", b"hashes"]:
            return bulk(b"%d" % counter) if counter else b"$-1\r\n"
        if words == [b"HGETALL", b"wallet"]:
            parts = [bulk(part) for pair in wallet.items() for part in pair]
            return b"*%d\r\n" % len(parts) + b"".join(parts)
    return b"-ERR unknown command\r\n"


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        pass

    def reply(self, data: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)


class Rng(Quiet):
    def do_GET(self) -> None:
        time.sleep(SLEEP)
        self.reply(os.urandom(int(self.path[1:])))


class Hasher(Quiet):
    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SLEEP)
        self.reply(hashlib.sha256(data + b"!" * (FAULT == "badhash")).hexdigest().encode())


def unit(number: int) -> None:
    dawdles = FAULT == "slow" or (FAULT == "dawdle" and number < 8)
    time.sleep(SLEEP + 0.25 * dawdles)
    data = urllib.request.urlopen("http://127.0.0.1:8001/32").read()
    posted = urllib.request.Request("http://127.0.0.1:8002/", data, method="POST")
    digest = urllib.request.urlopen(posted).read()
    if digest.startswith(b"0"):
        with lock:
            wallet[digest] = data


def work() -> None:
    global counter
    time.sleep(3.0 * (FAULT == "late"))
    done, since = 0, time.monotonic()
    for number in itertools.count():
        unit(number)
        done += 2 if FAULT == "double" else 1
        if time.monotonic() > since + 0.5:
            with lock:
                counter += -done if FAULT == "fall" and counter > 3 else done
            done, since = 0, time.monotonic()


def main() -> None:
    socketserver.TCPServer.request_queue_size = 64
    socketserver.ThreadingTCPServer.daemon_threads = True
    servers = [HTTPServer(("", 8001), Rng), ThreadingHTTPServer(("", 8002), Hasher)]
    redis = socketserver.ThreadingTCPServer(("", 6379), Redis)
    if FAULT == "badcoin":
        wallet[b"0" * 64] = b"not its value"
    coin = next(b"%d" % i for i in range(10_000) if hashlib.sha256(b"%d" % i).hexdigest()[0] == "0")
    wallet[hashlib.sha256(coin).hexdigest().encode()] = coin
    for server in servers if FAULT == "deaf" else [*servers, redis]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in range(0 if FAULT == "stall" else WORKERS):
        threading.Thread(target=work, daemon=True).start()
    if FAULT == "deaf":
        redis.server_close()
    os.write(1, b"ready\n")
    threading.Event().wait()


main()
