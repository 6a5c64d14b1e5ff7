// Asks /json every second and draws the speed. Nothing here comes from outside.
"use strict";

const EVERY = 1000; // milliseconds between two questions
const PATIENCE = 4000; // milliseconds for an answer
const WINDOW = 10; // seconds of counter readings that make one speed
const GAP = 3.5; // seconds without a reading after which the line is broken
const SHOWN = 300; // seconds on the plot at most
const SHOWN_FIRST = 60; // seconds on the plot from the start

const series = []; // what is drawn: {t: epoch seconds, speed: hashes per second}
let readings = []; // the counter in the last WINDOW seconds: {t, hashes}
let pointed = null; // the x of the pointer on the plot

window.dockercoins = { series, state: "waiting", coins: null, hashes: null, speed: null };

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

// The slope of a least-squares line. The worker adds to the counter about once a second, in lumps: a
// difference of two readings would jump between none and two lumps, the line through ten is steady.
function slope(points) {
  const mean = (key) => points.reduce((sum, point) => sum + point[key], 0) / points.length;
  const t = mean("t"), hashes = mean("hashes");
  let above = 0, below = 0;
  for (const point of points) {
    above += (point.t - t) * (point.hashes - hashes);
    below += (point.t - t) ** 2;
  }
  return below > 0 ? Math.max(0, above / below) : 0;
}

function take(answer) {
  const t = Number(answer.now), hashes = Number(answer.hashes), coins = Number(answer.coins);
  const last = readings.at(-1);
  // A counter that went back is a new Redis; after a gap the lump that follows it is not a speed.
  if (last && (hashes < last.hashes || t - last.t > GAP || t <= last.t)) readings = [];
  readings.push({ t, hashes });
  readings = readings.filter((reading) => reading.t > t - WINDOW);
  Object.assign(window.dockercoins, { coins, hashes });
  $("coins").textContent = whole.format(coins);
  $("hashes").textContent = whole.format(hashes);
  if (readings.length < 3) return;
  const speed = slope(readings);
  series.push({ t, speed });
  while (series[0].t < t - SHOWN) series.shift();
  window.dockercoins.speed = speed;
  $("speed").textContent = speed.toFixed(speed < 100 ? 1 : 0);
}

function show(state, text) {
  window.dockercoins.state = state;
  if ($("state").textContent !== text) $("state").textContent = text; // else a screen reader repeats it
  $("state").className = state;
  document.body.classList.toggle("stale", state === "away");
}

async function ask() {
  try {
    const response = await fetch("json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    take(answer);
    show("live", "live");
  } catch (error) {
    const lost = error instanceof TypeError || error.name === "TimeoutError";
    show("away", lost ? "webui does not answer" : error.message);
  }
  draw();
  setTimeout(ask, EVERY);
}

// The step of the grid: 1, 2 or 5 times a power of ten, at most `count` steps up to `most`.
function step(most, count) {
  const power = 10 ** Math.floor(Math.log10(most / count));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => most / size <= count);
}

function add(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  $("grid").append(element);
}

// The plot's frame in its own pixels, and where a point of the series is in it.
function scales() {
  const { width, height } = $("plot").getBoundingClientRect();
  const frame = { left: 40, right: width - 8, top: 10, bottom: height - 24 };
  const end = series.length ? series.at(-1).t : 0;
  const span = Math.min(SHOWN, Math.max(SHOWN_FIRST, series.length ? end - series[0].t : 0));
  const highest = Math.max(1, ...series.map((point) => point.speed)) * 1.1;
  const size = step(highest, 5);
  const top = Math.ceil(highest / size) * size;
  return {
    frame, span, size, top,
    x: (t) => frame.right - ((end - t) / span) * (frame.right - frame.left),
    y: (speed) => frame.bottom - (speed / top) * (frame.bottom - frame.top),
  };
}

function drawGrid({ frame, span, size, top, y }) {
  $("grid").replaceChildren();
  for (let i = 0; i * size <= top + size / 2; i += 1) {
    const at = y(i * size);
    add("line", { x1: frame.left, x2: frame.right, y1: at, y2: at });
    add("text", { x: frame.left - 8, y: at + 4, "text-anchor": "end" }, String(+(i * size).toPrecision(6)));
  }
  for (const part of [1, 0.5, 0]) {
    const ago = Math.round(span * part);
    const anchor = part === 1 ? "start" : part === 0 ? "end" : "middle";
    const at = frame.right - part * (frame.right - frame.left);
    add("text", { x: at, y: frame.bottom + 18, "text-anchor": anchor }, ago ? `${ago} s ago` : "now");
  }
}

function draw() {
  const scale = scales();
  drawGrid(scale);
  let line = "", area = "", began = 0;
  series.forEach((point, i) => {
    const at = `${scale.x(point.t).toFixed(1)} ${scale.y(point.speed).toFixed(1)}`;
    const first = i === 0 || point.t - series[i - 1].t > GAP;
    const last = i + 1 === series.length || series[i + 1].t - point.t > GAP;
    if (first) began = point.t;
    line += (first ? "M" : "L") + at;
    area += first ? `M${scale.x(point.t).toFixed(1)} ${scale.frame.bottom}L${at}` : `L${at}`;
    if (last) area += `L${scale.x(point.t).toFixed(1)} ${scale.frame.bottom}L${scale.x(began).toFixed(1)} ${scale.frame.bottom}Z`;
  });
  $("graph").setAttribute("d", line);
  $("area").setAttribute("d", area);
  point(scale);
}

// The dot is on the newest point, or on the one under the pointer, whose reading it then tells.
function point(scale) {
  $("dot").setAttribute("visibility", series.length ? "visible" : "hidden");
  $("reading").textContent = "";
  if (!series.length) return;
  let chosen = series.at(-1);
  if (pointed !== null) {
    const away = (candidate) => Math.abs(scale.x(candidate.t) - pointed);
    chosen = series.reduce((best, candidate) => (away(candidate) < away(best) ? candidate : best));
    const time = new Date(chosen.t * 1000).toLocaleTimeString();
    $("reading").textContent = `${chosen.speed.toFixed(2)} at ${time}`;
  }
  $("dot").setAttribute("cx", scale.x(chosen.t));
  $("dot").setAttribute("cy", scale.y(chosen.speed));
}

$("plot").addEventListener("pointermove", (event) => {
  pointed = event.clientX - $("plot").getBoundingClientRect().left;
  draw();
});
$("plot").addEventListener("pointerleave", () => {
  pointed = null;
  draw();
});
new ResizeObserver(draw).observe($("plot"));
ask();
