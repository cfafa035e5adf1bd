/** The page's small parts: knobs made from a model's codes, cells, notices. */

import { isCategorical, labelOf } from "./latent.js";
import { clamp } from "./state.js";

/** An element with properties, attributes in `data`, and children. */
export function element(name, properties = {}, ...children) {
  const { aria = {}, ...plain } = properties;
  const made = Object.assign(document.createElement(name), plain);
  for (const [key, value] of Object.entries(aria)) made.setAttribute(`aria-${key}`, value);
  made.append(...children);
  return made;
}

const DRAWN = "any";
const shown = (value) => String(Number(value.toFixed(2)));

/**
 * A knob for a code: `show(value, isSet)` brings it to a value; `onChange` is
 * called with (name, value), undefined to have the code drawn.
 */
export function knob(code, onChange) {
  return (isCategorical(code) ? buttons : slider)(code, onChange);
}

function buttons(code, onChange) {
  const radio = (value, text, title = "") => {
    const input = element("input", { type: "radio", name: `code-${code.name}`, value });
    input.addEventListener("change", () => {
      onChange(code.name, value === DRAWN ? undefined : Number(value));
    });
    return element("label", { title }, input, element("span", {}, text));
  };
  const choices = [
    radio(DRAWN, "any", "Drawn from the seed"),
    ...Array.from({ length: code.size }, (_, k) => radio(String(k), labelOf(code, k))),
  ];
  const root = element("fieldset", { className: "panel", id: `code-${code.name}` },
    element("legend", {}, code.name),
    element("p", { className: "hint" }, code.description),
    element("div", { className: "choice" }, ...choices));
  const inputs = [...root.querySelectorAll("input")];
  return {
    root,
    show(value, isSet) {
      const wanted = isSet ? String(value) : DRAWN;
      for (const input of inputs) input.checked = input.value === wanted;
    },
  };
}

function slider(code, onChange) {
  const [low, high] = [code.sweep_low, code.sweep_high];
  const step = Math.min(0.01, (high - low) / 100);
  const id = `code-${code.name}`;
  const range = element("input", { type: "range", id: `${id}-range`, min: low, max: high, step });
  range.setAttribute("aria-label", code.name);
  const number = element("input", { type: "number", min: low, max: high, step: 0.1 });
  number.setAttribute("aria-label", `${code.name}, typed`);
  const any = element("button", {
    type: "button", textContent: DRAWN, title: "Drawn from the seed", aria: { pressed: "false", label: `${code.name}: any` },
  });
  range.addEventListener("input", () => onChange(code.name, Number(range.value)));
  number.addEventListener("input", () => {
    const { badInput, rangeOverflow, rangeUnderflow } = number.validity;
    if (number.value !== "" && !(badInput || rangeOverflow || rangeUnderflow)) {
      onChange(code.name, Number(number.value));
    }
  });
  number.addEventListener("change", () => {
    const value = number.value === "" ? (low + high) / 2 : Number(number.value);
    onChange(code.name, clamp(value, low, high));
    number.value = shown(clamp(value, low, high));
  });
  any.addEventListener("click", () => {
    onChange(code.name, any.ariaPressed === "true" ? Number(range.value) : undefined);
  });
  const root = element("fieldset", { className: "panel", id },
    element("legend", {}, code.name),
    element("p", { className: "hint" }, code.description),
    element("div", { className: "slider" }, range, number, any,
      element("div", { className: "ends", aria: { hidden: "true" } },
        element("span", {}, shown(low)), element("span", {}, shown(high)))));
  return {
    root,
    show(value, isSet) {
      range.value = value;
      if (document.activeElement !== number) number.value = shown(value);
      any.ariaPressed = String(!isSet);
    },
  };
}

/**
 * Buttons over a picture's images, one tab stop for all: arrow keys move.
 * Returns a function that fills `root`: (labels, columns, current).
 */
export function cells(root, onPick) {
  const all = () => [...root.children];
  root.addEventListener("click", ({ target }) => {
    const index = all().indexOf(target);
    if (index >= 0) onPick(index);
  });
  root.addEventListener("keydown", (event) => {
    const columns = Number(root.dataset.columns), buttons = all();
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const next = buttons[buttons.indexOf(document.activeElement) + (moves[event.key] ?? NaN)];
    if (!next) return;
    event.preventDefault();
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  });
  return (labels, columns, current = -1) => {
    root.style.setProperty("--columns", columns);
    root.dataset.columns = columns;
    while (root.children.length > labels.length) root.lastChild.remove();
    while (root.children.length < labels.length) {
      root.append(element("button", { type: "button", tabIndex: root.children.length ? -1 : 0 }));
    }
    all().forEach((button, index) => {
      if (button.title !== labels[index]) button.title = labels[index];
      button.ariaLabel = labels[index];
      button.setAttribute("aria-current", String(index === current));
    });
    if (labels.length && !all().some(({ tabIndex }) => tabIndex === 0)) root.firstChild.tabIndex = 0;
  };
}

/** A line at the top that stays until it is closed. */
export function notice(root, text) {
  if ([...root.children].some((old) => old.firstChild.textContent === text)) return;
  const close = element("button", { type: "button", textContent: "Close" });
  const line = element("div", { className: "notice" }, element("span", {}, text), close);
  close.addEventListener("click", () => line.remove());
  root.append(line);
}

/** Run `work` now, or once more after it ends: only the latest wish counts. */
export function latest(work) {
  let running, wanted = false;
  async function run() {
    while (wanted) {
      wanted = false;
      await work();
    }
    running = undefined;
  }
  return () => {
    wanted = true;
    return (running ??= run());
  };
}

/** Call after a pause of so many milliseconds without another call. */
export function pausing(work, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

/** Hand a Blob over as a file. */
export function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
