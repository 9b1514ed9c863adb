// The family tree of a report: unpacks lineages from the page, searches them, shows one. Whatever a model wrote gets
// into the page as text nodes only (element() below); nothing here parses HTML, and nothing is fetched.
"use strict";

const known = JSON.parse(document.getElementById("main").dataset.known);
const form = document.getElementById("search");
const list = document.getElementById("list");
const more = document.getElementById("more");
const told = document.getElementById("status");
const article = document.getElementById("lineage");
const title = document.title;
const PAGE = 50; // lineages listed at a time
const SHOWN = 20000; // characters of a text until its button is pressed
const CODE = /^(```|(\t| {2,})\S|.*[;{}]\s*$|(def|class|import|from|SELECT) )/m; // in a response: it is code
const CELLS = 4e6; // of the table of a word diff; a larger one is shown as all of one and all of the other

// Packed data

const unpacked = new Map();

async function unpack(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function chunk(id) {
  if (!unpacked.has(id)) unpacked.set(id, unpack(id));
  return unpacked.get(id);
}

async function lineageAt(order) {
  return (await chunk(`tree-${Math.floor(order / known.chunk)}`))[order % known.chunk];
}

async function wholeAt(order) {
  if (!known.sampled || order % known.every) return null;
  const place = order / known.every;
  return (await unpack(`sample-${Math.floor(place / known.sampleChunk)}`))[place % known.sampleChunk];
}

// Text

const HIDDEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

function visible(text) {
  return String(text).replace(/\r\n/g, "\n").replace(HIDDEN, (char) =>
    `\u27e8U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const child of children) made.append(child instanceof Node ? child : visible(child));
  return made;
}

function block(text, kind = "text") {
  const made = element("pre", { class: kind, dir: "auto" }, text.slice(0, SHOWN));
  if (text.length <= SHOWN) return made;
  const button = element("button", { type: "button" }, `Show all ${text.length.toLocaleString("en")} characters`);
  button.addEventListener("click", () => { made.textContent = visible(text); button.remove(); });
  return element("div", {}, made, button);
}

// A response: what it fences as code, and what is code from its looks, has letters of one width.
function answer(text) {
  if (text.length > SHOWN) return block(text);
  const parts = text.split(/^(```.*\n[^]*?^```[ \t]*$)/m).filter((part) => part.trim());
  if (parts.length < 2) return block(text, CODE.test(text) ? "code" : "text");
  return element("div", {}, ...parts.map((part) => block(part.replace(/^\n+|\n+$/g, ""), part.startsWith("```") ? "code" : "text")));
}

// Word diff: the longest common subsequence of words, spaces and signs

function words(text) {
  return visible(text).match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
}

function diff(before, after) {
  const a = words(before), b = words(after);
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const left = a.slice(start, a.length - end), right = b.slice(start, b.length - end);
  const parts = [["same", a.slice(0, start).join("")], ...middle(left, right), ["same", a.slice(a.length - end).join("")]];
  return legible(parts.filter(([, text]) => text));
}

// A space, a sign or a short word that two changes have between them reads better as part of both.
function legible(parts) {
  const made = [];
  let out = "", into = "";
  const settle = () => {
    if (out) made.push(["del", out]);
    if (into) made.push(["ins", into]);
    out = into = "";
  };
  parts.forEach(([kind, text], place) => {
    const between = place > 0 && place < parts.length - 1;
    if (kind === "del") out += text;
    else if (kind === "ins") into += text;
    else if (between && (!/[\p{L}\p{N}]/u.test(text) || text.trim().length < 4)) { out += text; into += text; }
    else { settle(); made.push([kind, text]); }
  });
  settle();
  return made;
}

function middle(a, b) {
  const width = b.length + 1;
  if ((a.length + 1) * width > CELLS) return [["del", a.join("")], ["ins", b.join("")]];
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i * width + j] = a[i] === b[j]
        ? table[(i + 1) * width + j + 1] + 1
        : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const parts = [];
  const add = (kind, word) => {
    if (parts.length && parts.at(-1)[0] === kind) parts.at(-1)[1] += word;
    else parts.push([kind, word]);
  };
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add("same", a[i++]); j++; }
    else if (i < a.length && (j === b.length || table[(i + 1) * width + j] >= table[i * width + j + 1])) add("del", a[i++]);
    else add("ins", b[j++]);
  }
  return parts;
}

function diffBlock(before, after) {
  if (before.length + after.length > 4 * SHOWN) return block(after);
  const made = element("pre", { class: "text diff", dir: "auto" });
  for (const [kind, text] of diff(before, after)) made.append(kind === "same" ? text : element(kind, {}, text));
  return made;
}

// Search

function wanted() {
  const data = new FormData(form);
  const value = (name) => (data.get(name) ?? "").trim();
  const number = (name, otherwise) => (value(name) === "" ? otherwise : Number(value(name)));
  return {
    text: value("text").toLowerCase(), operator: data.get("operator"), round: data.get("round"),
    verdict: data.get("verdict"), language: value("language").toLowerCase(), score: data.get("score") ?? "",
    least: number("least", -Infinity), most: number("most", Infinity),
  };
}

// A lineage is found when one of its steps meets all that is asked.
function meets(step, text, want) {
  if (want.operator && step.op !== want.operator) return false;
  if (want.round !== "" && step.round !== Number(want.round)) return false;
  if (want.verdict === "kept" && step.filter) return false;
  if (want.verdict === "rejected" && !step.filter) return false;
  if (want.verdict.startsWith("by:") && step.filter !== want.verdict.slice(3)) return false;
  if (want.language && step.lang !== want.language) return false;
  if (want.score) {
    const score = step.scores?.[want.score];
    if (score === undefined || score < want.least || score > want.most) return false;
  }
  return !want.text || text.toLowerCase().includes(want.text) || (step.why ?? "").toLowerCase().includes(want.text);
}

let turn = 0; // of the search that counts: a newer one ends those before it

async function search() {
  const mine = ++turn, want = wanted(), found = [], languages = new Set();
  const began = performance.now();
  let fresh = true;
  const page = (until) => {
    const first = fresh ? 0 : list.children.length;
    const lines = found.slice(first, until).map(([order, entry]) => line(order, entry));
    if (fresh) {
      list.replaceChildren(...lines);
      more.hidden = true;
    } else list.append(...lines);
    fresh = false;
    return list.children[first];
  };
  for (let first = 0; first < known.lineages; first += known.chunk) {
    const entries = await chunk(`tree-${first / known.chunk}`);
    if (mine !== turn) return;
    entries.forEach((entry, place) => {
      const steps = entry.steps.length ? entry.steps : [{ round: 0 }];
      for (const step of steps) if (step.lang) languages.add(step.lang);
      if (steps.some((step) => meets(step, step.text ?? entry.seed, want))) found.push([first + place, entry]);
    });
    if (found.length && (fresh || list.children.length < PAGE)) page(PAGE); // the first ones at once, of however many
  }
  document.getElementById("languages").replaceChildren(...[...languages].sort().map((value) => element("option", { value })));
  const all = found.length === known.lineages ? "" : ` of ${known.lineages.toLocaleString("en")}`;
  told.textContent = `${found.length.toLocaleString("en")}${all} lineages`;
  told.dataset.milliseconds = Math.round(performance.now() - began);
  const offer = () => {
    more.hidden = list.children.length >= found.length;
    more.textContent = `Show ${Math.min(PAGE, found.length - list.children.length)} more`;
  };
  page(PAGE);
  offer();
  more.onclick = () => {
    const next = page(list.children.length + PAGE);
    offer();
    next.querySelector("a").focus();
  };
  mark();
}

function line(order, entry) {
  const rounds = entry.steps.filter((step) => step.round);
  const kept = rounds.filter((step) => !step.filter).length;
  const state = entry.pending ? "not finished" : `${kept} of ${rounds.length} kept`;
  return element("li", {}, element("a", { href: `#lineage=${order}` },
    element("span", { dir: "auto" }, entry.seed.slice(0, 200)),
    element("span", { class: "small" }, `lineage ${order} · ${state}`)));
}

function mark() {
  for (const link of list.querySelectorAll("a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// One lineage

function stepText(entry, whole, place) {
  if (place === 0) return whole?.seed ?? entry.seed;
  return whole?.steps[place]?.text ?? entry.steps[place]?.text ?? "";
}

function spending(step) {
  const parts = [];
  if (step.calls) parts.push(`${step.calls} call${step.calls === 1 ? "" : "s"}, ${(step.tokens ?? 0).toLocaleString("en")} tokens`);
  if (step.cost) parts.push(`$${step.cost.toFixed(4)}`);
  for (const [label, score] of Object.entries(step.scores ?? {})) parts.push(`${label} ${score}`);
  if (step.lang) parts.push(step.lang);
  return parts.join(" · ");
}

function callBlock(call) {
  const about = `${call.step} · ${call.backend}${call.model ? ` · ${call.model}` : ""} · ${call.prompt_tokens} + ` +
    `${call.completion_tokens} tokens · ${call.latency.toFixed(2)} s${call.cost ? ` · $${call.cost.toFixed(4)}` : ""}` +
    `${call.forked ? " · of another run" : ""}`;
  const made = element("details", { class: "call" }, element("summary", {}, about));
  for (const message of call.messages) {
    const content = typeof message.content === "string" ? message.content : JSON.stringify(message.content, null, 1);
    made.append(element("h5", {}, `Prompt (${message.role})`), block(content, "code"));
  }
  const outcome = call.outcome === "reply" ? call.finish : call.outcome;
  made.append(element("h5", {}, `Reply${outcome ? ` (${outcome})` : ""}`), block(call.text, "code"));
  return made;
}

function stepBlock(entry, whole, place) {
  const step = entry.steps[place], more = whole?.steps[place];
  const rejected = Boolean(step.filter);
  const made = element("section", { class: `step ${rejected ? "rejected" : "kept"}` });
  made.append(element("h4", {}, step.round ? `Round ${step.round}: ${step.op}` : "Seed"));
  const reason = more?.why ?? step.why;
  const verdict = rejected ? `rejected by ${step.filter}${reason ? `: ${reason}` : ""}` : step.row ? "kept" : "kept, no row";
  made.append(element("p", { class: "verdict", dir: "auto" }, verdict));
  const spent = spending(step);
  if (spent) made.append(element("p", { class: "small" }, spent));
  const text = stepText(entry, whole, place);
  if (!step.round) made.append(block(text));
  else if (step.unread) made.append(element("h5", {}, "No instruction could be read from"), block(text));
  else {
    const from = entry.steps[step.from ?? 0];
    made.append(element("h5", {}, `Instruction, against ${from.round ? `round ${from.round}` : "the seed"}`));
    made.append(diffBlock(stepText(entry, whole, step.from ?? 0), text));
  }
  if (more?.response) {
    made.append(element("h5", {}, more.original ? `Response, repaired by ${more.repaired}` : "Response"), answer(more.response));
    if (more.original) made.append(element("h5", {}, "Response before it was repaired"), answer(more.original));
  }
  const calls = (whole?.calls ?? []).filter((call) => call.round === step.round);
  if (calls.length) made.append(element("h5", { class: "calls" }, "Prompts and replies"), ...calls.map(callBlock));
  return made;
}

function neighbours(order) {
  const made = element("p", { class: "turn" });
  if (order > 0) made.append(element("a", { href: `#lineage=${order - 1}` }, "← previous"), " ");
  if (order < known.lineages - 1) made.append(element("a", { href: `#lineage=${order + 1}` }, "next →"), " ");
  made.append(element("a", { href: "#family" }, "close"));
  return made;
}

async function showLineage(order) {
  const [entry, whole] = await Promise.all([lineageAt(order), wholeAt(order)]);
  article.replaceChildren(element("h3", { id: "lineage-title" }, `Lineage ${order}`), element("p", { class: "small" }, entry.id), neighbours(order));
  const about = [whole?.source, whole?.licence].filter(Boolean).join(" · ");
  if (about) article.append(element("p", { class: "small" }, about));
  if (entry.pending) article.append(element("p", {}, `Not finished: ${entry.pending}`));
  if (!whole) {
    article.append(element("p", { class: "small" }, "Prompts, replies and responses are not in this file, and long texts " +
      "are cut, which … shows: a sample has them whole, and `evolteacher report RUN --full` writes those of all lineages."));
  }
  article.append(...entry.steps.map((_, place) => stepBlock(entry, whole, place)));
  if (!entry.steps.length) article.append(block(stepText(entry, whole, 0)));
  article.hidden = false;
  document.title = `Lineage ${order} \u2013 ${title}`;
  article.parentElement.classList.add("open");
  article.focus({ preventScroll: true });
  article.scrollIntoView();
}

// Whoever reads by keyboard or ear goes on where the lineage was opened.
function close() {
  const order = article.querySelector("h3").textContent.replace(/\D+/, "");
  article.hidden = true;
  article.parentElement.classList.remove("open");
  document.title = title;
  (list.querySelector(`a[href="#lineage=${order}"]`) ?? form.elements.text).focus();
}

async function follow() {
  mark();
  const asked = /^#lineage=(.+)$/.exec(location.hash)?.[1];
  if (asked === undefined) {
    if (location.hash === "#family" && !article.hidden) close();
    return;
  }
  const order = /^\d{1,9}$/.test(asked) ? Number(asked) : await orderOf(asked);
  if (order >= 0 && order < known.lineages) await showLineage(order);
  else told.textContent = `There is no lineage ${visible(asked)} in this run`;
}

async function orderOf(id) {
  for (let first = 0; first < known.lineages; first += known.chunk) {
    const place = (await chunk(`tree-${first / known.chunk}`)).findIndex((entry) => entry.id.startsWith(id));
    if (place >= 0) return first + place;
  }
  return -1;
}

// The page

document.getElementById("copy").addEventListener("click", async () => {
  const text = document.getElementById("recipe-text"), said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(text.textContent);
    said.textContent = "Copied";
  } catch { // a browser that lets no page write there: the text is selected, to be copied by hand
    getSelection().selectAllChildren(text);
    said.textContent = "Selected: copy it by hand";
  }
});

let wait = 0;
const soon = () => { clearTimeout(wait); wait = setTimeout(search, 150); };
form.addEventListener("input", soon);
form.addEventListener("reset", soon);
form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
addEventListener("hashchange", follow);
addEventListener("keydown", ({ key, target }) => {
  if (key === "Escape" && !article.hidden && !form.contains(target)) location.hash = "#family";
});
search().then(follow);
