// The page of `promptmix review`. The server has the texts and the order; the page holds one screenful.
// Texts reach the document as text nodes only.
"use strict";

const PAGE_SIZE = 40;
const byId = id => document.getElementById(id);
const rowList = byId("rows");

let overview = { classes: [], lists: [] };
let list = "unsure";
let rows = [];          // of this page
let current = -1;       // place in `rows`
let matching = 0, skipped = 0;
let editing = false;
let done = [];          // keys that were decided here, for U
let known = new Map();  // the last state of each of them
let queue = Promise.resolve();

/** An element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child != null));
  return element;
}

/** Keys and clicks are processed in order: a decision is saved before the next one begins. */
function enqueue(work) {
  queue = queue.then(work).catch(error => tell(error.message));
  return queue;
}

async function ask(path, body = {}) {
  let answer;
  try {
    const headers = { "Content-Type": "application/json" };
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw new Error("promptmix does not answer: the review was ended in its terminal. What you decided is saved; start it again to continue.");
  }
  const isJson = (answer.headers.get("Content-Type") || "").includes("json");
  const value = isJson ? await answer.json() : { message: await answer.text() };
  return { status: answer.status, value };
}

function tell(message) {
  byId("notice").textContent = message || "";
  byId("notice").hidden = !message;
}

const say = message => { byId("spoken").textContent = message; };
const number = count => count.toLocaleString("en");
const overviewOf = name => overview.lists.find(one => one.list === name);
const isReadOnly = () => overviewOf(list).read_only;

/** The descriptions that `refine` drafted, to read. */
function showDrafts() {
  const { drafts } = overview;
  byId("drafts").hidden = !drafts.length;
  byId("drafts-count").textContent = `${drafts.length} suggested ${drafts.length === 1 ? "description" : "descriptions"}`;
  const line = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, ...value));
  byId("drafts-list").replaceChildren(...drafts.map(draft => make("li", {},
    make("p", {}, make("strong", {}, draft.class), ` told from ${draft.against}`),
    make("dl", {}, line("now", draft.old || "(none)"), line("suggested", draft.new),
      line("effect", draft.is_worse ? make("strong", { class: "worse" }, "worse: ") : null, draft.effect),
      line("to accept", make("code", {}, draft.command))))));
}

// ---- lists and filters ----

function showLists() {
  byId("task").textContent = overview.task;
  byId("run").textContent = overview.run;
  document.title = `Review · ${overview.task} · promptmix`;
  byId("lists").replaceChildren(...overview.lists.map(one => make("button", {
    type: "button", "aria-current": String(one.list === list), onclick: () => enqueue(() => choose(one.list)),
  }, one.title, " ", make("small", {}, number(one.read_only ? one.total : one.left)))));
  showProgress();
}

function showProgress() {
  const one = overviewOf(list);
  byId("explanation").textContent = one.explanation;
  byId("progress").hidden = one.read_only;
  byId("filters").elements.decided.parentElement.hidden = one.read_only;
  byId("class-of").textContent = one.read_only ? "Predicted" : "Class";
  byId("pair-of").textContent = one.read_only ? "True → predicted" : "Asked → given";
  byId("progress").max = Math.max(one.total, 1);
  byId("progress").value = one.total - one.left;
  byId("left").textContent = one.read_only ? `${number(one.total)} texts` : `${number(one.left)} of ${number(one.total)} left`;
  const count = overview.decisions;
  byId("decisions").textContent = count ? `${number(count)} ${count === 1 ? "decision" : "decisions"} saved` : "";
}

async function choose(name) {
  list = name;
  byId("filters").reset();
  if (isReadOnly()) byId("filters").elements.decided.value = "either";
  showLists();
  await load();
  focusRow(0);
  enqueue(loadFacets);
}

/** The values to filter by come after the texts: with many texts they take longer. */
async function loadFacets() {
  const wanted = list;
  const { status, value } = await ask("/api/rows", { list, limit: 0, facets: true });
  if (status === 200 && wanted === list) showFacets(value.facets);
}

function filter() {
  const form = byId("filters").elements;
  const wanted = { decided: form.decided.value };
  for (const name of ["class", "stage", "reason", "search"]) if (form[name].value) wanted[name] = form[name].value;
  if (form.pair.value) wanted.pair = JSON.parse(form.pair.value);
  for (const name of ["class", "pair", "stage", "reason", "search"]) form[name].classList.toggle("set", form[name].value !== "");
  return wanted;
}

function showFacets(facets) {
  const form = byId("filters").elements;
  const fill = (name, values, show = value => value, store = value => value) => {
    const options = values.map(([value, count]) => make("option", { value: store(value) }, `${show(value)} (${number(count)})`));
    form[name].replaceChildren(make("option", { value: "" }, "any"), ...options);
    form[name].parentElement.hidden = values.length < (name === "pair" ? 1 : 2);
  };
  fill("class", facets.class);
  fill("pair", facets.pair, ([asked, given]) => `${asked} → ${given}`, JSON.stringify);
  fill("stage", facets.stage);
  fill("reason", facets.reason);
}

// ---- rows ----

/** Loads a page: `after` or `before` a place in the list. */
async function load({ after, before } = {}) {
  const query = { list, filter: filter(), limit: PAGE_SIZE };
  if (after != null) query.after = after;
  if (before != null) query.before = before;
  const { status, value } = await ask("/api/rows", query);
  if (status !== 200) throw new Error(value.message);
  ({ rows, matching, skipped } = value);
  editing = false;
  current = rows.length ? 0 : -1;
  const hadFocus = rowList.contains(document.activeElement);
  rowList.replaceChildren(...rows.map(rowElement));
  if (hadFocus) focusRow(0);
  showPages();
}

function showPages() {
  byId("previous").disabled = skipped === 0;
  byId("next").disabled = skipped + rows.length >= matching;
  byId("span").textContent = rows.length ? `${number(skipped + 1)} to ${number(skipped + rows.length)} of ${number(matching)}` : "";
  byId("empty").hidden = rows.length > 0;
  const one = overviewOf(list);
  const all = one.total > 0 && one.left === 0 && !one.read_only && byId("filters").elements.decided.value === "no";
  byId("empty").textContent = one.total === 0 ? "This list is empty." : all ? "Everything in this list is decided." : "No text passes the filter.";
}

const percent = p => p >= 0.995 && p < 1 ? "99 %" : `${Math.round(100 * p)} %`;

function facts(row) {
  const fact = (name, value, other) => make("span", other ? { class: "other" } : {}, `${name}: ${value}`);
  const parts = [make("span", { class: "label" }, row.label)];
  if (row.read_only) return [make("span", { class: "label" }, `predicted: ${row.label}`), fact("true", row.asked, true), make("span", {}, percent(row.p)), make("span", {}, `${row.file} ${row.id}`)];
  if (row.dropped && row.reason) parts.push(make("span", { class: "state gone" }, row.decided ? `stays dropped: ${row.reason}` : row.reason));
  else if (row.dropped) parts.push(make("span", { class: "state gone" }, "dropped"));
  else if (row.decided) {
    const what = row.first_text != null ? "edited" : row.label !== row.first_label ? `was ${row.first_label}` : row.reason ? "kept" : "confirmed";
    parts.push(make("span", { class: "state" }, what));
  }
  if (!row.decided) parts.push(make("span", {}, percent(row.p)));
  if (row.why) parts.push(make("span", {}, row.why));
  const mixed = row.minor ? ` with ${row.minor}` : "";
  if (row.asked) parts.push(fact("asked", row.asked + mixed, row.asked !== row.label));
  if (row.judge) parts.push(fact("teacher", row.judge, row.judge !== row.label));
  if (row.probe) parts.push(fact("probe", row.probe, row.probe !== row.label));
  return parts;
}

/** The labels with a number key: all classes if there are at most nine, otherwise those that somebody gave. */
function candidates(row) {
  const names = overview.classes.map(one => one.name);
  if (names.length <= 9) return names;
  const given = [row.first_label, row.label, row.asked, row.judge, row.probe, ...row.scores.map(([name]) => name), row.minor];
  return [...new Set(given)].filter(name => names.includes(name)).slice(0, 9);
}

function controls(row) {
  if (row.read_only) return [];
  // The second click of a double click must not decide on the next text.
  const isCurrent = () => rows[current]?.key === row.key;
  const button = (text, key, work, more = {}) => make("button", { type: "button", onclick: () => enqueue(() => isCurrent() ? work() : undefined), ...more }, text, " ", make("kbd", {}, key));
  const description = name => overview.classes.find(one => one.name === name).description || null;
  const labels = candidates(row).map((name, at) => button(name, at + 1, () => decide({ label: name }), {
    title: description(name),
    class: name === row.label && !row.dropped ? "is" : "", "aria-pressed": String(name === row.label && !row.dropped),
  }));
  return [
    make("div", { class: "actions labels", role: "group", "aria-label": "Label" }, ...labels, button("Search", "L", openChooser)),
    make("div", { class: "actions", role: "group", "aria-label": "Decision" },
      button("Keep", "Enter", () => decide("keep"), { class: "keep" }), button("Edit", "E", startEdit),
      button("Drop", "X", () => decide("drop")), row.can_undo ? button("Undo", "U", () => undo(row.key)) : null),
  ];
}

function rowElement(row, at) {
  const isCurrent = at === current;
  const state = row.dropped ? (row.reason ? `, dropped: ${row.reason}` : ", dropped") : row.decided ? ", decided" : "";
  const element = make("li", {
    class: `row${row.decided ? " done" : ""}${row.dropped && !row.reason ? " gone" : ""}`, tabindex: isCurrent ? 0 : -1,
    "aria-current": String(isCurrent), "aria-label": `${row.text}. ${row.read_only ? `Predicted ${row.label}, true ${row.asked}` : `Label ${row.label}${state}`}`,
    onclick: event => { if (!event.target.closest("button, textarea") && at !== current) focusRow(at); },
  });
  if (isCurrent && editing) {
    const area = make("textarea", { "aria-label": "Text", dir: "auto", onkeydown: editKey });
    area.value = drafts.get(row.key) ?? row.text;
    area.addEventListener("input", () => keepDraft(row, area.value));
    const save = () => enqueue(() => saveEdit(area.value));
    element.append(area, make("div", { class: "actions" },
      make("button", { type: "button", class: "keep", onclick: save }, "Save ", make("kbd", {}, "Enter")),
      make("button", { type: "button", onclick: stopEdit }, "Cancel ", make("kbd", {}, "Esc"))));
    return element;
  }
  element.append(make("p", { class: "text", dir: "auto" }, row.text));
  if (row.first_text != null) element.append(make("p", { class: "first", dir: "auto" }, `was: ${row.first_text}`));
  if (drafts.has(row.key)) element.append(make("p", { class: "draft", dir: "auto" }, `not saved: ${drafts.get(row.key)}`));
  element.append(make("div", { class: "facts" }, ...facts(row)));
  if (isCurrent) element.append(...controls(row));
  return element;
}

function redraw(at) {
  const old = rowList.children[at];
  if (old) old.replaceWith(rowElement(rows[at], at));
}

/** Selects the row `at` of this page. */
function focusRow(at) {
  if (!rows.length) return;
  const before = current;
  current = Math.max(0, Math.min(at, rows.length - 1));
  editing = false;
  if (before !== current) redraw(before);
  redraw(current);
  rowList.children[current].focus();
  rowList.children[current].scrollIntoView({ block: "nearest" });
}

async function move(step) {
  if (step > 0 && current + step >= rows.length && skipped + rows.length < matching) return turn(1);
  if (step < 0 && current === 0 && skipped > 0) return turn(-1, true);
  focusRow(current + step);
}

async function turn(direction, last = false) {
  if (direction > 0 && skipped + rows.length < matching) await load({ after: rows[rows.length - 1].place });
  else if (direction < 0 && skipped > 0) await load({ before: rows[0].place });
  else return;
  window.scrollTo(0, 0);
  focusRow(last ? rows.length - 1 : 0);
}

// ---- decisions ----

/** Texts that are being typed, by the key of their row: only saving them or Esc ends them. */
const drafts = new Map();

function keepDraft(row, text) {
  if (text.trim() === row.text) drafts.delete(row.key);
  else drafts.set(row.key, text);
}

async function send(row, action) {
  const { status, value } = await ask("/api/decide", { key: row.key, version: row.version, action });
  if (status === 200 && action.text) drafts.delete(row.key);
  if (value.row) {
    const at = rows.findIndex(one => one.key === value.row.key);
    if (at >= 0) { rows[at] = value.row; redraw(at); }
    known.set(value.row.key, value.row);
  }
  if (value.lists) { overview.lists = value.lists; overview.decisions = value.decisions; showLists(); }
  tell(status === 200 ? "" : value.message);
  return status === 200 ? value.row : null;
}

async function decide(action) {
  const row = rows[current];
  if (!row || row.read_only) return;
  const isSo = row.decided && !row.dropped && (action === "keep" || action.label === row.label);
  if (isSo) return advance("");
  const after = await send(row, action);
  if (!after) { focusRow(current); return; }
  done.push(row.key);
  const what = action.text ? "Edited." : action.label ? `Labelled ${after.label}.` : after.dropped ? "Dropped." : "Kept.";
  if (!action.text) return advance(what);
  // An edited text may need another label, too: Enter goes on.
  focusRow(current);
  say(`${what} ${byId("left").textContent}.`);
}

/** Goes to the next text that is not decided: on this page, behind it, or from the start again. */
async function advance(what) {
  const open = rows.findIndex((row, at) => at > current && !row.decided);
  const wantsOpen = byId("filters").elements.decided.value === "no";
  if (open >= 0) focusRow(open);
  else if (skipped + rows.length < matching) await turn(1);
  else if (wantsOpen) { await load(); window.scrollTo(0, 0); focusRow(0); }
  else focusRow(current);
  say(`${what} ${byId("left").textContent}.`.trim());
}

async function undo(key) {
  const wanted = key ?? done[done.length - 1] ?? (rows[current]?.can_undo ? rows[current].key : null);
  const row = rows.find(one => one.key === wanted) ?? known.get(wanted);
  if (!row) { say("Nothing to take back."); return; }
  const after = await send(row, "undo");
  const last = done.lastIndexOf(wanted);
  if (last >= 0) done.splice(last, 1);
  if (!after) return;
  if (!rows.some(one => one.key === wanted) && after.place != null) await load(after.place > 0 ? { after: after.place - 1 } : {});
  const at = rows.findIndex(one => one.key === wanted);
  focusRow(at >= 0 ? at : current);
  say(`Taken back. ${byId("left").textContent}.`);
}

// ---- editing and choosing ----

function startEdit() {
  if (!rows[current] || rows[current].read_only) return;
  editing = true;
  redraw(current);
  const area = rowList.children[current].querySelector("textarea");
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}

function stopEdit() {
  editing = false;
  drafts.delete(rows[current].key);
  redraw(current);
  focusRow(current);
}

async function saveEdit(text) {
  if (text.trim() === rows[current].text) { stopEdit(); return; }
  editing = false;
  const { key } = rows[current];
  await decide({ text });
  // What could not be saved stays in the field.
  if (drafts.has(key) && rows[current]?.key === key) startEdit();
}

function editKey(event) {
  event.stopPropagation();
  if (event.key === "Escape") stopEdit();
  else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    const text = event.target.value;
    enqueue(() => saveEdit(text));
  }
}

function openChooser() {
  if (!rows[current] || rows[current].read_only) return;
  byId("wanted").value = "";
  showChoices();
  byId("chooser").showModal();
  byId("wanted").focus();
}

function showChoices() {
  const wanted = byId("wanted").value.trim().toLowerCase();
  const rank = one => one.name.toLowerCase().startsWith(wanted) ? 0 : one.name.toLowerCase().includes(wanted) ? 1 : one.description.toLowerCase().includes(wanted) ? 2 : 3;
  const found = overview.classes.filter(one => rank(one) < 3).sort((a, b) => rank(a) - rank(b));
  byId("choices").replaceChildren(...found.map((one, at) => make("li", {
    role: "option", id: `choice-${at}`, "aria-selected": String(at === 0), "data-name": one.name, onclick: () => pick(one.name),
  }, one.name, one.description ? make("small", {}, one.description) : null)));
  byId("wanted").setAttribute("aria-activedescendant", found.length ? "choice-0" : "");
}

function moveChoice(step) {
  const choices = [...byId("choices").children];
  const now = choices.findIndex(one => one.getAttribute("aria-selected") === "true");
  const next = Math.max(0, Math.min(choices.length - 1, now + step));
  choices.forEach((one, at) => one.setAttribute("aria-selected", String(at === next)));
  choices[next]?.scrollIntoView({ block: "nearest" });
  byId("wanted").setAttribute("aria-activedescendant", choices.length ? `choice-${next}` : "");
}

function pick(name) {
  byId("chooser").close();
  enqueue(() => decide({ label: name }));
}

byId("wanted").addEventListener("input", showChoices);
byId("wanted").addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); moveChoice(event.key === "ArrowDown" ? 1 : -1); }
  if (event.key === "Enter") {
    event.preventDefault();
    const chosen = byId("choices").querySelector('[aria-selected="true"]');
    if (chosen) pick(chosen.dataset.name);
  }
});
byId("chooser").addEventListener("close", () => focusRow(current));
byId("help").addEventListener("close", () => focusRow(current));

// ---- keys ----

const KEYS = {
  Enter: () => decide("keep"), l: openChooser, e: startEdit, x: () => decide("drop"), Delete: () => decide("drop"), u: () => undo(),
  ArrowDown: () => move(1), ArrowUp: () => move(-1), PageDown: () => turn(1), PageUp: () => turn(-1),
  Home: () => focusRow(0), End: () => focusRow(rows.length - 1),
};

rowList.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || editing) return;
  const isButton = event.target.closest("button");
  if (isButton && (event.key === "Enter" || event.key === " ")) return;
  const digit = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
  const work = digit ? () => {
    const row = rows[current];
    const name = row && candidates(row)[digit - 1];
    return name ? decide({ label: name }) : undefined;
  } : KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!work) return;
  event.preventDefault();
  // A key that is held down moves, and decides only once.
  if (event.repeat && !/^(Arrow|Page)/.test(event.key)) return;
  enqueue(work);
});

document.addEventListener("keydown", event => {
  const isTyping = event.target.closest?.("input, textarea, select");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "?") { event.preventDefault(); byId("help").showModal(); }
  if (event.key === "/") { event.preventDefault(); byId("filters").elements.search.focus(); }
});

byId("filters").addEventListener("submit", event => event.preventDefault());
byId("filters").addEventListener("change", event => { if (event.target.name !== "search") enqueue(() => load()); });
let typed;
byId("filters").elements.search.addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(() => enqueue(() => load()), 150); });
byId("filters").elements.search.addEventListener("keydown", event => {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  enqueue(() => focusRow(0));
});
byId("clear").addEventListener("click", () => enqueue(() => choose(list)));
byId("previous").addEventListener("click", () => enqueue(() => turn(-1)));
byId("next").addEventListener("click", () => enqueue(() => turn(1)));
byId("keys").addEventListener("click", () => byId("help").showModal());
/** The number of texts that were not saved when the review was to end. */
let unsaved = 0;
window.addEventListener("beforeunload", event => { if (drafts.size) event.preventDefault(); });
byId("finish").addEventListener("click", () => enqueue(async () => {
  if (drafts.size && drafts.size !== unsaved) {
    unsaved = drafts.size;
    tell(`${number(unsaved)} edited ${unsaved === 1 ? "text is" : "texts are"} not saved yet (marked “not saved”). Press Finish again to end without ${unsaved === 1 ? "it" : "them"}.`);
    return;
  }
  drafts.clear();
  const { status, value } = await ask("/api/close");
  if (status !== 200) throw new Error(value.message);
  const count = overview.decisions;
  document.body.replaceChildren(make("main", { class: "end" }, make("h1", { tabindex: -1 }, "The review has ended."),
    make("p", {}, `${number(count)} ${count === 1 ? "decision was" : "decisions were"} saved. The terminal shows the command that trains on them. You can close this window.`)));
  document.querySelector("h1").focus();
}));

enqueue(async () => {
  const { status, value } = await ask("/api/lists");
  if (status !== 200) throw new Error(value.message);
  overview = value;
  showDrafts();
  list = (overview.lists.find(one => one.left > 0 && !one.read_only) ?? overview.lists[0]).list;
  await choose(list);
});
