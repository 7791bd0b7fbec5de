// The script of the page. What the host renders is put in as nodes without scripts; all else is text.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const main = byId("main"), state = byId("state"), gate = byId("gate"), ask = byId("ask");
  const REFRESH = 2000, SAMPLES = 60, LINES = 500;
  const samples = new Map();
  let token = null, timer = 0, following = null, shown = "", kept = false;

  // The token comes in the fragment, which no server sees, and does not stay in the address bar.
  const take = () => {
    const given = /^#token=(.+)$/.exec(location.hash);
    if (given) {
      sessionStorage.setItem("token", decodeURIComponent(given[1]));
      const screen = new URLSearchParams(location.search).get("screen") || "overview";
      history.replaceState(null, "", `${location.pathname}#/${screen}`);
    }
    token = sessionStorage.getItem("token");
  };

  const say = (text, bad) => {
    state.textContent = text;
    state.classList.toggle("bad", Boolean(bad));
  };

  const call = async (path, options = {}) => {
    const headers = { Authorization: `Bearer ${token || ""}`, ...(options.headers || {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    const error = new Error(problem.detail || `the host answered ${response.status}`);
    error.status = response.status;
    throw error;
  };

  const failed = (error) => {
    if (error.status === 401) {
      sessionStorage.removeItem("token");
      token = null;
      gate.hidden = false;
      main.replaceChildren();
      byId("token").focus();
      return say("The host does not know this token.", true);
    }
    say(error.status ? error.message : `The host cannot be reached: ${error.message}`, true);
  };

  const path = () => (location.hash.startsWith("#/") ? location.hash.slice(2) : shown) || "overview";

  const show = async (refreshing) => {
    clearTimeout(timer);
    const wanted = path();
    if (!token) { gate.hidden = false; byId("token").focus(); return; }
    gate.hidden = true;
    try {
      const answer = await call(`/page/${wanted}`);
      // A path that leads elsewhere, to a body for example, is none of the screens.
      if (!(answer.headers.get("content-type") || "").startsWith("text/html")) throw Object.assign(new Error("There is no such screen."), { status: 404 });
      const html = await answer.text();
      if (wanted !== path() || (refreshing && busy())) return;
      // Parsed apart from this page: nothing in it runs.
      const parsed = new DOMParser().parseFromString(html, "text/html");
      if (!refreshing) stop();
      if (refreshing) keep(parsed);
      main.replaceChildren(...parsed.body.childNodes);
      if (wanted !== shown) { main.focus(); scrollTo(0, 0); }
      shown = wanted;
      rates();
      follow();
      const title = main.querySelector("h1");
      document.title = title ? `${title.textContent} – wasmpost` : "wasmpost";
      for (const link of document.querySelectorAll("nav a")) {
        const screen = wanted.split(/[/?]/)[0].replace("dead-letter-groups", "dead-letters");
        const is = link.hash.slice(2) === screen;
        if (is) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
      }
      if (!refreshing && !kept) say("");
      kept = false;
    } catch (error) { failed(error); } finally {
      if (token && wanted === path()) timer = setTimeout(tick, REFRESH);
    }
  };

  const busy = () => ask.open || main.querySelector("input:checked, details[open], .open") !== null
    || (main.contains(document.activeElement) && document.activeElement !== main);

  const tick = () => {
    const is = main.querySelector("[data-live]") && !document.hidden && !busy();
    if (is) show(true); else timer = setTimeout(tick, REFRESH);
  };

  // Lines of a log stay when the rest is refreshed.
  const keep = (parsed) => {
    const [old, fresh] = [main.querySelector("[data-log]"), parsed.querySelector("[data-log]")];
    if (old && fresh) fresh.replaceWith(document.adoptNode(old));
  };

  // How fast counts grow, as far as this page has seen them.
  const rates = () => {
    const now = performance.now();
    for (const cell of main.querySelectorAll("[data-rate]")) {
      const seen = samples.get(cell.dataset.rate) || [];
      seen.push([now, Number(cell.dataset.value)]);
      if (seen.length > SAMPLES) seen.shift();
      samples.set(cell.dataset.rate, seen);
      const steps = seen.slice(1).map(([at, value], step) => {
        const [before, old] = seen[step];
        return Math.max(0, (value - old) / ((at - before) / 1000));
      });
      if (!steps.length) continue;
      cell.textContent = `${steps[steps.length - 1].toFixed(1)}/s `;
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      const top = Math.max(...steps, 1);
      svg.setAttribute("class", "spark");
      svg.setAttribute("viewBox", "0 0 60 18");
      svg.setAttribute("aria-hidden", "true");
      line.setAttribute("points", steps.map((step, at) => `${at},${17 - 16 * step / top}`).join(" "));
      svg.append(line);
      cell.append(svg);
    }
  };

  const stop = () => { if (following) following.abort(); following = null; };

  // Events over fetch: a token fits into its headers, and not into those of EventSource.
  const follow = async () => {
    const list = main.querySelector("[data-log]");
    if (!list || list.dataset.followed) return;
    list.dataset.followed = "yes";
    stop();
    const mine = following = new AbortController();
    let after = 0, pause = 500;
    while (!mine.signal.aborted) {
      try {
        const response = await call(`${list.dataset.log}?after=${after}`, { signal: mine.signal });
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          pause = 500;
          const events = (rest + value).split("\n\n");
          rest = events.pop();
          for (const event of events) {
            const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
            if (data.trim()) after = append(list, JSON.parse(data), after);
          }
        }
      } catch (error) {
        if (mine.signal.aborted || error.status) return;
      }
      await new Promise((wake) => setTimeout(wake, pause));
      pause = Math.min(pause * 2, 15000);
    }
  };

  const append = (list, lines, after) => {
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
    for (const line of lines) {
      const item = document.createElement("li");
      item.textContent = `${new Date(line.at_ms).toISOString()} ${line.level} ${line.message} ${line.text}`;
      list.append(item);
      after = Math.max(after, line.number);
    }
    while (list.childElementCount > LINES) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
    return after;
  };

  // Asks before something is changed; for what cannot be undone, for its name as well.
  const confirmed = (text, name) => new Promise((answer) => {
    byId("ask-text").textContent = text;
    byId("ask-name").hidden = !name;
    const input = byId("ask-input"), yes = byId("ask-yes");
    input.value = "";
    yes.disabled = Boolean(name);
    input.oninput = () => { yes.disabled = Boolean(name) && input.value !== name; };
    ask.onclose = () => answer(ask.returnValue === "yes" && (!name || input.value === name));
    ask.returnValue = "no";
    ask.showModal();
  });

  const send = async (to, body, method = "POST") => {
    const options = { method };
    if (body !== null) {
      options.headers = { "Content-Type": "application/json" };
      options.body = JSON.stringify(body);
    }
    return (await call(to, options)).json();
  };

  // Follows a task to its end.
  const watch = async (task) => {
    for (let at = 0; at < 600 && task.state === "running"; at += 1) {
      say(`${task.kind}: ${task.about}; at work`);
      await new Promise((wake) => setTimeout(wake, 250));
      task = await (await call(`/v1/tasks/${encodeURIComponent(task.id)}`)).json();
    }
    const count = task.count === null ? "" : `, ${task.count} done`;
    const error = task.error ? `: ${task.error}` : "";
    say(`${task.kind}: ${task.about}; ${task.state}${count}${error}`, task.state !== "done");
  };

  const act = async (button) => {
    const body = button.dataset.body ? JSON.parse(button.dataset.body) : null;
    if (button.dataset.selected !== undefined) {
      body.ids = [...main.querySelectorAll("input[name=letter]:checked")].map((box) => box.value);
      if (!body.ids.length) return say("Select some dead letters first.", true);
    }
    let text = button.dataset.ask;
    if (button.dataset.count) {
      const { count, is_more: more } = await (await call(button.dataset.count)).json();
      text = text.replace("{count}", `${more ? "more than " : ""}${count}`);
    } else if (body && body.ids) text = text.replace("{count}", body.ids.length);
    if (text && !await confirmed(text, button.dataset.name)) return;
    if (button.dataset.name && body) body.confirm = button.dataset.name;
    const answer = await send(button.dataset.to, body, button.dataset.method);
    if (answer.state) await watch(answer);
    else if (answer.components) say(answer.components.map((one) => `${one.component}: ${one.outcome}${one.error ? `: ${one.error}` : ""}`).join("; "));
    for (const box of main.querySelectorAll("input:checked")) box.checked = false;
    if (button.dataset.then) { kept = true; location.hash = button.dataset.then; } else { button.blur(); await show(true); }
  };

  const hex = (bytes) => {
    const lines = [];
    for (let at = 0; at < bytes.length; at += 16) {
      const row = [...bytes.slice(at, at + 16)];
      const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
      const letters = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
      lines.push(`${at.toString(16).padStart(8, "0")}  ${digits.padEnd(47)}  ${letters}`);
    }
    return lines.join("\n");
  };

  const reveal = async (button) => {
    const told = await (await call(button.dataset.reveal)).json();
    const bytes = told.body === undefined
      ? Uint8Array.from(atob(told.body_base64), (letter) => letter.charCodeAt(0)) : new TextEncoder().encode(told.body);
    const box = byId("body");
    const forms = {
      text: () => (told.body === undefined ? "This body is no text." : told.body),
      json: () => { try { return JSON.stringify(JSON.parse(told.body), null, 2); } catch { return "This body is no JSON."; } },
      hex: () => hex(bytes),
    };
    const view = document.createElement("pre");
    view.tabIndex = 0;
    const choose = document.createElement("p");
    choose.className = "buttons";
    for (const form of Object.keys(forms)) {
      const one = document.createElement("button");
      one.type = "button";
      one.textContent = form;
      one.onclick = () => { view.textContent = forms[form](); };
      choose.append(one);
    }
    if (told.is_cut) choose.append(`the first ${bytes.length} of ${told.bytes} bytes`);
    view.textContent = forms.text();
    box.classList.add("open");
    box.replaceChildren(choose, view);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-to], button[data-reveal]");
    if (!button) return;
    event.preventDefault();
    (button.dataset.to ? act(button) : reveal(button)).catch(failed);
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "dialog") return;
    event.preventDefault();
    if (form === gate) {
      sessionStorage.setItem("token", byId("token").value.trim());
      byId("token").value = "";
      take();
      show();
    } else if (form.dataset.publish) {
      const attributes = {};
      for (const line of form.elements.attributes.value.split("\n")) {
        const at = line.indexOf("=");
        if (at > 0) (attributes[line.slice(0, at).trim()] ||= []).push(line.slice(at + 1));
      }
      const message = { topic: form.dataset.publish, broker: form.dataset.broker, attributes, body: form.elements.body.value };
      send("/v1/messages", message).then((told) => { say(`Published ${told.id}.`); show(true); }).catch(failed);
    } else if (form.dataset.screen) {
      const fields = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
      location.hash = `/${form.dataset.screen}?${fields}`;
    }
  });

  addEventListener("hashchange", () => {
    take();
    // A link within the page, such as the one that skips to the content, leads to no other screen.
    if (location.hash.startsWith("#/")) show();
  });
  take();
  show();
})();
