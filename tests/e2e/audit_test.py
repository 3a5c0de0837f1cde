# SPDX-License-Identifier: Apache-2.0
"""What a remorad did that was killed amid changes is in its audit log, and the log goes on.

Only remorad runs: volumes are made and deleted over HTTP by several clients until it is killed.
"""

import http.client
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

REMORAD = Path(os.environ["REMORA_BIN"]) / "remorad"
ROUNDS = 5
CLIENTS = 4


class Daemon:
    def __init__(self, state: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [REMORAD, "--state", state, "--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0", "--memory", "8M", *options],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert "rest=" in line, f"remorad did not start: {line}"
        self.port = int(line.rsplit(":", 1)[1])

    def call(self, verb: str, route: str, body: dict | None = None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(verb, route, json.dumps(body) if body else None,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def create(self, name: str) -> int:
        return self.call("POST", f"/v1/nullVolumes?null_volume_id={name}", {"blockSize": "512", "blocksCount": "8"})[0]

    def volumes(self) -> set[str]:
        names: set[str] = set()
        token = ""
        while True:
            page = self.call("GET", f"/v1/nullVolumes?page_size=200&page_token={token}")[1]
            names |= {volume["name"] for volume in page.get("nullVolumes", [])}
            token = page.get("nextPageToken", "")
            if not token:
                return names

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(60)
        self.process.stdout.close()


def records(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text(encoding="ascii").splitlines()]


class AuditOfAKilledDaemon(unittest.TestCase):
    def setUp(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="rma-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)

    def make_until_killed(self, round_number: int) -> None:
        daemon = Daemon(self.state)
        made = []

        def work(client: int) -> None:
            for index in range(10_000):
                try:
                    daemon.create(f"r{round_number}c{client}n{index}")
                except (OSError, http.client.HTTPException, ValueError):
                    return
                made.append(index)

        threads = [threading.Thread(target=work, args=(client,)) for client in range(CLIENTS)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(made) < 8 and time.monotonic() < deadline:
            time.sleep(0.001)
        daemon.end(signal.SIGKILL)
        for thread in threads:
            thread.join(60)
        self.assertGreaterEqual(len(made), 8)

    def test_all_that_was_made_is_in_the_log(self) -> None:
        log = self.state / "audit.log"
        for round_number in range(ROUNDS):
            self.make_until_killed(round_number)
        daemon = Daemon(self.state)
        there = daemon.volumes()
        daemon.end(signal.SIGTERM)

        begun: dict[int, dict] = {}
        ended: dict[int, dict] = {}
        for record in records(log):
            if record["event"] != "end":
                self.assertNotIn(record["seq"], begun, "a number was given twice")
            (ended if record["event"] == "end" else begun)[record["seq"]] = record
        self.assertEqual(sum(record["event"] == "start" for record in begun.values()), ROUNDS + 1)
        asked = {"volumes/" + record["resource"] for record in begun.values() if record["event"] == "begin"}
        told = {record["resource"] for record in ended.values() if record["code"] == "OK"}
        self.assertLessEqual(there, asked)
        self.assertLessEqual(told, there)
        self.assertLessEqual(set(ended), set(begun))
        self.assertTrue(told)
        self.assertEqual(stat.S_IMODE(log.stat().st_mode), 0o600)

    def test_other_file_and_none(self) -> None:
        other = self.state / "other.log"
        daemon = Daemon(self.state, "--audit", str(other))
        self.assertEqual(daemon.create("a"), 200)
        daemon.end(signal.SIGTERM)
        self.assertEqual([record["event"] for record in records(other)], ["start", "begin", "end"])

        daemon = Daemon(self.state, "--audit", "none")
        self.assertEqual(daemon.create("b"), 200)
        daemon.end(signal.SIGTERM)
        self.assertEqual(len(records(other)), 3)
        self.assertFalse((self.state / "audit.log").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
