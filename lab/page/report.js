"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");

function nearest(times, t) {
  let low = 0, high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < t) low = middle + 1; else high = middle;
  }
  return low > 0 && t - times[low - 1] < times[low] - t ? low - 1 : low;
}

function say(fleet, index) {
  const parts = [`${fleet.times[index].toFixed(1)} s`, `desired  ${fleet.desired[index]}`];
  for (const layers of [fleet.states, fleet.jobs])
    for (const [name, values] of Object.entries(layers))
      if (values[index]) parts.push(`${name}  ${values[index]}`);
  return parts.join("\n");
}

for (const card of document.querySelectorAll(".fleet")) {
  const fleet = data.fleets[card.dataset.fleet];
  const plots = [...card.querySelectorAll(".plot")];
  const cursors = plots.map((plot) => {
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.hidden = true;
    plot.append(cursor);
    return cursor;
  });
  const leave = () => { tip.hidden = true; cursors.forEach((cursor) => { cursor.hidden = true; }); };
  for (const plot of plots) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      tip.textContent = say(fleet, nearest(fleet.times, share * data.span));
      tip.hidden = false;
      const left = event.clientX + 14 + tip.offsetWidth > innerWidth ? event.clientX - 14 - tip.offsetWidth : event.clientX + 14;
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.min(innerHeight - tip.offsetHeight - 8, event.clientY + 12)}px`;
      cursors.forEach((cursor) => { cursor.hidden = false; cursor.style.left = `${100 * share}%`; });
    });
    plot.addEventListener("pointerleave", leave);
  }
  addEventListener("scroll", leave, { passive: true });
}

const rows = [...document.querySelectorAll("#decisions li")];
const texts = rows.map((row) => row.textContent.toLowerCase());
const field = (id) => document.getElementById(id);

function filter() {
  const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  rows.forEach((row, index) => {
    const fits = (!field("fleet").value || row.dataset.fleet === field("fleet").value)
      && (!field("rule").value || row.dataset.rule === field("rule").value)
      && (field("repeats").checked || !row.dataset.repeat)
      && words.every((word) => texts[index].includes(word));
    row.hidden = !fits;
    shown += fits;
  });
  field("shown").textContent = `${shown} of ${rows.length}`;
}

for (const id of ["search", "fleet", "rule", "repeats"]) field(id).addEventListener("input", filter);
document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
filter();
