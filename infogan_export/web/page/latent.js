/**
 * What a generator's input is: noise z, then one column a uniform code and one
 * column a category.  The same layout, draws and sweeps as in Python.
 */

import { toCategory, toNormal, toShare, toUniform, words } from "./philox.js";

const NOISE = 0, CODE = 1; // the third counter word: which part of a latent
const STEPS = 11;

export const isCategorical = (code) => code.kind === "categorical";

/** What a category is called. */
export const labelOf = (code, category) =>
  code.labels.length ? code.labels[category] : String(category);

/** The category of a label or a number, -1 when there is none. */
export function categoryOf(code, text) {
  const named = code.labels.indexOf(text);
  if (named >= 0) return named;
  const number = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  return number < code.size ? number : -1;
}

/** The latent layout of a model, from its card. */
export class Layout {
  constructor({ noise, codes }) {
    this.noise = noise;
    this.codes = [];
    let column = noise.size;
    for (const code of codes) {
      const width = isCategorical(code) ? code.size : 1;
      this.codes.push({ ...code, column, width });
      column += width;
    }
    this.dim = column;
  }

  /** The code of that name; undefined when there is none. */
  code(name) {
    return this.codes.find((code) => code.name === name);
  }

  /** z ~ P(z), c ~ P(c) for images `start` ...: Float32Array (count, dim). */
  sample(count, { seed = 0n, start = 0 } = {}) {
    const { size, distribution } = this.noise, number = this.codes.length;
    const noise = words(BigInt(seed), start, count, size, NOISE);
    const drawn = words(BigInt(seed), start, count, number, CODE);
    const toNoise = distribution === "uniform" ? toUniform : toNormal;
    const latents = new Float32Array(count * this.dim);
    for (let row = 0; row < count; row++) {
      const latent = latents.subarray(row * this.dim, (row + 1) * this.dim);
      for (let k = 0; k < size; k++) latent[k] = toNoise(noise[row * size + k]);
      this.codes.forEach((code, k) => {
        const word = drawn[row * number + k];
        if (isCategorical(code)) {
          const shares = code.shares ?? [];
          const category = shares.length ? toShare(word, shares) : toCategory(word, code.size);
          latent[code.column + category] = 1;
        } else {
          const middle = (code.low + code.high) / 2;
          latent[code.column] = middle + ((code.high - code.low) / 2) * toUniform(word);
        }
      });
    }
    return latents;
  }

  /** Set codes in place: {name: category, weights (size,), or number}. */
  assign(latents, values) {
    for (const [name, value] of Object.entries(values)) {
      const code = this.code(name);
      if (!code) throw new RangeError(`no latent code '${name}'`);
      const columns = columnsOf(code, value);
      for (let at = code.column; at < latents.length; at += this.dim) {
        latents.set(columns, at);
      }
    }
    return latents;
  }

  /** Draw latents with the named codes set: {seed, start, codes}. */
  latents(count, { seed, start, codes = {} } = {}) {
    return this.assign(this.sample(count, { seed, start }), codes);
  }

  /** The value of a code in one latent: a category, or a number. */
  read(latent, name) {
    const code = this.code(name);
    const columns = latent.subarray(code.column, code.column + code.width);
    return isCategorical(code) ? columns.indexOf(Math.max(...columns)) : columns[0];
  }
}

function columnsOf(code, value) {
  if (!isCategorical(code)) {
    if (Number.isFinite(Math.fround(value))) return [value];
  } else if (Array.isArray(value)) {
    if (value.length === code.size && value.every(Number.isFinite)) return value;
  } else if (Number.isInteger(value) && value >= 0 && value < code.size) {
    return Array.from({ length: code.size }, (_, k) => Number(k === value));
  }
  throw new RangeError(`code '${code.name}' cannot be ${value}`);
}

/** The values that a sweep of a code goes through. */
export function sweepValues(code, steps = STEPS) {
  if (isCategorical(code)) return Array.from({ length: code.size }, (_, k) => k);
  const step = (code.sweep_high - code.sweep_low) / (steps - 1);
  const values = Array.from({ length: steps }, (_, i) => i * step + code.sweep_low);
  values[steps - 1] = code.sweep_high;
  return values;
}

/**
 * Where a code is at a phase (0 to 1) of its seamless loop.
 *
 * A uniform code swings from the middle of its range to the high end, the low
 * end and back; a categorical one goes round its categories by mixtures, each
 * held for a while.
 */
export function swing(code, phase) {
  if (!isCategorical(code)) {
    const middle = (code.sweep_low + code.sweep_high) / 2;
    const half = (code.sweep_high - code.sweep_low) / 2;
    return middle + half * Math.sin(2 * Math.PI * phase);
  }
  const position = phase * code.size;
  const left = Math.floor(position);
  const part = Math.min(Math.max(2 * (position - left) - 0.5, 0), 1);
  const weight = part * part * (3 - 2 * part);
  const mixture = new Array(code.size).fill(0);
  mixture[left % code.size] += 1 - weight;
  mixture[(left + 1) % code.size] += weight;
  return mixture;
}
