// What makes the console livelier; all of it works without.
"use strict";

function prepare(within) {
  for (const button of within.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
  }
  for (const time of within.querySelectorAll("time[datetime]")) {
    time.title = new Date(time.dateTime).toLocaleString(); // where the reader is
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it, and copy by hand";
  }
  setTimeout(() => (button.textContent = said), 1500);
});

document.addEventListener("htmx:load", (event) => prepare(event.target));
prepare(document);
