// The officer's key and the desk's, as every form that signs uses them: opened here, kept here, sent nowhere.
// Rules: 1. The form that an officer fills in is never submitted: another one is, with what is sealed.
//        2. Text is only ever text: no markup is made of it.
//        3. The desk's key is remembered; another one is used only when the officer says so.

import { officersKey, request } from "./sealing.js";

const STORE = "keys";

function database() {
  return new Promise((done, failed) => {
    const asked = indexedDB.open("calllog-guard", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error);
  });
}

async function stored(way, act) {
  const base = await database();
  return new Promise((done, failed) => {
    const asked = act(base.transaction(STORE, way).objectStore(STORE));
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error);
  });
}

const get = (name) => stored("readonly", (store) => store.get(name));
const put = (name, value) => stored("readwrite", (store) => store.put(value, name));
const drop = (name) => stored("readwrite", (store) => store.delete(name));

/** Says words of the page by their name; what has no name is said as what failed. */
export function speaker() {
  const state = document.getElementById("decide-state");
  const words = document.getElementById("decide-words").dataset;
  return (name) => {
    const said = name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase()); // as data-… is called here
    state.textContent = Object.hasOwn(words, said) ? words[said] : words.failed;
  };
}

/** Let a form sign, seal and send; `saidIn` makes its words and the name of its request, and may refuse. */
export function signing(form, saidIn) {
  const about = { ...form.dataset };
  const send = document.getElementById("send");
  const own = `${about.tenant}/${about.officer}/${about.officerX}`;
  const desk = `${about.tenant}/desk`;
  const say = speaker();

  get(own).then((found) => {
    if (!found) return;
    form.elements.file.required = false;
    document.getElementById("kept-key").hidden = false;
  });

  document.getElementById("forget-key").addEventListener("click", async () => {
    await drop(own);
    form.elements.file.required = true;
    document.getElementById("kept-key").hidden = true;
  });

  async function keyOf() {
    const file = form.elements.file.files[0];
    if (!file) {
      const kept = await get(own);
      if (!kept) throw new Error("no-key");
      return kept;
    }
    const key = await officersKey(await file.text(), about.officerX);
    if (form.elements.keep.checked) await put(own, key);
    return key;
  }

  async function checkDesk() {
    const known = await get(desk);
    const shown = `${about.deskKid} ${about.deskX}`;
    if (known && known !== shown && !form.elements.trust.checked) {
      document.getElementById("trust-desk").hidden = false;
      throw new Error("desk-changed");
    }
    await put(desk, shown);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    try {
      say("working");
      const { said, jti, more } = await saidIn(about);
      await checkDesk();
      const key = await keyOf();
      send.elements.sealed.value = await request(about, key, said, Date.now(), jti);
      for (const [name, value] of Object.entries(more ?? {})) send.elements[name].value = value;
      send.submit();
    } catch (error) {
      say(error.message);
      button.disabled = false;
    }
  });
}
