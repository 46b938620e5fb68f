// The form of a decision: it is signed and sealed here; the server is sent the sealed bytes and nothing of the form.

import { decided } from "./filled.js";
import { signing } from "./keys.js";
import { newName } from "./sealing.js";

function begin(form) {
  const chosenAction = () => form.querySelector("input[name=action]:checked");
  const review = document.getElementById("review-at");
  const fit = () => {
    const chosen = chosenAction();
    form.elements.ground.required = chosen !== null && chosen.dataset.ground === "must";
    review.required = chosen !== null && chosen.dataset.review === "must";
    document.getElementById("review-row").hidden = !review.required;
  };
  form.addEventListener("change", fit);
  fit();

  signing(form, async (about) => {
    const said = decided({ ...chosenAction().dataset }, about, form.elements.ground.value, review.value);
    return { said, jti: newName(about.case) };
  });
}

const form = document.getElementById("decide");
if (form) begin(form);
