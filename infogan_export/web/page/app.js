/** The page: one state, shown by the pictures and knobs, changed by the user. */

import { cells, download, element, knob, latest, notice, pausing } from "./controls.js";
import { byServer, byWasm, drawMany } from "./drawing.js";
import { toGif } from "./gif.js";
import { fetchChecked } from "./infogan.js";
import { isCategorical, labelOf, Layout, sweepValues, swing } from "./latent.js";
import { MAX_INDEX, MAX_SEED } from "./philox.js";
import { paint, sheet, toComment, toPng } from "./pictures.js";
import { fitInto, inverted, openImage, toPixels } from "./reading.js";
import {
  commandLine, FILM, filmRecord, stageRecord, stripRecord, toJson,
} from "./record.js";
import {
  CELLS, clamp, countOf, fromHash, initialState, modelIn, settable, toHash,
} from "./state.js";

const STILL_STEP = 700; // ms a step of the sweep, where motion is not wanted
const SETTLE = 250; // ms without a change before the address follows
const REST = 80; // and before the strip does: while a knob is dragged, the stage goes first

const $ = (id) => document.getElementById(id);
const tell = (error) => notice($("notices"), String(error.message ?? error));

let drawing, models; // how pictures are made; {name, folder} of every model
let card, layout, state; // of the model that is shown
let knobs = new Map();
let shown; // the images on the stage
let read; // {pixels} of the image that was read last, and its codes

// --- what is shown -----------------------------------------------------------

const count = () => countOf(state);
const columns = () => Math.sqrt(count());
const along = () => layout.code(state.along);
const base = (number) =>
  layout.latents(number, { seed: state.seed, start: state.start, codes: state.codes });
const drawn = (latents, onProgress) => drawMany(drawing, card, layout.dim, latents, onProgress);

/** The value of a code in the first image, set or drawn. */
const valueOf = (code, first = base(1)) =>
  state.codes[code.name] ?? layout.read(first, code.name);

/** The latents of a picture in which `state.along` takes each of the values. */
function latentsAlong(values, number) {
  const still = base(number);
  const all = new Float32Array(values.length * still.length);
  values.forEach((value, index) => {
    all.set(layout.assign(still.slice(), { [state.along]: value }), index * still.length);
  });
  return all;
}

const redrawStage = latest(async () => {
  const wide = columns(), of = card;
  const images = await drawn(base(count())).catch(tell);
  if (!images || of !== card) return;
  shown = images;
  show($("stage"), $("picture"), images, wide, wide);
  $("picture").ariaLabel = described();
});

const redrawStrip = latest(async () => {
  const values = sweepValues(along()), of = card;
  const images = await drawn(latentsAlong(values, 1)).catch(tell);
  if (!images || of !== card) return;
  show($("strip"), $("strip-picture"), images, values.length, 1);
  $("strip-picture").ariaLabel = `The first image along ${state.along}`;
});

const redrawStripSoon = pausing(redrawStrip, REST);

function show(frame, canvas, images, across, down) {
  const [, height, width] = card.image_shape;
  paint(canvas, sheet(images, card.image_shape, across));
  frame.style.setProperty("--aspect", (across * width) / (down * height));
  frame.ariaBusy = "false";
  $("loading").hidden = true;
}

function described() {
  const said = layout.codes.map((code) => `${code.name} ${spokenValue(code)}`).join(", ");
  const what = count() === 1 ? "One image" : `${count()} images`;
  return `${what}, seed ${state.seed}; ${said}`;
}

function spokenValue(code) {
  if (!(code.name in state.codes)) return "drawn";
  const value = state.codes[code.name];
  return isCategorical(code) ? labelOf(code, value) : value.toFixed(2);
}

/** Bring every control to the state. */
function refreshControls() {
  const first = base(1);
  for (const code of layout.codes) {
    knobs.get(code.name).show(valueOf(code, first), code.name in state.codes);
  }
  for (const input of document.querySelectorAll("[name=view]")) input.checked = input.value === state.view;
  $("cells").value = state.cells;
  $("cells-field").style.visibility = state.view === "sheet" ? "visible" : "hidden";
  $("along").value = state.along;
  if (document.activeElement !== $("seed")) $("seed").value = state.seed;
  if (document.activeElement !== $("start")) $("start").value = state.start;
  $("lock").ariaPressed = String(state.locked);
  fillStage(
    state.view === "one" ? [] : Array.from({ length: count() }, (_, i) => `Image ${state.start + i}`),
    columns(),
  );
  const code = along(), values = sweepValues(code);
  const labels = values.map((value) => (isCategorical(code) ? labelOf(code, value) : value.toFixed(1)));
  const here = valueOf(code, first);
  const nearest = values.reduce(
    (best, value, i) => (Math.abs(value - here) < Math.abs(values[best] - here) ? i : best), 0);
  fillStrip(labels.map((label) => `${code.name} ${label}`), values.length, nearest);
  $("marks").replaceChildren(...labels.map((label) => element("span", { textContent: label })));
  $("command").textContent = currentCommand();
}

const fillStage = cells($("picture-cells"), (index) =>
  change({ start: Math.min(state.start + index, MAX_INDEX), view: "one" }));
const fillStrip = cells($("strip-cells"), (index) =>
  setCode(state.along, sweepValues(along())[index]));

const settle = pausing(() => {
  history.replaceState(null, "", toHash(state, layout));
  $("status").textContent = described();
}, SETTLE);

function refresh() {
  state.start = Math.min(state.start, MAX_INDEX + 1 - count());
  refreshControls();
  redrawStage();
  redrawStripSoon();
  settle();
}

function change(values) {
  state = { ...state, ...values };
  refresh();
}

function setCode(name, value) {
  const { [name]: _, ...rest } = state.codes;
  if (playing && name === state.along) pause();
  change({ codes: value === undefined ? rest : { ...rest, [name]: value } });
}

// --- playing -----------------------------------------------------------------

let playing; // a token of the animation that runs, undefined while it is paused

async function play() {
  const mine = (playing = {}), code = along();
  $("play").textContent = "Pause";
  $("play").ariaPressed = "true";
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const steps = sweepValues(code).length;
  const round = calm ? STILL_STEP * steps : FILM.seconds * 1000;
  const began = performance.now() - round * phaseOf(code, valueOf(code));
  while (playing === mine) {
    const phase = (((performance.now() - began) / round) % 1 + 1) % 1;
    const step = Math.floor(phase * steps);
    const value = !calm ? swing(code, phase)
      : isCategorical(code) ? step : swing(code, step / steps);
    const images = await drawn(latentsAlong([value], count())).catch(tell);
    if (!images) pause();
    if (playing !== mine) break;
    shown = images;
    paint($("picture"), sheet(images, card.image_shape, columns()));
    const single = Array.isArray(value) ? value.indexOf(Math.max(...value)) : value;
    state.codes = { ...state.codes, [code.name]: single };
    knobs.get(code.name).show(single, true);
    await (calm ? new Promise((done) => setTimeout(done, STILL_STEP)) : nextFrame());
  }
}

const nextFrame = () => new Promise((done) => requestAnimationFrame(done));

/** Where in its loop a code has a value, so that playing begins where it is. */
function phaseOf(code, value) {
  if (isCategorical(code)) return (value + 0.01) / code.size;
  const middle = (code.sweep_low + code.sweep_high) / 2;
  const half = (code.sweep_high - code.sweep_low) / 2;
  return Math.asin(clamp((value - middle) / half, -1, 1)) / (2 * Math.PI);
}

function pause() {
  if (!playing) return;
  playing = undefined;
  $("play").textContent = "Play";
  $("play").ariaPressed = "false";
  refresh();
}

// --- noise -------------------------------------------------------------------

function again() {
  pause();
  const seed = BigInt(Math.floor(Math.random() * 1e6));
  if (!state.locked) return change({ seed, start: 0 });
  const drawn = layout.sample(1, { seed });
  const codes = layout.codes.map((code) => {
    const value = layout.read(drawn, code.name);
    return [code.name, isCategorical(code) ? value : settable(code, value)];
  });
  change({ codes: Object.fromEntries(codes) });
}

function typed(input, limit, name, parse) {
  const text = input.value.trim();
  const fine = /^\d{1,20}$/.test(text) && BigInt(text) <= BigInt(limit);
  input.setCustomValidity(fine ? "" : `${name} is a whole number from 0 to ${limit}`);
  if (!fine) return input.reportValidity();
  pause();
  change({ [input.id]: parse(text) });
}

// --- reading an image --------------------------------------------------------

async function readFile(file) {
  if (!file) return;
  if (!card.recognizes) return tell(`${card.name} has no recognition network.`);
  const image = await openImage(file);
  await readPixels(toPixels(fitInto(image, card.image_shape), card.image_shape));
}

let reading = 0; // how often: only the latest is shown

async function readPixels(pixels) {
  const mine = ++reading, of = card;
  const codes = await drawing.recognize(card, pixels).catch(tell);
  if (!codes || mine !== reading || of !== card) return;
  read = { pixels, codes };
  paint($("read-picture"), sheet(pixels, card.image_shape, 1));
  const lines = layout.codes.flatMap((code) => {
    const found = read.codes[code.name];
    const text = isCategorical(code)
      ? `${found.label} (${(100 * found.probability).toFixed(0)} %)`
      : `${found.mean.toFixed(2)} ± ${found.deviation.toFixed(2)}`;
    return [element("dt", { textContent: code.name }), element("dd", { textContent: text })];
  });
  $("read-codes").replaceChildren(...lines);
  $("read").hidden = false;
}

function useReading() {
  pause();
  const codes = layout.codes.map((code) => {
    const found = read.codes[code.name];
    return [code.name, isCategorical(code) ? found.category : settable(code, found.mean)];
  });
  change({ codes: Object.fromEntries(codes) });
}

// --- taking it along ---------------------------------------------------------

const records = {
  stage: { ending: "png", make: () => stageRecord(state, card, layout) },
  strip: { ending: "png", make: () => stripRecord(state, card, layout, sweepValues(along()).length) },
  film: { ending: "gif", make: () => filmRecord(state, card, layout) },
};
const currentCommand = () => {
  const { ending, make } = records[$("which").value];
  return commandLine(make(), `${card.name}.${ending}`);
};

// What a file shows is settled before it is drawn: by then the page may show another.

async function takePng(record, latents, across, name) {
  const shape = card.image_shape;
  const picture = sheet(await drawn(latents), shape, across, record.options.scale);
  download(await toPng(picture, record), `${name}.png`);
}

const takeStage = () => takePng(records.stage.make(), base(count()), columns(), card.name);

function takeStrip() {
  const values = sweepValues(along());
  return takePng(
    records.strip.make(), latentsAlong(values, 1), values.length, `${card.name}-${state.along}`);
}

async function takeGif() {
  const record = records.film.make(), number = FILM.fps * FILM.seconds;
  const phases = Array.from({ length: number }, (_, i) => i / number);
  const values = phases.map((phase) => swing(along(), phase));
  const of = card, wide = columns(), latents = latentsAlong(values, count());
  const progress = (part) => ($("working").textContent = `Drawing ${Math.round(100 * part)} %`);
  try {
    const images = await drawn(latents, progress), size = images.length / number;
    const frames = values.map((_, i) =>
      sheet(images.subarray(i * size, (i + 1) * size), of.image_shape, wide, record.options.scale));
    const grey = of.image_shape[0] === 1;
    download(toGif(frames, { grey, fps: FILM.fps, comment: toComment(record) }), `${of.name}.gif`);
  } finally {
    $("working").textContent = "";
  }
}

function takeJson() {
  const latents = base(count()), rows = [];
  for (let at = 0; at < latents.length; at += layout.dim) {
    rows.push([...latents.subarray(at, at + layout.dim)]);
  }
  const content = { ...records.stage.make(), latents: rows };
  download(new Blob([toJson(content)], { type: "application/json" }), `${card.name}.json`);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    $("status").textContent = "Copied";
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 1500);
  } catch {
    tell(`This browser does not copy here. Select it by hand: ${text}`);
  }
}

// --- models ------------------------------------------------------------------

let opening = 0; // how often: the model that was chosen last is shown

/** Whether the model is the one to show: not where another was chosen meanwhile. */
async function openModel(name) {
  const mine = ++opening;
  if (card?.name === name) {
    $("model").value = name;
    return true;
  }
  const { folder } = models.find((model) => model.name === name);
  const at = new URL(`models/${encodeURIComponent(folder)}/card.json`, document.baseURI);
  let found;
  try {
    found = { ...(await (await fetchChecked(at)).json()), folder };
  } catch (error) {
    if (mine === opening) {
      $("model").value = card?.name ?? name;
      $("stage").ariaBusy = $("strip").ariaBusy = "false";
    }
    throw error;
  }
  if (mine !== opening) return false;
  card = found;
  layout = new Layout(card);
  document.title = `${name} · InfoGAN explorer`;
  $("description").textContent = card.description;
  $("notice").textContent = card.notice ?? "";
  $("model").value = name;
  $("reading").hidden = !card.recognizes;
  $("read").hidden = true;
  knobs = new Map(layout.codes.map((code) => [code.name, knob(code, setCode)]));
  $("codes").replaceChildren(...[...knobs.values()].map(({ root }) => root));
  $("along").replaceChildren(
    ...layout.codes.map(({ name: value }) => element("option", { value, textContent: value })));
  return true;
}

async function switchModel(name) {
  pause();
  $("stage").ariaBusy = $("strip").ariaBusy = "true";
  if (!(await openModel(name))) return;
  const old = state;
  const kept = Object.entries(old.codes).filter(([code, value]) => {
    const here = layout.code(code);
    return here && (isCategorical(here) ? value < here.size
      : value >= here.sweep_low && value <= here.sweep_high);
  });
  const { seed, start, view, cells: number, locked } = old;
  const codes = Object.fromEntries(kept);
  state = { ...initialState(name, layout), seed, start, view, cells: number, locked, codes };
  if (layout.code(old.along)) state.along = old.along;
  refresh();
}

/** Show what the address says. */
async function follow() {
  pause();
  const { hash } = location; // while a model is fetched, the address may change
  const wanted = modelIn(hash);
  const known = models.some(({ name }) => name === wanted);
  if (wanted && !known) {
    tell(`There is no model “${wanted.slice(0, 40)}” here; this is ${models[0].name}.`);
  }
  const name = known ? wanted : models[0].name;
  if (!(await openModel(name))) return;
  const { state: found, faults } = fromHash(hash, name, layout);
  state = found;
  faults.forEach(tell);
  refresh();
}

// --- the page ----------------------------------------------------------------

function listen() {
  const on = (id, event, act) =>
    $(id).addEventListener(event, (given) => Promise.resolve(act(given)).catch(tell));
  for (const input of document.querySelectorAll("[name=view]")) {
    input.addEventListener("change", () => change({ view: input.value }));
  }
  on("cells", "change", () => change({ cells: Number($("cells").value) }));
  on("along", "change", () => { pause(); change({ along: $("along").value }); });
  on("model", "change", () => switchModel($("model").value));
  on("play", "click", () => (playing ? pause() : play()));
  on("again", "click", again);
  on("lock", "click", () => change({ locked: !state.locked }));
  on("seed", "change", () => typed($("seed"), MAX_SEED, "a seed", BigInt));
  on("start", "change", () => typed($("start"), MAX_INDEX, "an image's index", Number));
  on("codes", "submit", (event) => event.preventDefault());
  on("file", "change", async () => {
    const [file] = $("file").files;
    $("file").value = ""; // or the same one, corrected, could not be chosen again
    await readFile(file);
  });
  on("read-own", "click", () => readPixels(
    shown.slice(0, card.image_shape.reduce((a, b) => a * b))));
  on("invert", "click", () => readPixels(inverted(read.pixels)));
  on("use", "click", useReading);
  const working = { png: takeStage, "strip-png": takeStrip, gif: takeGif, json: takeJson };
  for (const [id, take] of Object.entries(working)) on(id, "click", () => { pause(); return take(); });
  on("link", "click", () => {
    history.replaceState(null, "", toHash(state, layout));
    return copy(location.href, $("link"));
  });
  on("which", "change", () => ($("command").textContent = currentCommand()));
  on("copy", "click", () => copy(currentCommand(), $("copy")));
  addEventListener("hashchange", () => follow().catch(tell));
  document.addEventListener("paste", ({ clipboardData }) => {
    const file = [...clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (file) readFile(file).catch(tell);
  });
  const dragged = (event, inside) => {
    event.preventDefault();
    $("dropping").hidden = !(inside && card?.recognizes);
  };
  document.addEventListener("dragover", (event) => dragged(event, true));
  document.addEventListener("dragleave", (event) => dragged(event, event.relatedTarget !== null));
  document.addEventListener("drop", (event) => {
    dragged(event, false);
    readFile(event.dataTransfer.files[0]).catch(tell);
  });
}

async function start() {
  const found = await (await fetchChecked(new URL("models.json", document.baseURI))).json();
  models = found.models.map((model) =>
    typeof model === "string" ? { name: model, folder: model } : model);
  drawing = found.drawing === "server" ? byServer() : byWasm(found.ort);
  $("model").replaceChildren(
    ...models.map(({ name: value }) => element("option", { value, textContent: value })));
  $("models").hidden = models.length < 2;
  $("cells").replaceChildren(...CELLS.map((value) => element("option", { value, textContent: value })));
  await follow();
  listen();
  $("main").inert = false;
}

start().catch((error) => {
  $("loading").textContent = "The explorer could not start.";
  tell(error);
});
