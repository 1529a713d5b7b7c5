"use strict";
// One trial at a time: play, grade, send. What is sent is stored before the answer comes; a trial whose answer
// is lost on the way is sent again, and the server stores it once.

const $ = (id) => document.getElementById(id);
const state = { code: "", test: null, trial: null, slot: 0, played: new Set(), plays: 0, began: 0, sending: false };

async function ask(path, body) {
  const init = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, init);
  } catch {
    throw new Error("The server does not answer. What you sent is safe; press Enter to try again.");
  }
  const values = await answer.json();
  if (!answer.ok) throw new Error(values.error || `The server says ${answer.status}.`);
  return values;
}

function show(name) {
  for (const id of ["welcome", "trial", "done"]) $(id).hidden = id !== name;
  $("foot").hidden = !state.code;
  $("shown").textContent = state.code;
}

function problem(error) {
  $("problem").hidden = !error;
  $("problem").textContent = error ? error.message : "";
}

function remember(code) {
  state.code = code;
  try { localStorage.setItem("edgefoley-listener", code); } catch { /* private windows may refuse */ }
}

async function start() {
  state.test = await ask("/api/test");
  document.title = state.test.title;
  $("title").textContent = state.test.title;
  const count = state.test.questions[0].labels.length;
  const stepped = state.test.questions[0].steps;
  const keys = stepped ? `1 to ${count} give the grade, arrows change it`
    : "arrows move a slider, letters choose a sound";
  $("keys").textContent = keys + (state.test.method === "acr" || !stepped ? "" : ", letters choose a sound");
  $("lowest").hidden = !stepped;
  let kept = "";
  try { kept = localStorage.getItem("edgefoley-listener") || ""; } catch { /* see above */ }
  $("code").value = kept;
  show("welcome");
  (kept ? $("code") : $("begin")).focus();
}

async function next() {
  const trial = await ask(`/api/trial?code=${encodeURIComponent(state.code)}`);
  if (trial.done) {
    $("video").pause();
    $("place").textContent = `${trial.total} of ${trial.total}`;
    show("done");
    return;
  }
  Object.assign(state, { trial, slot: 0, played: new Set(), plays: 0, began: performance.now() });
  const where = `${trial.position + 1} of ${trial.total}`;
  $("place").textContent = trial.training ? `${where}, practice` : where;
  $("note").hidden = trial.grade === null;
  if (trial.grade !== null) {
    $("note").textContent = `This video checks that you are listening to us: whatever you hear, give ${wording(trial.grade)} to every question.`;
  }
  drawSounds();
  drawGrades();
  choose(0, false);
  show("trial");
  update();
  $("play").focus();
}

function wording(grade) {
  const question = state.test.questions[0];
  return `grade ${keyOf(question, grade)} (${question.labels[grade - question.low]})`;
}

// Keys are 1 to n from the lowest grade on; comparison scales begin at -3.
const keyOf = (question, grade) => (question.low === 1 ? grade : `${grade > 0 ? "+" : ""}${grade}, key ${grade - question.low + 1}`);

function drawSounds() {
  const { slots } = state.trial;
  $("sounds").replaceChildren(...(slots.length < 2 ? [] : slots.map((slot, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(slot.label, " ", Object.assign(document.createElement("kbd"), { textContent: slot.label[0].toLowerCase() }));
    button.addEventListener("click", () => { choose(index, true); });
    return button;
  })));
}

function choose(index, play) {
  const video = $("video");
  // Beside each other, sounds are compared at the same place; one after the other, from the beginning.
  const at = state.test.method === "mushra" && state.slot !== index ? video.currentTime : 0;
  state.slot = index;
  [...$("sounds").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
  video.src = `/media/${state.trial.slots[index].token}`;
  video.load();
  if (at) video.addEventListener("loadedmetadata", () => { video.currentTime = at; }, { once: true });
  if (play) run();
}

function run() {
  $("video").play().then(() => { state.plays += 1; }).catch(() => { /* another sound was chosen meanwhile */ });
}

function toggle() {
  const video = $("video");
  if (video.paused) run(); else video.pause();
}

function drawGrades() {
  const { questions } = state.test;
  const rated = state.trial.slots.filter((slot) => slot.rated);
  $("grades").replaceChildren(...questions.map((question, index) => {
    const set = document.createElement("fieldset");
    const legend = document.createElement("legend");
    legend.textContent = question.text;
    set.append(legend);
    if (question.steps) set.append(radios(question, index, rated[0].token));
    else set.append(words(question), ...rated.map((slot) => slider(question, slot)));
    set.addEventListener("focusin", mark);
    return set;
  }));
  mark();
}

function radios(question, index, token) {
  const box = document.createElement("div");
  box.className = "scale";
  question.labels.forEach((text, i) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: `q${index}`, value: question.low + i });
    Object.assign(input.dataset, { question: question.key, token });
    const number = document.createElement("b");
    number.textContent = question.low < 0 && question.low + i > 0 ? `+${question.low + i}` : question.low + i;
    label.append(input, number, Object.assign(document.createElement("span"), { textContent: text }));
    if (question.low !== 1) label.append(Object.assign(document.createElement("kbd"), { textContent: i + 1 }));
    box.append(label);
  });
  box.addEventListener("change", update);
  return box;
}

function words(question) {
  const row = document.createElement("div");
  row.className = "words";
  const middle = document.createElement("div");
  middle.append(...question.labels.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
  row.append(document.createElement("span"), middle);
  return row;
}

function slider(question, slot) {
  const row = document.createElement("div");
  row.className = "slider";
  const input = Object.assign(document.createElement("input"), {
    type: "range", min: question.low, max: question.high, value: (question.low + question.high) / 2, id: `${question.key}-${slot.label}`,
  });
  Object.assign(input.dataset, { question: question.key, token: slot.token });
  const label = Object.assign(document.createElement("label"), { htmlFor: input.id, textContent: slot.label });
  const value = document.createElement("output");
  value.textContent = "–";
  // A slider that nobody touched is no grade.
  const touched = () => { input.dataset.touched = "yes"; value.textContent = input.value; update(); };
  input.addEventListener("input", touched);
  input.addEventListener("change", touched);
  row.append(label, input, value);
  return row;
}

function given() {
  const chosen = [...document.querySelectorAll("#grades input:checked, #grades input[data-touched]")];
  return chosen.map((input) => ({ question: input.dataset.question, token: input.dataset.token, value: Number(input.value) }));
}

function wanted() {
  return state.test.questions.length * state.trial.slots.filter((slot) => slot.rated).length;
}

function update() {
  const { slots } = state.trial;
  const unheard = slots.filter((_, index) => !state.played.has(index));
  const open = wanted() - given().length;
  $("heard").textContent = unheard.length ? "" : "heard";
  $("next").disabled = state.sending || unheard.length > 0 || open > 0;
  const parts = [];
  if (unheard.length) parts.push(slots.length > 1 ? `to hear to the end: ${unheard.map((slot) => slot.label).join(", ")}` : "hear it to the end");
  if (open) parts.push(`${open} ${open === 1 ? "grade is" : "grades are"} missing`);
  $("missing").textContent = parts.join("; ");
  mark();
}

function current() {
  const sets = [...$("grades").children];
  return sets.find((set) => set.contains(document.activeElement)) || sets.find((set) => !set.querySelector("input:checked")) || sets.at(-1);
}

function mark() {
  const now = current();
  [...$("grades").children].forEach((set) => set.classList.toggle("current", set === now));
}

function grade(index) {
  const set = current();
  const input = set && set.querySelectorAll("input[type=radio]")[index];
  if (!input) return;
  input.checked = true;
  update();
  const rest = [...$("grades").children].find((other) => !other.querySelector("input:checked"));
  // On to the next question, so that three keys give three grades.
  if (rest) rest.querySelector("input").focus();
  else if ($("next").disabled) input.focus();
  else $("next").focus();
  mark();
}

async function send() {
  if ($("next").disabled || state.sending) return;
  state.sending = true;
  update();
  try {
    await ask("/api/ratings", {
      code: state.code, position: state.trial.position, ratings: given(),
      plays: state.plays, seconds: (performance.now() - state.began) / 1000,
    });
    problem(null);
    state.sending = false;
    await next();
  } catch (error) {
    problem(error);
  } finally {
    state.sending = false;
    if (!$("trial").hidden) update();
  }
}

async function enter(code) {
  try {
    if (code) {
      await ask(`/api/trial?code=${encodeURIComponent(code)}`);
      remember(code.trim().toLowerCase());
    } else {
      remember((await ask("/api/listeners", {})).code);
    }
    problem(null);
    await next();
  } catch (error) {
    problem(error);
  }
}

document.addEventListener("keydown", (event) => {
  if ($("trial").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const letter = event.key.length === 1 ? event.key.toLowerCase() : "";
  const index = state.trial.slots.findIndex((slot) => slot.label[0].toLowerCase() === letter);
  const stepped = state.test.questions[0].steps;
  if (event.key === " ") toggle();
  else if (event.key === "Enter") send();
  else if (stepped && /^[1-9]$/.test(event.key)) grade(Number(event.key) - 1);
  else if (state.trial.slots.length > 1 && index >= 0) choose(index, true);
  else return;
  event.preventDefault();
});

// A focused button would be pressed as well when the space key comes up.
document.addEventListener("keyup", (event) => { if (event.key === " " && !$("trial").hidden) event.preventDefault(); });

$("begin").addEventListener("click", () => enter(""));
$("back").addEventListener("submit", (event) => { event.preventDefault(); if ($("code").value.trim()) enter($("code").value); });
$("grades").addEventListener("submit", (event) => event.preventDefault());
$("play").addEventListener("click", toggle);
$("next").addEventListener("click", send);
$("video").addEventListener("ended", () => { state.played.add(state.slot); update(); });
$("video").addEventListener("timeupdate", () => { $("time").value = $("video").duration ? $("video").currentTime / $("video").duration : 0; });
$("video").addEventListener("error", () => { if ($("video").src) problem(new Error("This browser cannot play the video; try another one.")); });
start().catch(problem);
