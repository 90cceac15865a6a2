"""The endpoint in this process behind real HTTP, and requests to it."""

import json
import threading
import time
import urllib.error
import urllib.request
from typing import NamedTuple

import pytest

from raymap.serving.settings import Serving


class Answered(NamedTuple):
    status: int
    headers: dict
    content: bytes

    @property
    def json(self):
        return json.loads(self.content)


class Client:
    """Requests to an endpoint."""

    def __init__(self, url):
        self.url = url

    def __call__(self, method, path, body=None, **headers):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {
            "content-type": "application/json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        asked = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=120) as found:
                return Answered(found.status, dict(found.headers), found.read())
        except urllib.error.HTTPError as error:
            return Answered(error.code, dict(error.headers), error.read())

    def get(self, path, **headers):
        return self("GET", path, **headers)

    def post(self, path, body, **headers):
        return self("POST", path, body, **headers)


def served(serving=None, wait=True):
    """(Client, function that ends it) of an endpoint on a free port, in a thread."""
    import uvicorn

    from raymap.serving import local

    config = uvicorn.Config(local.asgi(serving or Serving()), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    client = Client(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    while wait and client.get("/readyz").status != 200:
        time.sleep(0.1)

    def end():
        server.should_exit = True
        thread.join(10)

    return client, end


@pytest.fixture(scope="session")
def client_at():
    """A function: a client of an address."""
    return Client


@pytest.fixture(scope="session")
def client():
    """An endpoint with the installed model."""
    found, end = served()
    yield found
    end()


@pytest.fixture
def endpoint_of():
    """A function: a client of an endpoint with settings of its own."""
    ends = []

    def start(serving, wait=True):
        found, end = served(serving, wait)
        ends.append(end)
        return found

    yield start
    for end in ends:
        end()


@pytest.fixture
def block():
    """A request for one map of a city block."""
    antenna = {"x_m": 130.0, "y_m": 130.0, "height_m": 1.5}
    return {"area": {"kind": "tile", "name": "san-francisco-1"}, "transmitters": [antenna]}
