"use strict";

// Pointing at a word, tabbing to it or tapping it lights the regions of the photo that it was written under: the photo
// is dimmed by a dark canvas, which the word's attention makes clear again.

const FADE = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 160; // milliseconds from light to light
const DARK = [14, 15, 22, 0.74]; // red, green, blue and opacity where there is no attention
const GLOW = [255, 196, 96, 0.1]; // and where there is full attention
const GAMMA = 0.65; // below 1, so that weak attention is still seen

for (const card of document.querySelectorAll(".card")) {
  const words = [...card.querySelectorAll(".caption button")];
  for (const word of words) word.style.setProperty("--p", word.dataset.probability);
  if (words.length) listen(card, words);
}
let folded = []; // what print has opened
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const fold of folded) fold.open = true;
});
addEventListener("afterprint", () => {
  for (const fold of folded) fold.open = false;
});

function listen(card, words) {
  const lamp = makeLamp(card.querySelector("canvas"));
  const said = card.querySelector(".said");
  const idle = said.textContent;
  const caption = card.querySelector(".caption");
  let lit = null;

  function light(word) {
    if (word === lit) return;
    lit?.classList.remove("lit");
    word?.classList.add("lit");
    card.classList.toggle("lit", Boolean(word));
    said.textContent = word ? word.getAttribute("aria-label") : idle;
    lamp(word && lightOf(word));
    lit = word;
  }
  const focused = () => words.find((word) => word === document.activeElement) ?? null;

  function go(word) {
    for (const other of words) other.tabIndex = other === word ? 0 : -1;
    word.focus();
  }

  for (const word of words) {
    word.addEventListener("pointerenter", () => light(word));
    word.addEventListener("focus", () => light(word));
    word.addEventListener("click", () => go(word)); // Safari does not focus a button that is clicked
  }
  caption.addEventListener("pointerleave", () => light(focused()));
  caption.addEventListener("focusout", (event) => caption.contains(event.relatedTarget) || light(null));
  caption.addEventListener("keydown", (event) => {
    const at = words.indexOf(document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: words.length - 1 }[event.key];
    if (event.key === "Escape") document.activeElement.blur();
    if (at < 0 || next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(words[(next + words.length) % words.length]);
  });
}

// Returns a word's light over the regions, 0 to 1.
function lightOf(word) {
  return Float32Array.from(atob(word.dataset.light), (byte) => (byte.charCodeAt(0) / 255) ** GAMMA);
}

// Returns the function that fades a canvas to a light over the regions, or to nothing when there is none.
function makeLamp(canvas) {
  const context = canvas.getContext("2d");
  let shown = null; // the regions' light as drawn
  let strength = 0; // of the whole canvas, 0 to 1
  let turn = 0; // fades that were begun; a newer one ends the older ones

  return (target) => {
    const mine = ++turn;
    const to = target ?? shown;
    const from = strength && shown ? shown : to;
    const [begin, end, start] = [strength, target ? 1 : 0, performance.now()];

    function frame(now) {
      if (mine !== turn) return;
      const part = FADE ? Math.min(1, Math.max(0, (now - start) / FADE)) : 1;
      const eased = part * (2 - part);
      shown = to.map((value, i) => from[i] + (value - from[i]) * eased);
      strength = begin + (end - begin) * eased;
      draw(context, shown, strength);
      if (part < 1) requestAnimationFrame(frame);
    }
    requestAnimationFrame(frame);
  };
}

// Draws the dark with the light in it, smooth between the regions and exact at their centres.
function draw(context, light, strength) {
  const { width, height } = context.canvas;
  const side = Math.sqrt(light.length);
  const [across, down] = [mixture(width, side), mixture(height, side)];
  const picture = context.createImageData(width, height);
  for (let y = 0, i = 0; y < height; y++) {
    const [top, bottom, lower] = down[y];
    for (let x = 0; x < width; x++, i += 4) {
      const [left, right, later] = across[x];
      const above = light[top * side + left] * (1 - later) + light[top * side + right] * later;
      const below = light[bottom * side + left] * (1 - later) + light[bottom * side + right] * later;
      paint(picture.data, i, above * (1 - lower) + below * lower, strength);
    }
  }
  context.putImageData(picture, 0, 0);
}

function paint(data, i, light, strength) {
  const dark = (1 - light) * DARK[3];
  const glow = light * GLOW[3];
  for (let c = 0; c < 3; c++) data[i + c] = (dark * DARK[c] + glow * GLOW[c]) / (dark + glow);
  data[i + 3] = 255 * strength * (dark + glow);
}

// Returns, for each pixel of a line, the two cells around it and how much of the second there is.
function mixture(pixels, cells) {
  return Array.from({ length: pixels }, (_, pixel) => {
    const place = Math.min(cells - 1, Math.max(0, ((pixel + 0.5) * cells) / pixels - 0.5));
    const first = Math.min(Math.floor(place), Math.max(0, cells - 2));
    const part = place - first;
    return [first, Math.min(first + 1, cells - 1), part * part * (3 - 2 * part)];
  });
}
