// The page of an answer: what was opened is shown as text alone, saved where the reader wants it, and sent nowhere.

import { speaker } from "./keys.js";
import { cellOf, csvOf, digestOf, opened, readersKey, wholeOf } from "./opening.js";
import { save } from "./saving.js";

const MOST = 500;

function made(tag, ...children) {
  const found = document.createElement(tag);
  found.append(...children);
  return found;
}

const called = (name) => name.replaceAll("_", " ");

const flat = (value) => !Object.values(value ?? {}).some((each) => each !== null && typeof each === "object");

function tableOf(rows, columns) {
  const names = columns.filter((name) => rows.some((row) => cellOf(row[name]) !== ""));
  const head = names.map((name) => {
    const cell = made("th", called(name));
    cell.scope = "col";
    return cell;
  });
  const lines = rows.map((row) =>
    made("tr", ...names.map((name) => {
      const cell = made("td", flat(row[name]) ? made("bdi", cellOf(row[name])) : shown(row[name]));
      cell.dataset.label = called(name);
      return cell;
    })),
  );
  const found = made("table", made("thead", made("tr", ...head)), made("tbody", ...lines));
  found.className = "stacked";
  return found;
}

function shown(value) {
  if (Array.isArray(value) && value.some((each) => each !== null && typeof each === "object")) {
    return tableOf(value, [...new Set(value.flatMap((each) => Object.keys(each)))]);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return made("bdi", cellOf(value));
  return listOf(value);
}

function listOf(values) {
  const said = Object.entries(values).filter(([, value]) => cellOf(value) !== "");
  return made("dl", ...said.flatMap(([name, value]) => [made("dt", called(name)), made("dd", shown(value))]));
}

function show(answer, columns) {
  document.getElementById("calls-many").textContent = String(answer.legs.length);
  document.getElementById("calls-cut").hidden = answer.legs.length <= MOST;
  document.getElementById("calls").replaceChildren(tableOf(answer.legs.slice(0, MOST), columns));
  const beside = answer.disclosure ? { disclosure: answer.disclosure, ...answer.about } : answer.about;
  document.getElementById("about").replaceChildren(listOf(beside));
  document.getElementById("opened").hidden = false;
  document.getElementById("opened-head").focus();
}

function begin(form) {
  const say = speaker();
  const columns = form.dataset.columns.split(" ");
  const named = new Set(form.dataset.digests.split(" "));
  const tokens = [...document.querySelectorAll("#parts span")].map((each) => each.textContent);
  let answer = null;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      say("working");
      const key = await readersKey(await form.elements.file.files[0].text());
      answer = wholeOf(await Promise.all(tokens.map((token) => opened(key, token))), form.dataset.case);
      const digests = await Promise.all(tokens.map(digestOf));
      show(answer, columns);
      say(digests.length === named.size && digests.every((each) => named.has(each)) ? "opened" : "opened-unnamed");
    } catch (error) {
      say(error.message);
    }
  });
  document.getElementById("save-json").addEventListener("click", () => {
    const { parts } = answer;
    save(`answer-${answer.case}.json`, "application/json", [JSON.stringify({ case: answer.case, parts }, null, 2)]);
  });
  document.getElementById("save-csv").addEventListener("click", () => {
    save(`calls-${answer.case}.csv`, "text/csv", [csvOf(answer.legs, columns)]);
  });
}

const form = document.getElementById("open");
if (form) begin(form);
