"use strict";

// A kernel's channels: cells go in, what they print and how they end comes out.

class Kernel {
  constructor(socket) {
    this.socket = socket;
    this.session = crypto.randomUUID();
    this.cells = new Map();
    socket.onmessage = (event) => this.#hear(JSON.parse(event.data));
    socket.onclose = (event) => {
      for (const cell of this.cells.values()) cell.reject(new Error(`the channels closed with ${event.code}`));
    };
  }

  // {text, error}: what was printed, and the name of the exception that ended it. on_text hears each print.
  run(code, on_text = () => {}) {
    const msg_id = crypto.randomUUID();
    const header = { msg_id, session: this.session, username: "", date: "", msg_type: "execute_request", version: "5.3" };
    const content = { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: false };
    return new Promise((resolve, reject) => {
      this.cells.set(msg_id, { resolve, reject, on_text, text: "", error: null });
      const message = { channel: "shell", header, parent_header: {}, metadata: {}, content, buffers: [] };
      this.socket.send(JSON.stringify(message));
    });
  }

  close() {
    this.socket.onclose = null;
    this.socket.close();
  }

  #hear({ msg_type, parent_header, content }) {
    const cell = this.cells.get(parent_header?.msg_id);
    if (!cell) return;
    if (msg_type === "stream") {
      cell.text += content.text;
      cell.on_text(content.text);
    } else if (msg_type === "error") {
      cell.error = content.ename;
    } else if (msg_type === "status" && content.execution_state === "idle") {
      this.cells.delete(parent_header.msg_id);
      cell.resolve({ text: cell.text.trim(), error: cell.error });
    }
  }
}
