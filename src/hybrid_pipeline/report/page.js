// The page's own behaviour: sorted and filtered tables, sections that open, charts, dark mode, print.
// Everything is in the page; nothing is requested.
(function () {
  "use strict";

  // --- tables: a click on a heading sorts, a third one restores the order; long tables filter
  function words(cell) {
    var copy = cell.cloneNode(true);
    copy.querySelectorAll(".small, .mark").forEach(function (part) { part.remove(); });
    return copy.textContent.trim();
  }
  function number(text) {
    var units = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
    var found = text.replace(/\u2212/g, "-").replace(/,/g, "")
      .match(/^[<\u00d7x]?\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([kMGT](?![a-z]))?/);
    return found ? parseFloat(found[1]) * (units[found[2]] || 1) : NaN;
  }
  function kind(text) {  // numbers stand before words, and empty cells last whichever way
    if (/^(|\u2014|\u2026)$/.test(text)) { return 2; }
    return isNaN(number(text)) ? 1 : 0;
  }
  function sort(table, heading, column) {
    var body = table.tBodies[0];
    if (!table.unsorted) { table.unsorted = Array.from(body.rows); }
    var next = { none: "ascending", ascending: "descending", descending: "none" };
    var way = next[heading.getAttribute("aria-sort")];
    table.querySelectorAll("th[aria-sort]").forEach(function (th) { th.setAttribute("aria-sort", "none"); });
    heading.setAttribute("aria-sort", way);
    var rows = table.unsorted.slice();
    if (way !== "none") {
      var keyed = rows.map(function (row) { return [words(row.cells[column]), row]; });
      var sign = way === "ascending" ? 1 : -1;
      keyed.sort(function (a, b) {
        var x = kind(a[0]), y = kind(b[0]);
        if (x !== y) { return x === 2 || y === 2 ? x - y : sign * (x - y); }
        var apart = x === 0 ? number(a[0]) - number(b[0]) : 0;
        return sign * (apart || a[0].localeCompare(b[0], "en", { numeric: true }));
      });
      rows = keyed.map(function (pair) { return pair[1]; });
    }
    rows.forEach(function (row) { body.appendChild(row); });
  }
  function filter(table) {
    var rows = Array.from(table.tBodies[0].rows), box = document.createElement("label");
    var field = document.createElement("input"), shown = document.createElement("span");
    box.className = "filter";
    field.type = "search";
    field.placeholder = "filter rows";
    field.setAttribute("aria-label", "filter the rows of this table");
    function count(number) { shown.textContent = number + " of " + rows.length + " rows"; }
    field.addEventListener("input", function () {
      var wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean), kept = 0;
      rows.forEach(function (row) {
        var text = row.textContent.toLowerCase();
        row.hidden = !wanted.every(function (word) { return text.indexOf(word) >= 0; });
        kept += row.hidden ? 0 : 1;
      });
      count(kept);
    });
    count(rows.length);
    box.append(field, shown);
    table.closest(".table-scroll").before(box);
  }
  document.querySelectorAll(".gt_table").forEach(function (table) {
    var heads = table.tHead ? Array.from(table.tHead.querySelectorAll("th.gt_col_heading")) : [];
    if (table.tBodies[0].rows.length < 3) { return; }
    heads.filter(function (th) { return th.colSpan === 1; }).forEach(function (th, column) {
      th.setAttribute("aria-sort", "none");
      th.tabIndex = 0;
      th.title = "sort";
      th.addEventListener("click", function () { sort(table, th, column); });
      th.addEventListener("keydown", function (event) {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(table, th, column); }
      });
    });
    if (table.tBodies[0].rows.length > 8) { filter(table); }
  });

  // --- contents: a link opens the section that it leads to, and the section in view is marked
  var sections = Array.from(document.querySelectorAll("details.section"));
  function show() {
    var id = decodeURIComponent(location.hash.slice(1)), target = id && document.getElementById(id);
    for (var part = target; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") { part.open = true; }
    }
    if (target) { target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", show);
  document.querySelectorAll('a[href^="#"]').forEach(function (link) {
    link.addEventListener("click", function () {
      if (link.getAttribute("href") === location.hash) { show(); }
    });
  });
  var all = document.getElementById("open-all");
  if (all) {
    all.addEventListener("click", function () {
      var open = sections.some(function (section) { return !section.open; });
      sections.forEach(function (section) { section.open = open; });
      all.textContent = open ? "close all" : "open all";
    });
  }
  if ("IntersectionObserver" in window) {
    var watch = new IntersectionObserver(function (seen) {
      seen.forEach(function (entry) {
        var link = document.querySelector('nav a[href="#' + entry.target.id + '"]');
        if (link) { link.classList.toggle("here", entry.isIntersecting); }
      });
    }, { rootMargin: "-90px 0px -70% 0px" });
    document.querySelectorAll("[data-contents]").forEach(function (part) { watch.observe(part); });
  }

  // --- charts: drawn when they are seen first, in the colours of the reader's theme
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var touch = window.matchMedia("(pointer: coarse)").matches || window.innerWidth <= 640;
  var colors = JSON.parse(document.getElementById("dark-colors").textContent);
  var charts = [], onPaper = false;
  function figureOf(chart) {
    var text = chart.text;
    if (dark.matches && !onPaper) {
      text = text.replace(/"(#[0-9A-Fa-f]{6}|white|black|rgba\([^"]*\))"/g, function (whole, color) {
        var other = colors[color.toLowerCase()];
        return other ? '"' + other + '"' : whole;
      });
    }
    var figure = JSON.parse(text);
    figure.layout.autosize = true;
    Object.keys(figure.layout.template.layout).concat(Object.keys(figure.layout)).forEach(function (name) {
      if (!/^[xy]axis/.test(name)) { return; }
      [figure.layout.template.layout[name], figure.layout[name]].forEach(function (axis) {
        if (axis) { axis.fixedrange = touch; }
      });
    });
    return figure;
  }
  function table(box) {
    var rows = [["series", "x", "y", "low", "high"]];
    function bound(bars, index, value, sign) {
      if (!bars || !bars.array) { return ""; }
      return value + sign * (sign < 0 && bars.arrayminus ? bars.arrayminus : bars.array)[index];
    }
    box.data.forEach(function (trace) {
      if (trace.z) {
        trace.z.forEach(function (line, row) {
          line.forEach(function (value, column) { rows.push([trace.y[row], trace.x[column], value, "", ""]); });
        });
        return;
      }
      Array.from(trace.x || []).forEach(function (x, index) {
        var y = trace.y[index], across = trace.error_x, bars = across && across.array ? across : trace.error_y;
        var value = bars === across ? x : y;
        rows.push([trace.name || "", x, y, bound(bars, index, value, -1), bound(bars, index, value, 1)]);
      });
    });
    return rows.map(function (row) {
      return row.map(function (value) {
        var text = value === null || value === undefined ? "" : String(value);
        return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
      }).join(",");
    }).join("\n") + "\n";
  }
  function download(box, name) {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table(box)], { type: "text/csv" }));
    link.download = name + ".csv";
    link.click();
    URL.revokeObjectURL(link.href);
  }
  function draw(chart) {
    var figure = figureOf(chart);
    chart.drawn = true;
    Plotly.react(chart.box, figure.data, figure.layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: !touch,
      toImageButtonOptions: { format: "png", filename: chart.name, scale: 2 },
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      modeBarButtonsToAdd: [{
        name: "csv", title: "Download the data as CSV", icon: Plotly.Icons.disk,
        click: function (box) { download(box, chart.name); }
      }]
    });
  }
  function drawSeen() {
    charts.forEach(function (chart) {
      if (!chart.drawn && chart.box.offsetParent !== null) { draw(chart); }
    });
  }
  if (window.Plotly) {
    document.querySelectorAll("script[data-chart]").forEach(function (source) {
      var box = document.getElementById("chart-" + source.dataset.chart);
      charts.push({ box: box, name: source.dataset.chart, text: source.textContent, drawn: false });
    });
    document.querySelectorAll("details").forEach(function (part) { part.addEventListener("toggle", drawSeen); });
    dark.addEventListener("change", function () { charts.filter(function (c) { return c.drawn; }).forEach(draw); });
  }
  show();
  drawSeen();

  // --- paper: sections open, what is folded in them stays as it is; charts are light and narrower
  function resize(chart, width, scale) {
    var height = Math.round(chart.box.dataset.height * scale);
    chart.box.style.height = height + "px";
    Plotly.relayout(chart.box, { width: width, height: height, autosize: width === null });
  }
  function theme(paper) {
    onPaper = paper;
    if (dark.matches) { charts.filter(function (chart) { return chart.drawn; }).forEach(draw); }
  }
  window.addEventListener("beforeprint", function () {
    sections.forEach(function (section) {
      section.dataset.was = section.open;
      section.open = true;
    });
    theme(true);
    drawSeen();
    charts.forEach(function (chart) { if (chart.drawn) { resize(chart, 680, 0.8); } });
  });
  window.addEventListener("afterprint", function () {
    charts.forEach(function (chart) { if (chart.drawn) { resize(chart, null, 1); } });
    theme(false);
    sections.forEach(function (section) { section.open = section.dataset.was === "true"; });
  });
})();
