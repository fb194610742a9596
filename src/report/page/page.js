"use strict";
// The table of all children: unpacked after the first paint, and drawn as far as it is seen.
(() => {
  const HEIGHT = 24;
  const table = document.getElementById("children");
  if (!table) return;
  const find = document.getElementById("find"), status = document.getElementById("status");
  const once = document.getElementById("once"), count = document.getElementById("count");
  const chosen = document.getElementById("chosen");
  const heads = [...table.querySelectorAll("button")];
  const words = heads.map(head => head.classList.contains("words"));
  const body = table.querySelector(".body"), rows = table.querySelector(".rows");
  const column = name => heads.findIndex(head => head.dataset.name === name);
  const [REPEATS, NOTATION, STATUS] = ["repeats", "architecture", "status"].map(column);
  const states = JSON.parse(table.dataset.states);
  let cells = [], numbers = [], search = [], order = [], by = 0, down = false, from = -1;

  const unpack = async text => {
    const bytes = Uint8Array.from(atob(text.trim()), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return await new Response(stream).text();
  };

  const load = async () => {
    cells = heads.map(() => []);
    for (const part of document.querySelectorAll("script.rows-part")) {
      const lines = (await unpack(part.textContent)).split("\n");
      const n = Number(part.dataset.n);
      cells.forEach((cell, c) => { for (let r = 0; r < n; r++) cell.push(lines[c * n + r]); });
      part.remove();
    }
    const place = new Map(cells[0].map((sample, r) => [sample, r]));
    cells[STATUS] = cells[STATUS].map(state => states[Number(state)]);
    cells[REPEATS].forEach((of, r) => {
      if (of !== "" && place.has(of)) cells[NOTATION][r] = cells[NOTATION][place.get(of)];
    });
    numbers = cells.map((cell, c) => words[c] ? null : Float64Array.from(cell, x => x === "" ? NaN : Number(x)));
    search = cells[0].map((_, r) => cells.map(cell => cell[r]).join(" ").toLowerCase());
    for (const state of [...new Set(cells[STATUS])].sort()) status.add(new Option(state));
    select();
  };

  const select = () => {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(word => word);
    order = [];
    for (let r = 0; r < search.length; r++) {
      if (status.value && cells[STATUS][r] !== status.value) continue;
      if (once.checked && cells[REPEATS][r] !== "") continue;
      if (wanted.every(word => search[r].includes(word))) order.push(r);
    }
    sort();
  };

  const sort = () => {
    const sign = down ? -1 : 1, values = numbers[by], texts = cells[by];
    order.sort(values ? (a, b) => {
      const [x, y] = [values[a], values[b]];
      // What has no number comes last, however it is sorted.
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
      return sign * (x - y) || a - b;
    } : (a, b) => sign * (texts[a] < texts[b] ? -1 : texts[a] > texts[b] ? 1 : 0) || a - b);
    heads.forEach((head, c) => {
      head.setAttribute("aria-sort", c !== by ? "none" : down ? "descending" : "ascending");
      head.textContent = head.dataset.name + (c !== by ? "" : down ? " ▼" : " ▲");
    });
    body.style.height = order.length * HEIGHT + "px";
    count.textContent = order.length.toLocaleString("en") + " of " + search.length.toLocaleString("en") + " children";
    from = -1;
    draw();
  };

  const draw = () => {
    const first = Math.max(0, Math.floor((table.scrollTop - HEIGHT) / HEIGHT) - 10);
    if (first === from) return;
    from = first;
    const shown = order.slice(first, first + Math.ceil(table.clientHeight / HEIGHT) + 24);
    rows.style.transform = `translateY(${first * HEIGHT}px)`;
    rows.replaceChildren(...shown.map(r => {
      const row = document.createElement("div");
      row.className = "row";
      row.dataset.row = r;
      cells.forEach((cell, c) => {
        const span = document.createElement("span");
        span.textContent = words[c] || c === 0 || c === REPEATS ? cell[r] : pretty(cell[r]);
        if (words[c]) span.className = "words";
        row.append(span);
      });
      return row;
    }));
  };

  const pretty = text => /^\d{4,}$/.test(text) ? Number(text).toLocaleString("en") : text;

  heads.forEach((head, c) => head.addEventListener("click", () => {
    // Of most numbers the highest are looked for.
    [by, down] = c === by ? [by, !down] : [c, !words[c] && c !== 0];
    table.scrollTop = 0;
    sort();
  }));
  rows.addEventListener("click", event => {
    const row = event.target.closest(".row");
    if (!row) return;
    const r = Number(row.dataset.row);
    chosen.textContent = `sample ${cells[0][r]}: ${cells[NOTATION][r] || "its architecture cannot be read"}`;
  });
  table.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  addEventListener("resize", () => { from = -1; draw(); });
  let later = 0;
  find.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(() => { table.scrollTop = 0; select(); }, 120);
  });
  for (const input of [status, once]) input.addEventListener("change", () => { table.scrollTop = 0; select(); });
  if (typeof DecompressionStream === "undefined") {
    count.textContent = "this browser cannot unpack the table; one of 2023 or later can";
    return;
  }
  // Two frames: the first has been painted when the second begins.
  const begin = () => load().catch(error => { count.textContent = "the table cannot be read: " + error; });
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(begin)));
})();
