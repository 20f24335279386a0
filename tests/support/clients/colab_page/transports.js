"use strict";

// Both answer request() with {status, headers, body: Uint8Array} and socket() with a WebSocket that is open.

class Direct {
  constructor(url) {
    const { host, searchParams } = new URL(url);
    this.host = host;
    this.token = searchParams.get("token");
  }

  async open() {}

  async request(method, path, body) {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const answer = await fetch(`http://${this.#with_token(path)}`, { method, body, headers });
    return { status: answer.status, headers: answer.headers, body: new Uint8Array(await answer.arrayBuffer()) };
  }

  socket(path) {
    return opened(`ws://${this.#with_token(path)}`);
  }

  close() {}

  #with_token(path) {
    return `${this.host}${path}${path.includes("?") ? "&" : "?"}token=${this.token}`;
  }
}

class Bridge {
  constructor(url) {
    this.host = new URL(url).host;
    this.query = `min_version=0.0.7&jupyter_http_over_ws_auth_url=${encodeURIComponent(url)}`;
    this.waiting = new Map();
    this.asked = 0;
  }

  async open() {
    this.carrier = await opened(`ws://${this.host}/http_over_websocket?${this.query}`);
    this.carrier.onmessage = (event) => this.#hear(JSON.parse(event.data));
    this.carrier.onclose = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(`the bridge closed with ${event.code}`));
    };
  }

  request(method, path, body) {
    const message_id = String((this.asked += 1));
    this.carrier.send(JSON.stringify({ path, method, message_id, body }));
    return new Promise((resolve, reject) => this.waiting.set(message_id, { resolve, reject, pieces: [] }));
  }

  socket(path) {
    const query = `${path.includes("?") ? "&" : "?"}${this.query}`;
    return opened(`ws://${this.host}/http_over_websocket/proxied_ws${path}${query}`);
  }

  close() {
    this.carrier.close();
  }

  #hear(piece) {
    const answer = this.waiting.get(piece.message_id);
    if (piece.status !== undefined) {
      answer.status = piece.status;
      answer.headers = new Headers(piece.headers);
    }
    if (piece.data) answer.pieces.push(Uint8Array.from(atob(piece.data), (letter) => letter.charCodeAt(0)));
    if (!piece.done) return;
    this.waiting.delete(piece.message_id);
    answer.resolve({ status: answer.status, headers: answer.headers, body: joined(answer.pieces) });
  }
}

function opened(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve(socket);
    socket.onclose = (event) => reject(new Error(`WebSocket closed with ${event.code}`));
  });
}

function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
