/**
 * Philox4x32-10: random words from a seed and a counter, the same everywhere.
 *
 * The Python package draws its latents by the same generator, so image i of a
 * seed is the same here.  Key: (seed low, seed high); counter: (block, image
 * index, purpose, version).
 *
 * Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
 */

export const MAX_SEED = 2n ** 64n - 1n;
export const MAX_INDEX = 2 ** 32 - 1;

const M0 = 0xd2511f53, M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9, W1 = 0xbb67ae85;
const STREAM_VERSION = 1;

/** The high 32 bits of a 64-bit product, by halves of 16 bits. */
function high(a, b) {
  const al = a & 0xffff, ah = a >>> 16, bl = b & 0xffff, bh = b >>> 16;
  const lh = al * bh, hl = ah * bl;
  const carry = ((al * bl) >>> 16) + (lh & 0xffff) + (hl & 0xffff);
  return (ah * bh + (lh >>> 16) + (hl >>> 16) + (carry >>> 16)) >>> 0;
}

/** Ten rounds: counter of four words and key of two to four random words. */
export function philox4x32([c0, c1, c2, c3], [k0, k1]) {
  for (let round = 0; round < 10; round++) {
    const high0 = high(M0, c0), low0 = Math.imul(M0, c0);
    const high1 = high(M1, c2), low1 = Math.imul(M1, c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + W0) | 0;
    k1 = (k1 + W1) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** Words (count, width) for images `start` ... of a seed (a BigInt). */
export function words(seed, start, count, width, purpose) {
  if (seed < 0n || seed > MAX_SEED) throw new RangeError(`a seed is 0 to ${MAX_SEED}, got ${seed}`);
  if (!(start >= 0 && start + count - 1 <= MAX_INDEX)) {
    throw new RangeError(`image indices are 0 to ${MAX_INDEX}, got ${count} from ${start}`);
  }
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const result = new Uint32Array(count * width);
  for (let image = 0; image < count; image++) {
    for (let first = 0; first < width; first += 4) {
      const counter = [first / 4, start + image, purpose, STREAM_VERSION];
      const block = philox4x32(counter, key);
      for (let lane = 0; lane < 4 && first + lane < width; lane++) {
        result[image * width + first + lane] = block[lane];
      }
    }
  }
  return result;
}

/** A word to Unif(-1, 1): 2^24 even steps, never 0 or +-1. */
export const toUniform = (word) => (2 * (word >>> 8) + 1 - 2 ** 24) * 2 ** -24;

/** A word to a category 0 .. size-1, by the high half of word * size. */
export const toCategory = (word, size) => high(word, size);

/** A word to a category that comes as often as its share of 1. */
export function toShare(word, shares) {
  let total = 0;
  const last = shares.length - 1;
  for (let k = 0; k < last; k++) {
    total += shares[k];
    if (word < Math.floor(total * 2 ** 32)) return k;
  }
  return last;
}

/** A word to N(0, 1), by the inverse of its distribution function. */
export const toNormal = (word) => inverseNormal((toUniform(word) + 1) / 2);

// PPND16 of Wichura (1988), algorithm AS 241: about 16 digits everywhere.
const CENTRAL = [
  [3.387132872796366608, 133.14166789178437745, 1971.5909503065514427,
    13731.693765509461125, 45921.953931549871457, 67265.770927008700853,
    33430.575583588128105, 2509.0809287301226727],
  [1, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077,
    21213.794301586595867, 39307.89580009271061, 28729.085735721942674,
    5226.495278852854561],
];
const MIDDLE = [
  [1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055,
    3.64784832476320460504, 1.27045825245236838258, 0.24178072517745061177,
    0.0227238449892691845833, 7.7454501427834140764e-4],
  [1, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455,
    0.14810397642748007459, 0.0151986665636164571966,
    5.475938084995344946e-4, 1.05075007164441684324e-9],
];
const TAIL = [
  [6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358,
    0.29656057182850489123, 0.026532189526576123093,
    0.0012426609473880784386, 2.71155556874348757815e-5,
    2.01033439929228813265e-7],
  [1, 0.59983220655588793769, 0.13692988092273580531,
    0.0148753612908506148525, 7.868691311456132591e-4,
    1.8463183175100546818e-5, 1.4215117583164458887e-7,
    2.04426310338993978564e-15],
];

function rational([above, below], r) {
  const at = (terms) => terms.reduceRight((sum, term) => sum * r + term, 0);
  return at(above) / at(below);
}

function inverseNormal(p) {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * rational(CENTRAL, 0.180625 - q * q);
  const r = Math.sqrt(-Math.log(Math.min(p, 1 - p)));
  const size = r <= 5 ? rational(MIDDLE, r - 1.6) : rational(TAIL, r - 5);
  return q < 0 ? -size : size;
}
