"""An S3 bucket on this machine that answers slowly, with errors, or for a while not at all. No job of its own.

The server is moto's, behind a layer that spoils some of the answers. It lives in this process; other processes reach it
by the variables of :attr:`Bucket.environ`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

#: What S3 answers when it has too much to do or fails; clients may ask again.
_ERRORS = (("503 Slow Down", "SlowDown"), ("500 Internal Server Error", "InternalError"))


class Bucket:
    """A running server with one empty bucket, ``uri``; a context manager.

    ``errors``: share of the requests that are answered 500 or 503. ``slow_s``: the longest of the times, drawn evenly,
    that an answer is kept back [s]. Both may be set anew at any time. ``requests`` and ``failed`` count.
    """

    uri = "s3://raymap"

    def __init__(self, errors: float = 0.0, slow_s: float = 0.0, seed: int = 0) -> None:
        self.errors, self.slow_s, self.requests, self.failed = errors, slow_s, 0, 0
        self._rng, self._lock, self._server, self._thread = random.Random(seed), threading.Lock(), None, None

    def __enter__(self) -> Bucket:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app = DomainDispatcherApplication(create_backend_app)
        self._open(0)
        address = f"http://127.0.0.1:{self._server.port}"
        # moto keeps buckets for as long as the process lives.
        urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).close()
        self.environ = {
            "AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "raymap", "AWS_SECRET_ACCESS_KEY": "raymap", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        import pyarrow.fs

        pyarrow.fs.S3FileSystem(
            endpoint_override=self.environ["AWS_ENDPOINT_URL"], region="us-east-1", access_key="raymap",
            secret_key="raymap", allow_bucket_creation=True,
            retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=10),
        ).create_dir(self.uri.removeprefix("s3://"))  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @contextlib.contextmanager
    def in_environment(self) -> Iterator[None]:
        """With the variables of :attr:`environ` set in this process, and afterwards as before."""
        from raymap import storage

        before = {name: os.environ.get(name) for name in self.environ}
        os.environ.update(self.environ)
        storage.filesystem.cache_clear()
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            storage.filesystem.cache_clear()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nothing listens on the server's port while the block lasts; what it held is there again afterwards."""
        port = self._server.port
        self._close()
        try:
            yield
        finally:
            self._open(port)

    def _open(self, port: int) -> None:
        from werkzeug.serving import make_server

        self._server = make_server("127.0.0.1", port, self._spoilt, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _spoilt(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        with self._lock:
            self.requests += 1
            fails, wait_s = self._rng.random() < self.errors, self._rng.random() * self.slow_s
            status, code = self._rng.choice(_ERRORS)
            self.failed += fails
        time.sleep(wait_s)
        if not fails:
            return self._app(environ, start_response)
        # What was sent must be read, or the client sees its connection break.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        told = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>try again</Message></Error>".encode()
        start_response(status, [("content-type", "application/xml"), ("content-length", str(len(told)))])
        return [told]
