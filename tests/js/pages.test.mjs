// What the Content-Security-Policy and the house rules ask of the files themselves.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import test from "node:test";

const root = new URL("../../static/", import.meta.url);
const read = (name) => readFileSync(new URL(name, root), "utf8");
const pages = ["index.html", "admin.html"];
const modules = readdirSync(new URL("js/", root)).filter((name) => name.endsWith(".js"));
const imports = (name) => [...read(`js/${name}`).matchAll(/from "\.\/([^"]+)"/g)].map(([, found]) => found);

function reachable(entry, seen = new Set()) {
  if (!seen.has(entry)) {
    seen.add(entry);
    for (const next of imports(entry)) reachable(next, seen);
  }
  return seen;
}

test("the pages hold no inline script, style or handler", () => {
  for (const page of pages) {
    const html = read(page);
    assert.doesNotMatch(html, /<style|\sstyle=|\son[a-z]+=|="javascript:/i, page);
    for (const [tag] of html.matchAll(/<script[^>]*>/g)) assert.match(tag, /\ssrc="\/static\//, page);
  }
});

test("the pages load nothing from anywhere else", () => {
  for (const page of pages) {
    for (const [, address] of read(page).matchAll(/\s(?:src|href)="([^"]*)"/g)) {
      assert.match(address, /^(\/|$)/, `${page}: ${address}`);
      if (address.startsWith("/static/")) assert.ok(existsSync(new URL(address.slice(8), root)), address);
    }
  }
  assert.doesNotMatch(read("style.css"), /@import|url\(/);
});

test("no module makes markup or code from text", () => {
  for (const name of modules) {
    assert.doesNotMatch(read(`js/${name}`), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("style"/, name);
  }
});

test("every module opens with a comment that says what it is, and is used by a page", () => {
  const used = new Set(["loading.js", ...reachable("app.js"), ...reachable("admin.js")]);
  for (const name of modules) {
    assert.match(read(`js/${name}`), /^\/\/ [A-Z]/, name);
    assert.ok(used.has(name), `${name} is not used`);
  }
});

test("the front page asks for all its modules at once", () => {
  const asked = new Set([...read("index.html").matchAll(/\/static\/js\/([a-z-]+\.js)/g)].map(([, name]) => name));
  asked.delete("loading.js");
  assert.deepEqual([...asked].sort(), [...reachable("app.js")].sort());
});

test("both pages are watched while they load, by a script that comes before everything that may be lost", () => {
  for (const page of pages) {
    const html = read(page);
    const [watch, first] = ['<script src="/static/js/loading.js">', /modulepreload|type="module"/];
    assert.ok(html.includes(watch) && html.indexOf(watch) < html.search(first), page);
    assert.match(html, /<p id="not-loaded" [^>]*class="[^"]*late"[^>]*>[^<]+<a href="">/, page);
  }
  assert.doesNotMatch(read("js/loading.js"), /^(import|export) /m);
});

test("every element that a module looks up by id is on a page, once", () => {
  const ids = Object.fromEntries(pages.map((page) => [page, [...read(page).matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id)]));
  for (const page of pages) assert.equal(new Set(ids[page]).size, ids[page].length, page);
  for (const [page, entry] of [["index.html", "app.js"], ["admin.html", "admin.js"]]) {
    for (const name of reachable(entry)) {
      for (const [, id] of read(`js/${name}`).matchAll(/byId\("([^"]+)"\)/g)) {
        const optional = name === "dom.js";
        assert.ok(optional || ids[page].includes(id), `${name} looks for #${id}, which ${page} lacks`);
      }
    }
  }
});

test("references between elements lead somewhere", () => {
  for (const page of pages) {
    const html = read(page);
    for (const [, list] of html.matchAll(/\s(?:aria-labelledby|aria-describedby|aria-controls|for)="([^"]+)"/g)) {
      for (const id of list.split(" ")) assert.ok(html.includes(` id="${id}"`), `${page}: ${id}`);
    }
  }
});

function channel(hex, n) {
  const value = parseInt(hex.slice(1 + 2 * n, 3 + 2 * n), 16) / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}
const luminance = (hex) => 0.2126 * channel(hex, 0) + 0.7152 * channel(hex, 1) + 0.0722 * channel(hex, 2);
function contrast(a, b) {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

test("colours are far enough apart to read, in light and in dark", () => {
  const [light, dark] = read("style.css").split("@media (prefers-color-scheme: dark)");
  const tokens = (text) => Object.fromEntries([...text.slice(0, text.indexOf("}")).matchAll(/(--[a-z-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value]));
  const themes = { light: tokens(light), dark: { ...tokens(light), ...tokens(dark) } };
  const texts = [];
  for (const ink of ["--ink", "--ink-soft", "--arc"]) for (const paper of ["--paper", "--card", "--well"]) texts.push([ink, paper, 4.5]);
  texts.push(["--on-accent", "--accent", 4.5], ["--on-accent", "--accent-press", 4.5], ["--caution", "--caution-paper", 4.5], ["--good", "--well", 4.5], ["--good", "--card", 4.5]);
  // Edges of controls and signs need three to one.
  for (const paper of ["--paper", "--card"]) texts.push(["--line-strong", paper, 3], ["--arc", paper, 3], ["--accent", paper, 3]);
  for (const [theme, colours] of Object.entries(themes)) {
    for (const [front, back, least] of texts) {
      const found = contrast(colours[front], colours[back]);
      assert.ok(found >= least, `${theme}: ${front} on ${back} is ${found.toFixed(2)}, wants ${least}`);
    }
  }
});
