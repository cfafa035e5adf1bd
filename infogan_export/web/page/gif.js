/** GIF89a that loops for ever: grey exactly, colour in each frame's own 256. */

/**
 * Frames to a Blob.
 *
 * Args: frames, each {data: RGBA, width, height}; grey: whether R = G = B;
 * fps; comment: text to carry.  Delays are multiples of 10 ms.
 */
export function toGif(frames, { grey, fps, comment }) {
  const { width, height } = frames[0];
  const parts = [
    ascii("GIF89a"),
    [...short(width), ...short(height), grey ? 0xf7 : 0x70, 0, 0],
    grey ? GREYS : [],
    [0x21, 0xff, 11, ...ascii("NETSCAPE2.0"), 3, 1, 0, 0, 0],
    [0x21, 0xfe, ...blocks(ascii(comment))],
  ];
  frames.forEach(({ data }, index) => {
    const begins = (i) => Math.floor((i * 100) / fps + 0.5);
    const delay = begins(index + 1) - begins(index);
    const { table, indices } = grey ? greyIndices(data) : quantize(data);
    parts.push(
      [0x21, 0xf9, 4, 0, ...short(delay), 0, 0],
      [0x2c, 0, 0, 0, 0, ...short(width), ...short(height), table ? 0x87 : 0],
      table ?? [],
      [8, ...blocks(compress(indices))],
    );
  });
  parts.push([0x3b]);
  return new Blob(parts.map((part) => Uint8Array.from(part)), { type: "image/gif" });
}

const GREYS = Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
const ascii = (text) => [...new TextEncoder().encode(text)];
const short = (n) => [n & 255, n >> 8];

function* blocks(bytes) {
  for (let at = 0; at < bytes.length; at += 255) {
    const part = bytes.slice(at, at + 255);
    yield part.length;
    yield* part;
  }
  yield 0;
}

const greyIndices = (data) => ({ indices: data.filter((_, i) => i % 4 === 0) });

/** The 256 colours of a frame, by cutting boxes at the median of their longest side. */
function quantize(data) {
  const seen = new Map(); // colour in 5 bits a channel: [count, sums of r, g, b]
  const key = (i) => ((data[i] >> 3) << 10) | ((data[i + 1] >> 3) << 5) | (data[i + 2] >> 3);
  for (let i = 0; i < data.length; i += 4) {
    let bin = seen.get(key(i));
    if (!bin) seen.set(key(i), (bin = { key: key(i), count: 0, sum: [0, 0, 0] }));
    bin.count++;
    for (let k = 0; k < 3; k++) bin.sum[k] += data[i + k];
  }
  const side = (bin, k) => bin.sum[k] / bin.count;
  const measured = (bins) => {
    const spans = [0, 1, 2].map((k) => {
      const values = bins.map((bin) => side(bin, k));
      return Math.max(...values) - Math.min(...values);
    });
    const longest = spans.indexOf(Math.max(...spans));
    const count = bins.reduce((sum, bin) => sum + bin.count, 0);
    return { bins, longest, weight: bins.length > 1 ? spans[longest] * Math.sqrt(count) : 0 };
  };
  const boxes = [measured([...seen.values()])];
  while (boxes.length < 256) {
    const box = boxes.reduce((a, b) => (b.weight > a.weight ? b : a));
    if (!box.weight) break;
    box.bins.sort((a, b) => side(a, box.longest) - side(b, box.longest));
    const half = box.bins.reduce((sum, bin) => sum + bin.count, 0) / 2;
    let at = 0, passed = 0;
    while (at < box.bins.length - 1 && passed + box.bins[at].count <= half) {
      passed += box.bins[at++].count;
    }
    const cut = Math.max(1, at);
    boxes.splice(boxes.indexOf(box), 1, measured(box.bins.slice(0, cut)), measured(box.bins.slice(cut)));
  }
  const table = new Uint8Array(768), index = new Map();
  boxes.forEach(({ bins }, i) => {
    const count = bins.reduce((sum, bin) => sum + bin.count, 0);
    for (let k = 0; k < 3; k++) {
      table[3 * i + k] = Math.round(bins.reduce((sum, bin) => sum + bin.sum[k], 0) / count);
    }
    for (const bin of bins) index.set(bin.key, i);
  });
  const indices = new Uint8Array(data.length / 4);
  for (let i = 0; i < indices.length; i++) indices[i] = index.get(key(4 * i));
  return { table, indices };
}

/** LZW with codes of 9 to 12 bits, low bits first. */
function compress(indices) {
  const CLEAR = 256, END = 257, bytes = [];
  let bits = 9, pending = 0, waiting = 0, known = new Map(), next = END + 1;
  function emit(code) {
    pending |= code << waiting;
    for (waiting += bits; waiting >= 8; waiting -= 8) {
      bytes.push(pending & 255);
      pending >>>= 8;
    }
  }
  emit(CLEAR);
  let prefix = indices[0];
  for (let i = 1; i < indices.length; i++) {
    const pair = (prefix << 8) | indices[i];
    const code = known.get(pair);
    if (code !== undefined) {
      prefix = code;
      continue;
    }
    emit(prefix);
    if (next === 4096) {
      emit(CLEAR);
      [bits, known, next] = [9, new Map(), END + 1];
    } else {
      if (next === 1 << bits) bits++;
      known.set(pair, next++);
    }
    prefix = indices[i];
  }
  emit(prefix);
  emit(END);
  if (waiting) bytes.push(pending & 255);
  return bytes;
}
