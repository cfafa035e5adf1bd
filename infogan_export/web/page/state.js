/** What the page shows, as a plain object; and its form in the address. */

import { categoryOf, isCategorical, labelOf } from "./latent.js";
import { MAX_INDEX, MAX_SEED } from "./philox.js";

export const CELLS = [4, 9, 16, 25, 36, 64, 100];

/** What is shown before anything is chosen; a code that is not set is drawn. */
export function initialState(model, layout) {
  const along = layout.codes.find((code) => !isCategorical(code)) ?? layout.codes[0];
  return {
    model,
    seed: 0n,
    start: 0,
    view: "one",
    cells: 25,
    along: along?.name ?? "",
    locked: false,
    codes: {},
  };
}

/** How many images the stage shows, as a square. */
export const countOf = ({ view, cells }) => (view === "one" ? 1 : cells);

/** The model that an address asks for, "" for none. */
export const modelIn = (hash) => new URLSearchParams(hash.replace(/^#/, "")).get("model") ?? "";

/** State to the part of an address after #. */
export function toHash(state, layout) {
  const fresh = initialState(state.model, layout);
  const parameters = new URLSearchParams({ model: state.model, seed: state.seed });
  if (state.start) parameters.set("start", state.start);
  for (const name of ["view", "cells", "along"]) {
    if (state[name] !== fresh[name]) parameters.set(name, state[name]);
  }
  if (state.locked) parameters.set("lock", "1");
  for (const [name, value] of Object.entries(state.codes)) {
    parameters.set(`set.${name}`, spoken(layout.code(name), value));
  }
  return `#${parameters}`;
}

/** An address to a state, and a line about each value that could not be used. */
export function fromHash(hash, model, layout) {
  const state = initialState(model, layout), faults = [];
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const refuse = (name, value, wanted) =>
    faults.push(`${name}: “${value.slice(0, 40)}” in the address is not ${wanted}.`);
  const readers = {
    model() {},
    seed(text) {
      const fine = /^\d{1,20}$/.test(text) && BigInt(text) <= MAX_SEED;
      if (fine) state.seed = BigInt(text);
      else refuse("seed", text, `a whole number from 0 to ${MAX_SEED}`);
    },
    start(text) {
      const fine = /^\d{1,10}$/.test(text) && Number(text) <= MAX_INDEX;
      if (fine) state.start = Number(text);
      else refuse("image", text, `a whole number from 0 to ${MAX_INDEX}`);
    },
    view(text) {
      if (["one", "sheet"].includes(text)) state.view = text;
      else refuse("view", text, "one or sheet");
    },
    cells(text) {
      if (CELLS.includes(Number(text))) state.cells = Number(text);
      else refuse("cells", text, `one of ${CELLS.join(", ")}`);
    },
    along(text) {
      if (layout.code(text)) state.along = text;
      else refuse("along", text, `one of ${layout.codes.map((code) => code.name).join(", ")}`);
    },
    lock(text) {
      if (["0", "1"].includes(text)) state.locked = text === "1";
      else refuse("lock", text, "0 or 1");
    },
  };
  for (const [key, text] of parameters) {
    if (key.startsWith("set.")) setCode(key.slice(4), text);
    else if (Object.hasOwn(readers, key)) readers[key](text);
    else faults.push(`“${key.slice(0, 40)}” in the address means nothing here.`);
  }
  function setCode(name, text) {
    const code = layout.code(name);
    if (!code) {
      faults.push(`${model} has no code “${name.slice(0, 40)}”.`);
    } else if (isCategorical(code)) {
      const category = categoryOf(code, text);
      if (category >= 0) state.codes[name] = category;
      else refuse(name, text, `one of its ${code.size} categories`);
    } else {
      const value = text.trim() === "" ? NaN : Number(text);
      const [low, high] = [code.sweep_low, code.sweep_high];
      if (!Number.isFinite(value)) {
        refuse(name, text, `a number from ${low} to ${high}`);
      } else {
        state.codes[name] = clamp(value, low, high);
        if (state.codes[name] !== value) {
          faults.push(`${name}: ${value} is beyond ${low} to ${high}; shown at ${state.codes[name]}.`);
        }
      }
    }
  }
  return { state, faults };
}

/** A uniform code's value as knobs and the address hold it. */
export const settable = (code, value) =>
  clamp(Number(value.toFixed(2)), code.sweep_low, code.sweep_high);

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** A code's value as people and the command line write it. */
export const spoken = (code, value) =>
  isCategorical(code) ? labelOf(code, value) : String(value);
