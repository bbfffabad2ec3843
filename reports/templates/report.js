// Adds sorting, hiding and themes in the address to a page that works without it. It contains no
// less-than sign and no ampersand, so that the page is also well-formed XML.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const hidden = new Set();

  const theme = () => all("input[name=theme]").find((input) => input.checked).value;

  const remember = () => {
    const parts = [];
    if (theme() !== "auto") parts.push("theme=" + theme());
    if (hidden.size) parts.push("hide=" + [...hidden].map(encodeURIComponent).join(","));
    const hash = parts.length ? "#" + parts.join(";") : location.pathname + location.search;
    try { history.replaceState(null, "", hash); } catch { location.hash = parts.join(";"); }
  };

  const recall = () => {
    for (const part of location.hash.slice(1).split(";")) {
      const [key, value] = part.split("=");
      if (!value) continue;
      if (key === "theme") for (const input of all("input[name=theme]")) input.checked = input.value === value;
      if (key === "hide") for (const name of value.split(",")) hidden.add(decodeURIComponent(name));
    }
  };

  const show = () => {
    for (const group of all("g.series")) group.classList.toggle("off", hidden.has(group.dataset.server));
    for (const button of all(".legend button")) {
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.name)));
    }
  };

  const light = (name) => {
    for (const figure of all("figure")) figure.classList.toggle("lit", name !== null);
    for (const group of all("g.series")) group.classList.toggle("on", group.dataset.server === name);
  };

  const legends = () => {
    const names = new Set(all(".legend li").map((item) => item.dataset.key));
    for (const item of all(".legend li")) {
      const name = item.dataset.key;
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.name = name;
      button.append(...item.childNodes);
      item.append(button);
      button.addEventListener("click", () => {
        if (hidden.has(name)) hidden.delete(name); else hidden.add(name);
        show();
        remember();
      });
      button.addEventListener("dblclick", () => {
        const alone = hidden.size === names.size - 1 ? !hidden.has(name) : false;
        hidden.clear();
        if (!alone) for (const other of names) if (other !== name) hidden.add(other);
        show();
        remember();
      });
      for (const on of ["mouseenter", "focus"]) button.addEventListener(on, () => light(name));
      for (const off of ["mouseleave", "blur"]) button.addEventListener(off, () => light(null));
    }
    for (const hint of all(".hint")) hint.hidden = false;
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sign = down ? -1 : 1;
        const value = (row) => {
          const cell = row.cells[column];
          return cell.dataset.value ?? (cell.dataset.field ? cell.textContent : undefined);
        };
        const rows = [...body.rows].sort((a, b) => {
          const [one, other] = [value(a), value(b)];
          if (one === undefined) return other === undefined ? 0 : 1;
          if (other === undefined) return -1;
          const order = one - other;
          return sign * (Number.isNaN(order) ? one.localeCompare(other, "en", { numeric: true }) : order);
        });
        body.append(...rows);
      });
    });
  };

  const printing = () => {
    let closed = [];
    addEventListener("beforeprint", () => {
      closed = all("details:not([open])");
      for (const one of closed) one.open = true;
    });
    addEventListener("afterprint", () => {
      for (const one of closed) one.open = false;
    });
  };

  // Current browsers open the details element around a link target; older ones do not.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    const around = target ? target.closest("details") : null;
    if (around) around.open = true;
    if (around) target.scrollIntoView();
  };

  legends();
  all("table.numbers").forEach(sortable);
  printing();
  for (const input of all("input[name=theme]")) input.addEventListener("change", remember);
  addEventListener("hashchange", () => { recall(); show(); reveal(); });
  recall();
  show();
  reveal();
})();
