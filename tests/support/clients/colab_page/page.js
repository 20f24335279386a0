"use strict";

// What a test calls: connect() uses a runtime as Colab does, trespass() as a page does that has no business there.

const UPLOAD_BYTES = 50 * 1024 * 1024;
const CHUNK_BYTES = 8 * 1024 * 1024;

async function connect(url, transport_name) {
  const transport = transport_name === "bridge" ? new Bridge(url) : new Direct(url);
  say("where", `${location.origin} → ${new URL(url).host}, ${transport_name} transport`);
  document.getElementById("steps").replaceChildren();
  const found = {};
  const use = { transport };
  try {
    for (const [name, step] of Object.entries(STEPS)) {
      found[name] = await shown(name, () => step(use));
    }
    verdict(true, "Connected: everything works");
  } catch (error) {
    found.failure = String(error);
    verdict(false, "Not connected");
  } finally {
    use.kernel?.close();
    transport.carrier?.close();
  }
  return found;
}

const STEPS = {
  async "Open"({ transport }) {
    await transport.open();
    return "open";
  },

  async "Kernelspecs"({ transport }) {
    return Object.keys((await json(transport, "GET", "/api/kernelspecs")).kernelspecs).join(", ");
  },

  async "Session"(use) {
    const wanted = { name: "", path: "/fake/notebook.ipynb", type: "notebook", kernel: { name: "python3" } };
    use.session = await json(use.transport, "POST", "/api/sessions", wanted);
    use.kernel_path = `/api/kernels/${use.session.kernel.id}`;
    await attach(use);
    return use.session.kernel.name;
  },

  async "print(6*7)"({ kernel }) {
    return (await kernel.run("print(6*7)")).text;
  },

  async "Interrupt"({ transport, kernel, kernel_path }) {
    let ended;
    await new Promise((runs) => {
      ended = kernel.run("print('running', flush=True)\nwhile True: pass", runs);
    });
    await json(transport, "POST", `${kernel_path}/interrupt`, {});
    return (await ended).error;
  },

  async "Restart"(use) {
    await use.kernel.run("kept = 1");
    await json(use.transport, "POST", `${use.kernel_path}/restart`, {});
    // What the new kernel says first may miss the old channels: Jupyter's own pages open new ones, too.
    use.kernel.close();
    await attach(use);
    return (await use.kernel.run("print('kept' in globals())")).text;
  },

  async "Upload"(use) {
    const content = random(UPLOAD_BYTES);
    use.hash = await sha256(content);
    let number = 0;
    for (let at = 0; at < content.length; at += CHUNK_BYTES) {
      number += 1;
      const last = at + CHUNK_BYTES >= content.length;
      const part = await base64(content.subarray(at, at + CHUNK_BYTES));
      const model = { type: "file", format: "base64", name: "upload.bin", chunk: last ? -1 : number, content: part };
      await json(use.transport, "PUT", "/api/contents/upload.bin", model);
    }
    return use.hash;
  },

  async "Download"({ transport }) {
    const { status, body } = await transport.request("GET", "/files/upload.bin");
    if (status !== 200) throw new Error(`/files/upload.bin answered ${status}`);
    return sha256(body);
  },

  async "Resources"({ transport }) {
    const { status, body } = await transport.request("GET", "/api/colab/resources");
    const text = new TextDecoder().decode(body);
    if (status !== 200 || !text.startsWith(")]}'\n")) throw new Error(`resources: ${status} ${text.slice(0, 80)}`);
    const { memory, disks, gpus } = JSON.parse(text.slice(5));
    const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
    return `${gib(memory.totalBytes)} memory, ${gib(disks[0].filesystem.totalBytes)} disk, ${gpus.length} GPUs`;
  },
};

// Every way in that a page has which knows the URL; each says what the page got out of it.
async function trespass(url, kernel) {
  const { host } = new URL(url);
  const direct = new Direct(url);
  const bridge = new Bridge(url);
  const at = (path) => `http://${host}${path}?token=${direct.token}`;
  const plain = { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" } };
  const ways = {
    "Read": () => direct.request("GET", "/api/kernelspecs"),
    "Start a kernel": () => direct.request("POST", "/api/kernels", "{}"),
    "Start a kernel unseen": async () => {
      const { type, status } = await fetch(at("/api/kernels"), { ...plain, body: "{}" });
      return { nothing: `${type} ${status}` };
    },
    "Restart a kernel unseen": async () => {
      const { type, status } = await fetch(at(`/api/kernels/${kernel}/restart`), plain);
      return { nothing: `${type} ${status}` };
    },
    "Read unseen": async () => {
      const { type, status } = await fetch(at("/files/secret.js"), { mode: "no-cors" });
      return { nothing: `${type} ${status}` };
    },
    "Include a script": () => included("script", { src: at("/files/secret.js") }),
    "Include a style": () => included("link", { rel: "stylesheet", href: at("/files/secret.css") }),
    "Write a file": () => direct.request("PUT", "/api/contents/evil.txt", '{"type":"file","format":"text","content":""}'),
    "Kernel's channels": () => direct.socket(`/api/kernels/${kernel}/channels`),
    "Bridge": () => bridge.open(),
    "Bridged channels": () => bridge.socket(`/api/kernels/${kernel}/channels`),
  };
  say("where", `${location.origin} → ${host}`);
  const got = {};
  for (const [name, way] of Object.entries(ways)) {
    got[name] = await shown(name, async () => {
      try {
        const answer = await way();
        return answer?.nothing ?? "SERVED";
      } catch (error) {
        return String(error);
      }
    });
  }
  const served = Object.values(got).filter((answer) => answer === "SERVED").length;
  verdict(served === 0, served === 0 ? "Refused: nothing was served" : `${served} of these were served`);
  return got;
}

function included(name, attributes) {
  const element = Object.assign(document.createElement(name), attributes);
  return new Promise((resolve, reject) => {
    element.onload = () => resolve("loaded");
    element.onerror = () => reject(new Error("it was not loaded"));
    document.head.append(element);
  });
}

async function attach(use) {
  use.kernel = new Kernel(await use.transport.socket(`${use.kernel_path}/channels?session_id=${crypto.randomUUID()}`));
}

async function json(transport, method, path, content) {
  const sent = content === undefined ? undefined : JSON.stringify(content);
  const { status, body } = await transport.request(method, path, sent);
  const text = new TextDecoder().decode(body);
  if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${text.slice(0, 200)}`);
  return text ? JSON.parse(text) : null;
}

function random(length) {
  const bytes = new Uint8Array(length);
  const most = 65536; // what the browser gives at once
  for (let at = 0; at < length; at += most) crypto.getRandomValues(bytes.subarray(at, at + most));
  return bytes;
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function base64(bytes) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(new Blob([bytes]));
  });
}

async function shown(name, step) {
  const row = document.getElementById("steps").insertRow();
  const cell = (kind, text) => Object.assign(row.insertCell(), { className: kind, textContent: text });
  const began = performance.now();
  let mark = "✗";
  let text = "";
  try {
    text = await step();
    mark = text === "SERVED" ? "✗" : "✓";
    return text;
  } catch (error) {
    text = String(error);
    throw error;
  } finally {
    cell(`mark ${mark === "✓" ? "good" : "bad"}`, mark);
    row.append(Object.assign(document.createElement("th"), { textContent: name }));
    cell("found", text);
    cell("took", `${Math.round(performance.now() - began)} ms`);
  }
}

function verdict(good, text) {
  document.getElementById("verdict").className = good ? "good" : "bad";
  say("verdict", text);
}

function say(id, text) {
  document.getElementById(id).textContent = text;
}
