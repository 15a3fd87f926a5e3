// Opens a page with its script, as a browser does, fills in its form, and prints what the form would send, and where.
import { JSDOM } from "jsdom";

const [url, email, password] = process.argv.slice(2);
const { window } = await JSDOM.fromURL(url, { runScripts: "dangerously" });
const { document } = window;
const form = document.querySelector("form");
form.elements.email.value = email;
form.elements.password.value = password;
const problem = document.getElementById("problem");
console.log(
  JSON.stringify({
    action: form.action,
    fields: Object.fromEntries(new window.FormData(form)),
    problem: problem.hidden ? "" : problem.textContent,
    links: Object.fromEntries([...document.querySelectorAll("#providers a")].map((a) => [a.textContent, a.href])),
    address: window.location.href,
  }),
);
