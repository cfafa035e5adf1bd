/**
 * How a picture was made: the record that the file carries, and the command
 * that makes the same picture.  Both as the Python package writes them.
 */

import { countOf, spoken } from "./state.js";

export const FILM = { loop: "seamless", fps: 20, seconds: 4 };
const WIDTH = 640, MAX_SCALE = 16;

/** The whole factor that brings a row of images to about 640 pixels. */
export const fittingScale = (card, columns) =>
  Math.min(Math.max(1, Math.round(WIDTH / (columns * card.image_shape[2]))), MAX_SCALE);

/** The picture on the stage: one image, or a contact sheet. */
export function stageRecord(state, card, layout) {
  const count = countOf(state), columns = Math.sqrt(count);
  return record("sample", state, card, {
    count,
    start: state.start,
    set: settings(state, layout),
    columns,
    scale: fittingScale(card, columns),
    padding: 0,
  });
}

/** The strip: one row, along one code. */
export function stripRecord(state, card, layout, steps) {
  return record("grid", state, card, {
    vary: [state.along],
    set: settings(state, layout, state.along),
    rows: 1,
    scale: fittingScale(card, steps),
    padding: 0,
    ...(state.start ? { start: state.start } : {}),
  });
}

/** The animation: what the stage shows, swinging along one code. */
export function filmRecord(state, card, layout) {
  const columns = Math.sqrt(countOf(state));
  return record("gif", state, card, {
    vary: [state.along],
    set: settings(state, layout, state.along),
    rows: columns,
    columns,
    ...FILM,
    scale: Math.max(1, Math.round(fittingScale(card, columns) / 2)),
    padding: 0,
    ...(state.start ? { start: state.start } : {}),
  });
}

function record(command, state, card, options) {
  const kept = Object.entries(options).filter(
    ([, value]) => typeof value !== "object" || Object.keys(value).length,
  );
  return {
    command,
    model: card.name,
    sha256: card.sha256,
    seed: state.seed,
    options: Object.fromEntries(kept),
  };
}

function settings(state, layout, without) {
  const entries = Object.entries(state.codes).filter(([name]) => name !== without);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, spoken(layout.code(name), value)]),
  );
}

/** A record as one line of JSON: a seed may be larger than a double holds. */
export function toJson(value, indent) {
  const text = JSON.stringify(
    value,
    (_, item) => (typeof item === "bigint" ? `bigint:${item}` : item),
    indent,
  );
  return ascii(text.replaceAll(/"bigint:(\d+)"/g, "$1"));
}

const ascii = (text) =>
  text.replaceAll(
    /[^\x00-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** The command that makes the picture of a record, quoted for a shell. */
export function commandLine({ command, model, seed, options }, output) {
  const parts = ["infogan-gen", command, "--model", model];
  for (const [name, value] of Object.entries(options)) {
    const flag = `--${name.replaceAll("_", "-")}`;
    if (Array.isArray(value)) value.forEach((item) => parts.push(flag, item));
    else if (typeof value === "object") {
      for (const [key, item] of Object.entries(value)) parts.push(flag, `${key}=${item}`);
    } else parts.push(flag, value);
  }
  return [...parts, "--seed", seed, "-o", output].map(quoted).join(" ");
}

function quoted(part) {
  const text = String(part);
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}
