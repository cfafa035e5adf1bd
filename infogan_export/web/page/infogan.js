/**
 * A model in JavaScript: latents from seeds, images from latents, codes from
 * images.  In a page, a worker or Node; onnxruntime-web is handed in.
 *
 *   const model = await openModel(ort, new URL("./models/mnist/", location));
 *   const images = await model.draw(model.latents(1, { codes: { digit: 7 } }));
 */

import { isCategorical, labelOf, Layout } from "./latent.js";

/** Open the model in a folder (a URL that ends in /) of a site. */
export async function openModel(ort, folder) {
  const card = await (await fetchChecked(new URL("card.json", folder))).json();
  return new Model(ort, folder, card, await open(ort, folder, card.generator));
}

class Model {
  #ort; #folder; #generator; #recognition;

  constructor(ort, folder, card, generator) {
    this.#ort = ort;
    this.#folder = folder;
    this.#generator = generator;
    this.card = card;
    this.layout = new Layout(card);
  }

  /** Float32Array (count, dim); options as in `Layout.latents`. */
  latents(count, options) {
    return this.layout.latents(count, options);
  }

  /** Latents to Uint8Array (n, height, width, channels). */
  async draw(latents) {
    const n = latents.length / this.layout.dim, size = this.layout.noise.size;
    const width = this.layout.dim - size;
    const noise = new Float32Array(n * size), code = new Float32Array(n * width);
    for (let row = 0; row < n; row++) {
      const at = row * this.layout.dim;
      noise.set(latents.subarray(at, at + size), row * size);
      code.set(latents.subarray(at + size, at + size + width), row * width);
    }
    const tensor = (data, columns) => new this.#ort.Tensor("float32", data, [n, columns]);
    const feeds = { noise: tensor(noise, size), code: tensor(code, width) };
    const { image } = await this.#generator.run(feeds);
    return toBytes(image.data, n, this.card.image_shape);
  }

  /** What Q reads in one image (height, width, channels) of bytes. */
  async recognize(pixels) {
    const [channels, height, width] = this.card.image_shape;
    if (pixels.length !== channels * height * width) {
      throw new RangeError(`an image of ${width} x ${height} is needed`);
    }
    this.#recognition ??= open(this.#ort, this.#folder, this.card.recognition)
      .catch((error) => {
        this.#recognition = undefined; // to be tried again
        throw error;
      });
    const planes = new Float32Array(pixels.length);
    for (let i = 0; i < pixels.length; i++) {
      const plane = (i % channels) * height * width;
      planes[plane + Math.floor(i / channels)] = pixels[i] / 255;
    }
    const shape = [1, channels, height, width];
    const image = new this.#ort.Tensor("float32", planes, shape);
    const found = await (await this.#recognition).run({ image });
    const row = { logit: found.logit.data[0] };
    for (const code of this.layout.codes) {
      row[code.name] = reading(code, found[code.name].data);
    }
    return row;
  }
}

/** Fetch, and raise what went wrong: HTTP's status, or the network. */
export async function fetchChecked(url, options) {
  const response = await fetch(url, options).catch((error) => {
    throw new Error(`${url} could not be loaded: ${error.message}`);
  });
  if (!response.ok) throw new Error(`${url} could not be loaded: ${response.status}`);
  return response;
}

async function open(ort, folder, { file, integrity }) {
  const response = await fetchChecked(new URL(file, folder), { integrity });
  return ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()));
}

function toBytes(planes, n, [channels, height, width]) {
  const size = height * width, bytes = new Uint8Array(planes.length);
  for (let i = 0; i < bytes.length; i++) {
    const image = Math.floor(i / (size * channels)), rest = i % (size * channels);
    const plane = (rest % channels) * size + Math.floor(rest / channels);
    const value = planes[image * size * channels + plane];
    bytes[i] = Math.round(Math.min(Math.max(value, 0), 1) * 255);
  }
  return bytes;
}

function reading(code, statistics) {
  if (!isCategorical(code)) {
    return { mean: statistics[0], deviation: statistics[1] };
  }
  const most = Math.max(...statistics);
  const weights = Array.from(statistics, (logit) => Math.exp(logit - most));
  const total = weights.reduce((a, b) => a + b);
  const chances = weights.map((weight) => weight / total);
  const category = chances.indexOf(Math.max(...chances));
  return {
    category,
    label: labelOf(code, category),
    probability: chances[category],
    probabilities: Object.fromEntries(chances.map((p, k) => [labelOf(code, k), p])),
  };
}
