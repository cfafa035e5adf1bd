/** Images to pictures: sheets on a canvas, and files that carry their record. */

import { toJson } from "./record.js";

const KEY = "infogan-export";

/** Images (n, h, w, channels) side by side: {data: RGBA, width, height}. */
export function sheet(images, [channels, height, width], columns, scale = 1) {
  const size = channels * height * width, count = images.length / size;
  const across = columns * width * scale, down = Math.ceil(count / columns) * height * scale;
  const data = new Uint8ClampedArray(4 * across * down).fill(255);
  for (let y = 0; y < down; y++) {
    const row = Math.floor(y / (height * scale)), line = Math.floor(y / scale) % height;
    for (let x = 0; x < across; x++) {
      const image = row * columns + Math.floor(x / (width * scale));
      if (image >= count) continue;
      const from = image * size + (line * width + (Math.floor(x / scale) % width)) * channels;
      const to = 4 * (y * across + x);
      for (let k = 0; k < 3; k++) data[to + k] = images[from + (channels === 1 ? 0 : k)];
    }
  }
  return { data, width: across, height: down };
}

/** Put a picture on a canvas, which takes its size. */
export function paint(canvas, { data, width, height }) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
}

/** A picture as a PNG that carries its record: a Blob. */
export async function toPng(picture, record) {
  const canvas = document.createElement("canvas");
  paint(canvas, picture);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const afterHeader = 8 + 25; // the signature and IHDR
  const text = chunk("tEXt", new TextEncoder().encode(`${KEY}\0${toJson(record)}`));
  const parts = [bytes.slice(0, afterHeader), text, bytes.slice(afterHeader)];
  return new Blob(parts, { type: "image/png" });
}

function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length), view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** The record in the form of a GIF's comment. */
export const toComment = (record) => `{"${KEY}":${toJson(record)}}`;
