// The form of a new request: signed and sealed here; the server is sent the sealed bytes and the id of the case to come.

import { checkReceived, claimsOf, newPair } from "./filled.js";
import { signing } from "./keys.js";
import { save } from "./saving.js";
import { caseOf, newName } from "./sealing.js";

function begin(form) {
  let made = null;
  const fields = () => [...form.querySelectorAll("[data-path]")];
  const one = (path) => form.querySelector(`[data-path="${path}"]`);

  const fitNeeded = () => {
    for (const each of form.querySelectorAll("[data-needed-with]")) {
      const [path, value] = each.dataset.neededWith.split("=");
      each.required = one(path).value === value;
    }
  };
  form.addEventListener("change", fitNeeded);
  fitNeeded();

  const pair = document.getElementById("new-pair");
  pair?.addEventListener("click", async () => {
    const { key, pem } = await newPair();
    made = key;
    save("answer-key.pem", "application/x-pem-file", [pem]);
    one("reply_key").required = false;
    document.getElementById("pair-made").hidden = false;
  });

  async function valueOf(each) {
    if (each.type === "checkbox") return each.checked ? each.value : "";
    if (each.dataset.kind !== "key") return each.value;
    return each.files[0] ? each.files[0].text() : made;
  }

  signing(form, async (about) => {
    const received = one("received_at").value;
    checkReceived(received, about.today, about.monthAgo, document.getElementById("long-ago").checked);
    const found = [];
    for (const each of fields()) {
      found.push({ path: each.dataset.path, kind: each.dataset.kind, value: await valueOf(each) });
    }
    const said = claimsOf(about.type, found, about.zone);
    if (form.querySelector("[data-path=purposes]") && !said.purposes) throw new Error("no-purpose");
    const jti = newName();
    return { said, jti, more: { case: await caseOf(about.tenant, about.officer, jti) } };
  });
}

const form = document.getElementById("ask");
if (form) begin(form);
