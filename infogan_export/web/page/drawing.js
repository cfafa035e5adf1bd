/** Two ways of drawing: by the Python server, or by WebAssembly in a worker. */

const MOST = 100; // images a request: a long one would hold up the next

/** By the server that the page came from. */
export function byServer() {
  async function post(card, what, body) {
    const url = new URL(`models/${encodeURIComponent(card.name)}/${what}`, document.baseURI);
    const response = await fetch(url, { method: "POST", body }).catch(() => {
      throw new Error("The server does not answer. Is infogan-gen explore still running?");
    });
    if (!response.ok) throw new Error((await response.text()).slice(0, 300));
    return response;
  }
  return {
    async draw(card, latents) {
      return new Uint8Array(await (await post(card, "draw", latents)).arrayBuffer());
    },
    async recognize(card, pixels) {
      return (await post(card, "recognize", pixels)).json();
    },
  };
}

/** By onnxruntime-web in the visitor's browser. */
export function byWasm(ort) {
  let worker, count = 0;
  const waiting = new Map();
  function fail(message) {
    for (const { reject } of waiting.values()) reject(new Error(message));
    waiting.clear();
    worker = undefined;
  }
  function start() {
    worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = waiting.get(id) ?? {};
      waiting.delete(id);
      if (error === undefined) resolve?.(result);
      else reject?.(new Error(error));
    };
    worker.onerror = (event) =>
      fail(`This browser could not start the model: ${event.message ?? "no module workers"}`);
  }
  function ask(kind, card, input) {
    if (!worker) start();
    const id = count++;
    const name = encodeURIComponent(card.folder);
    const folder = new URL(`models/${name}/`, document.baseURI).href;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, kind, folder, input, ort });
    });
  }
  return {
    draw: (card, latents) => ask("draw", card, latents),
    recognize: (card, pixels) => ask("recognize", card, pixels),
  };
}

/** Any number of latents, a bounded number at a time. */
export async function drawMany(drawing, card, dim, latents, onProgress = () => {}) {
  const parts = [];
  for (let at = 0; at < latents.length; at += MOST * dim) {
    parts.push(await drawing.draw(card, latents.slice(at, at + MOST * dim)));
    onProgress(Math.min(1, (at + MOST * dim) / latents.length));
  }
  const images = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (images.set(part, at), at + part.length), 0);
  return images;
}
