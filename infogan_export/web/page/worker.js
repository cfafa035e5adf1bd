/** Runs a model with onnxruntime-web off the page's own thread. */

import { fetchChecked, openModel } from "./infogan.js";

const models = new Map();
let runtime;

/** onnxruntime-web, every file of it held to its hash. */
async function loadRuntime({ base, files }) {
  const here = new URL(base, import.meta.url);
  const [entry, glue, binary] = ["entry", "glue", "binary"].map((part) => files[part]);
  const fetched = ({ name, integrity }) => fetchChecked(new URL(name, here), { integrity });
  // A worker has no import map, so modules from elsewhere are checked by fetch.
  const address = async (file) =>
    here.origin === self.location.origin
      ? new URL(file.name, here).href
      : URL.createObjectURL(
        new Blob([await (await fetched(file)).arrayBuffer()], { type: "text/javascript" }),
      );
  const [entryAt, mjs, wasm] = await Promise.all([
    address(entry),
    address(glue),
    fetched(binary).then((response) => response.arrayBuffer()),
  ]);
  const ort = await import(entryAt);
  ort.env.wasm.wasmPaths = { mjs };
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;
  return ort;
}

async function answer({ kind, folder, input, ort }) {
  runtime ??= loadRuntime(ort);
  if (!models.has(folder)) {
    models.set(folder, runtime.then((loaded) => openModel(loaded, folder)));
  }
  try {
    await models.get(folder);
  } catch (error) {
    models.delete(folder); // to be tried again
    runtime = undefined;
    throw error;
  }
  const model = await models.get(folder);
  return kind === "draw" ? model.draw(input) : model.recognize(input);
}

self.onmessage = async ({ data: { id, ...request } }) => {
  try {
    const result = await answer(request);
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: String(error.message ?? error) });
  }
};
