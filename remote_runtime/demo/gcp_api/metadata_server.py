"""Google's metadata server of an instance, as far as remote-runtime uses it.

Paths and the header that is demanded: https://cloud.google.com/compute/docs/metadata/querying-metadata.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from .values import Vm

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class MetadataServer:
    """Answers on ``address`` (``127.0.0.1:PORT``, for GCE_METADATA_HOST) until the ``with`` block ends; nothing before
    an instance exists."""

    def __init__(self, vm: Vm | None = None) -> None:
        self._server = _MetadataHttpServer()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="demo-metadata")
        if vm is not None:
            self.show(vm)

    def show(self, vm: Vm) -> None:
        """Answers what concerns ``vm`` from now on."""
        token = {"access_token": "demo-token", "expires_in": 3599, "token_type": "Bearer"}
        boot = {
            "deviceName": vm.name,
            "index": 0,
            "interface": "SCSI",
            "mode": "READ_WRITE",
            "type": "PERSISTENT-BALANCED",
        }
        ssd = {"interface": "NVME", "mode": "READ_WRITE", "type": "LOCAL-SSD"}
        ssds = [{"deviceName": f"local-ssd-{number}", "index": 1 + number, **ssd} for number in range(vm.local_ssds)]
        answers = {
            "instance/disks/?recursive=true": json.dumps([boot, *ssds]),
            "instance/name": vm.name,
            "instance/zone": f"projects/1/zones/{vm.zone}",
            "project/project-id": vm.project,
            "instance/service-accounts/default/token": json.dumps(token),
            "instance/service-accounts/default/scopes": "\n".join(SCOPES),
        }
        self._server.answers = {f"/computeMetadata/v1/{path}": text for path, text in answers.items()}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> MetadataServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _MetadataHttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        super().__init__(("127.0.0.1", 0), _MetadataHandler)


class _MetadataHandler(BaseHTTPRequestHandler):
    server: _MetadataHttpServer

    def do_GET(self) -> None:
        text = self.server.answers.get(self.path)
        if self.headers.get("Metadata-Flavor") != "Google" or self.headers.get("X-Forwarded-For"):
            status, text = 403, "Missing Metadata-Flavor:Google header."
        else:
            status, text = (200, text) if text is not None else (404, "Not found")
        content = text.encode()
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/text")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""
