/** An image of any size to the pixels that a model reads. */

const MAX_FILE = 10e6; // bytes
const MAX_PIXELS = 50e6; // more would not fit into a phone's memory

/** An image from a file, refused before its pixels are unpacked if too large. */
export async function openImage(file) {
  const name = file.name || "what was given";
  if (file.size > MAX_FILE) {
    throw new Error(`“${name}” has ${(file.size / 1e6).toFixed(0)} MB; 10 MB is the most.`);
  }
  const image = new Image(), address = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(new Error(`“${name}” is no image that this browser reads.`));
      image.src = address;
    });
    if (!image.width || image.width * image.height > MAX_PIXELS) {
      const [most, size] = [MAX_PIXELS / 1e6, `${image.width} x ${image.height}`];
      throw new Error(`“${name}” has ${size} pixels; ${most} million is the most.`);
    }
    return image;
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** An image, whole and centred on black, at a model's size: ImageData. */
export function fitInto(image, [, height, width]) {
  const part = Math.min(width / image.width, height / image.height);
  let across = image.width, down = image.height, source = image;
  const wanted = [Math.max(1, Math.round(across * part)), Math.max(1, Math.round(down * part))];
  while (across > 2 * wanted[0] && down > 2 * wanted[1]) {
    // by halves: one large step would skip pixels
    [across, down] = [Math.ceil(across / 2), Math.ceil(down / 2)];
    source = scaled(source, across, down, across, down, 0, 0);
  }
  const left = Math.floor((width - wanted[0]) / 2), top = Math.floor((height - wanted[1]) / 2);
  const canvas = scaled(source, ...wanted, width, height, left, top);
  return canvas.getContext("2d").getImageData(0, 0, width, height);
}

function scaled(source, across, down, width, height, left, top) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, left, top, across, down);
  return canvas;
}

/** ImageData to bytes (height, width, channels), grey by ITU-R 601 luma. */
export function toPixels({ data }, [channels]) {
  const pixels = new Uint8Array((data.length / 4) * channels);
  for (let i = 0; i < data.length / 4; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (channels === 1) pixels[i] = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
    else pixels.set([r, g, b], 3 * i);
  }
  return pixels;
}

export const inverted = (pixels) => pixels.map((value) => 255 - value);
