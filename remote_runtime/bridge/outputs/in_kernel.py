"""Executed by each IPython kernel when it starts (``PYTHONSTARTUP``), in the namespace of its cells: defines one
function there, and imports nothing before that is called. Then executes the user's own ``PYTHONSTARTUP``."""


def remote_runtime_outputs() -> None:
    """Show what the cells of this kernel printed while no page was open."""
    import http.client
    import json
    import os
    import re
    import socket
    import sys
    from typing import Any

    from ipykernel.connect import get_connection_file
    from IPython import get_ipython

    publish = get_ipython().display_pub.publish

    def write(text: str, name: str = "stdout") -> None:
        stream = sys.stderr if name == "stderr" else sys.stdout
        stream.write(text)
        stream.flush()

    def connect(server: "dict[str, Any]") -> http.client.HTTPConnection:
        if sys.platform == "win32" or not server.get("sock"):
            return http.client.HTTPConnection(server["hostname"], server["port"], timeout=60)
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(server["sock"])
        return connection

    def show(kind: str, content: "dict[str, Any]") -> None:
        if kind == "execute_input":
            write("\n# " + content.get("code", "").strip().replace("\n", "\n# ") + "\n")
        elif kind == "stream":
            write(content.get("text", ""), content.get("name", ""))
        elif kind == "error":
            write("\n".join(content.get("traceback", ())) + "\n")
        else:
            display_id = content.get("transient", {}).get("display_id")
            transient = {"display_id": "recorded-" + display_id} if display_id else {}
            publish(content["data"], content.get("metadata"), transient=transient, update=kind == "update_display_data")

    with open(os.environ["RR_SERVER_INFO"], encoding="utf-8") as file:
        server = json.load(file)
    kernel = re.sub(r"^kernel-|\.json$", "", os.path.basename(get_connection_file()))
    connection = connect(server)
    try:
        path = server["base_url"].rstrip("/") + "/api/remote-runtime/outputs?kernel=" + kernel
        connection.request("GET", path, headers={"Authorization": "token " + server["token"]})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError("Jupyter does not send the outputs: status {}".format(response.status))
        head = json.loads(response.readline())["kernels"][0]
        if head["requests"]:
            write("Recorded outputs of {requests} cells, {bytes} bytes\n".format(**head))
        else:
            write("No outputs of this kernel are recorded\n")
        if head["cut"]:
            write("The oldest are lost: {messages} messages, {bytes} bytes. {why}".format(**head["cut"]) + "\n")
        request, clears = "", False
        kept: "list[tuple[str, dict[str, Any]]]" = []
        for line in response:
            message = json.loads(line)
            if message["request"] != request:
                for each in kept:
                    show(*each)
                request, kept, clears = message["request"], [], False
            if message["type"] == "clear_output":
                clears = True
                if not message["content"].get("wait"):
                    kept, clears = [each for each in kept if each[0] == "execute_input"], False
                continue
            if clears:
                kept, clears = [each for each in kept if each[0] == "execute_input"], False
            kept.append((message["type"], message["content"]))
        for each in kept:
            show(*each)
    finally:
        connection.close()


def _run_own_startup() -> None:
    import os

    if "get_ipython" not in globals():  # an interactive Python that was started in a kernel
        del globals()["remote_runtime_outputs"]
    path = os.environ.get("RR_PYTHONSTARTUP", "")
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            exec(compile(file.read(), path, "exec"), globals())  # noqa: S102  # as Python does


try:
    _run_own_startup()
finally:
    del _run_own_startup
