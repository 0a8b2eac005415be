"""A head on loopback that speaks the few endpoints of Ray's job API which the harness uses: real HTTP, Ray's client."""

from __future__ import annotations

import asyncio
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import WSCloseCode, web

from harness import machine


class Head:
    """What the head knows, for a test to set up and to look at."""

    def __init__(self) -> None:
        self.url = ""
        self.ray_version = machine.version("ray")
        self.token = ""
        self.nodes = [{"CPU": 2.0, "memory": 1e9}]
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.packages: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.authorized = 0  # requests that brought a token, whichever
        self.bodies: list[str] = []
        self.breaks = 0  # how many streams break in the middle
        self.hangs = 0  # how many streams stand still in the middle
        self.streams = 0
        self.stops = True  # whether a job that is told to stop does
        self.ends: dict[str, Any] = {}  # what a running job becomes when its stream has been read

    def add(self, job: str, status: str, log: str = "", **more: Any) -> str:
        """Have a job."""
        self.jobs[job] = {"type": "SUBMISSION", "submission_id": job, "status": status, "entrypoint": "x", **more}
        self.logs[job] = log
        return job

    def uploaded(self) -> dict[str, bytes]:
        """The files of the one package that came."""
        (package,) = self.packages.values()
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.seen], client_max_size=2**28)
        app.add_routes([
            web.get("/api/version", self.version), web.get("/api/v0/nodes", self.list_nodes),
            web.get("/api/packages/{protocol}/{name}", self.has_package),
            web.put("/api/packages/{protocol}/{name}", self.put_package),
            web.post("/api/jobs/", self.submit), web.get("/api/jobs/", self.list_jobs),
            web.get("/api/jobs/{job}", self.job), web.post("/api/jobs/{job}/stop", self.stop),
            web.get("/api/jobs/{job}/logs", self.log), web.get("/api/jobs/{job}/logs/tail", self.tail),
        ])  # fmt: skip
        return app

    @web.middleware
    async def seen(self, request: web.Request, handler: Any) -> Any:
        self.requests.append(f"{request.method} {request.path}")
        self.authorized += "Authorization" in request.headers
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, text="Unauthorized: Missing authentication token")
        if "job" in request.match_info and request.match_info["job"] not in self.jobs:
            return web.Response(status=404, text=f"Job {request.match_info['job']} does not exist")
        return await handler(request)

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": self.ray_version, "ray_commit": "0"})

    async def list_nodes(self, request: web.Request) -> web.Response:
        rows = [
            {"node_id": f"{i:056x}", "node_ip": "10.0.0.1", "is_head_node": i == 0, "state": "ALIVE", "node_name": "n",
             "state_message": None, "resources_total": node, "labels": {}}
            for i, node in enumerate(self.nodes)
        ]  # fmt: skip
        found = {"result": rows, "total": len(rows), "num_after_truncation": len(rows), "num_filtered": len(rows)}
        return web.json_response({"result": True, "msg": "", "data": {"result": found}})

    async def has_package(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if request.match_info["name"] in self.packages else 404)

    async def put_package(self, request: web.Request) -> web.Response:
        self.packages[request.match_info["name"]] = await request.read()
        return web.Response()

    async def submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(await request.text())
        self.add(body["submission_id"], "PENDING", entrypoint=body["entrypoint"], metadata=body["metadata"])
        self.jobs[body["submission_id"]]["runtime_env"] = body["runtime_env"]
        return web.json_response({"job_id": body["submission_id"], "submission_id": body["submission_id"]})

    async def list_jobs(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.jobs.values()))

    async def job(self, request: web.Request) -> web.Response:
        return web.json_response(self.jobs[request.match_info["job"]])

    async def stop(self, request: web.Request) -> web.Response:
        if self.stops:
            self.jobs[request.match_info["job"]]["status"] = "STOPPED"
        return web.json_response({"stopped": True})

    async def log(self, request: web.Request) -> web.Response:
        return web.json_response({"logs": self.logs[request.match_info["job"]]})

    async def tail(self, request: web.Request) -> web.WebSocketResponse:
        job, socket = request.match_info["job"], web.WebSocketResponse()
        await socket.prepare(request)
        self.streams += 1
        text = self.logs[job]
        if self.hangs:
            self.hangs -= 1
            await socket.send_str(text[: len(text) // 3])
            await asyncio.sleep(30)
        if self.breaks:
            self.breaks -= 1
            await socket.send_str(text[: len(text) // 2])
            await asyncio.sleep(0.05)
            request.transport.abort()  # as where a tunnel falls
            return socket
        await socket.send_str(text)
        self.jobs[job] |= self.ends
        await socket.close(code=WSCloseCode.OK)
        return socket


@contextmanager
def serving(head: Head) -> Iterator[Head]:
    """Serve in a thread; the port is the system's choice."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    runner = web.AppRunner(head.app(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        head.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield head
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        time.sleep(0)
