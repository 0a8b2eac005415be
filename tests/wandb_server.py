"""A stand-in for W&B's server on loopback: it answers what `wandb sync` asks, keeps what it is told, and can fail.

The real client talks to it over real HTTP. What it keeps is what W&B would show: runs by id, each with the lines of
its history and its summary as they were streamed.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Server(ThreadingHTTPServer):
    """`behaviour`: "ok", "hang", or the HTTP status that everything is answered with."""

    daemon_threads = True

    def __init__(self, behaviour: str | int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, dict[int, dict[str, Any]]] = {}
        self.summaries: dict[str, dict[str, Any]] = {}
        self.charts: list[str] = []
        self.views: dict[str, dict[str, Any]] = {}
        self.raw = bytearray()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def log_message(self, *words: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.respond()

    do_POST = do_PUT = do_GET

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        path = urlsplit(self.path).path
        with self.server.lock:
            self.server.asked.append(path)
            self.server.raw += body
        if self.server.behaviour == "hang":
            time.sleep(60)
            return None  # who asked has gone long since
        if self.server.behaviour != "ok":
            return self.say({"error": "no"}, int(self.server.behaviour))
        with self.server.lock:
            self.say(self.answer(path, body))

    def answer(self, path: str, body: bytes) -> Any:
        if path == "/graphql":
            asked = json.loads(body)
            return {"data": self.graphql(asked["query"], asked.get("variables") or {})}
        if path.endswith("/file_stream"):
            return self.stream(path.split("/")[-2], json.loads(body))
        return {}

    def stream(self, run: str, told: dict[str, Any]) -> dict[str, Any]:
        files = told.get("files") or {}
        if "wandb-history.jsonl" in files:
            part = files["wandb-history.jsonl"]
            kept = self.server.lines.setdefault(run, {})
            kept |= {part["offset"] + i: json.loads(line) for i, line in enumerate(part["content"])}
        if "wandb-summary.json" in files:
            self.server.summaries[run] = json.loads(files["wandb-summary.json"]["content"][-1])
        if told.get("complete"):
            self.server.runs.setdefault(run, {})["exit"] = told.get("exitcode")
        return {"limits": {}}

    def graphql(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        who = {"id": "u", "entity": "team", "username": "u", "flags": "{}", "teams": {"edges": []}}
        if "upsertBucket" in query:
            kept = self.server.runs.setdefault(given["name"], {})
            kept |= {k: v for k, v in given.items() if v is not None}
            project = {"id": "p", "name": given.get("project"), "entity": {"id": "e", "name": "team"}}
            bucket = {"id": base64.b64encode(given["name"].encode()).decode(), "name": given["name"]}
            bucket |= {"displayName": given.get("displayName"), "sweepName": None, "historyLineCount": 0}
            return {"upsertBucket": {"bucket": bucket | {"project": project, "config": "{}"}, "inserted": True}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.server.url}/upload/{name}"} for name in given.get("files", [])]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if "createCustomChart" in query and given["chartName"] in self.server.charts:
            return {"createCustomChart": None}
        if "createCustomChart" in query:
            self.server.charts.append(given["chartName"])
            return {"createCustomChart": {"chart": {"id": "c"}}}
        if "upsertView" in query:
            view_id = given.get("id") or f"view{len(self.server.views)}"
            self.server.views[view_id] = given
            place = {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}
            view = {"id": view_id, "description": "", "project": place, "updatedAt": None}
            return {"upsertView": {"view": view | {k: given[k] for k in ("type", "name", "displayName", "spec")}}}
        if "internalId" in query:
            return {"project": {"internalId": "p1"}}
        if "models(" in query:
            more = {"createdAt": "2026-01-01T00:00:00Z", "isBenchmark": False, "user": None}
            page = {"endCursor": None, "hasNextPage": False}
            edges = [{"node": {"id": "p", "name": "rnn-harness", "entityName": "team", **more}, "cursor": "x"}]
            return {"models": {"edges": edges, "pageInfo": page}}
        return {"viewer": who, "serverInfo": {"features": []}}

    def say(self, what: Any, status: int = 200) -> None:
        text = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def serving(behaviour: str | int = "ok") -> Iterator[Server]:
    """Answer on a free port of loopback while inside."""
    server = Server(behaviour)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
