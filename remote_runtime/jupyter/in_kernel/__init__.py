"""Runs a program in an IPython kernel as ``python FILE`` runs it. Sent as text with each request and executed there:
standard library, IPython and pyzmq, Python 3.8+.

What the program prints, displays and asks, and its end, are items with numbers. A thread sends them to the client over
the kernel's stdin channel, and keeps them until the client has acknowledged them: a client that does not read holds the
program back. Jupyter's own outputs are limited, dropped and cut into text; they are used where no client is there.

Messages to the client have the type ``remote_runtime`` and the content ``{"run", "op": "hello"}`` or ``{"run", "op":
"item", "number", "item": ITEM}``. ITEM is one of

    {"stdout": TEXT}, {"stderr": TEXT}, {"stdout64": BASE64}, {"stderr64": BASE64}
    {"display": {"type", "content"}}                        as in Jupyter's protocol
    {"ask": {"id", "prompt", "password", "bytes"}}          the program reads its stdin
    {"end": {"status", "error": {"ename", "evalue", "traceback"} or null}}

Messages of the client have ``{"run", "op"}`` in their content's ``remote_runtime``: ``go`` answers ``hello``; ``ack``
and ``resume`` have the ``number`` of the last item that has arrived, ``resume`` asks for the later ones again;
``input`` has the ``id`` and the BASE64 ``data``, empty at the end of the input; ``closed`` has the ``name`` of a stream
that is not read any more; ``leave``: nothing will be
read.

Where no client reads, the items are published as Jupyter's messages. The end is a stream's message without text, whose
content has the ``end`` as ``remote_runtime``.
"""
