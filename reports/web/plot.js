/*
 * Charts: a figure with its words for those who do not see it, and always with a table of
 * the same figures near.  Heights are floating point; no amount is ever made of them.
 */
import { h } from "./dom.js";
import { decimalsFor, forChart, parse, show } from "./money.js";

const LIGHT = ["#0a5cad", "#d97a00", "#1f8a5b", "#b23a7c", "#6a56c2", "#0d8a99", "#8a6a14"];
const DARK = ["#6fb1f4", "#f0a545", "#5fc796", "#ea83b8", "#a897f0", "#58c7d3", "#d3b45c"];
const OTHER = { light: "#a7b1bc", dark: "#66727e" };
const dark = matchMedia("(prefers-color-scheme: dark)");
let drawn = [];

function colours(isDark) {
    return isDark ? { ink: "#a0acb8", grid: "#2a3541", list: DARK, other: OTHER.dark }
                  : { ink: "#56636f", grid: "#e4e8ed", list: LIGHT, other: OTHER.light };
}

const NAME_MOST = 30;

/* A long name by its beginning and its end; the table beside has it whole. */
function brief(name) {
    const letters = [...name];

    return letters.length <= NAME_MOST ? name
        : `${letters.slice(0, NAME_MOST - 10).join("").trimEnd()}…${letters.slice(-9).join("").trimStart()}`;
}

const money = (value) => show(parse(value), decimalsFor([parse(value)]));

/* All of an axis with as many decimals as its step has, and cents whole. */
function ticks(value, _, all) {
    const step = all.length > 1 ? Math.abs(all[1].value - all[0].value) : Math.abs(value);
    let digits = 0;

    while (digits < 9 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6)
        digits++;
    digits = digits === 1 ? 2 : digits;
    return (value < 0 ? "\u2212$" : "$") + Math.abs(value).toLocaleString("en-US",
        { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function options(spec, isDark) {
    const colour = colours(isDark);
    const amounts = { beginAtZero: true, stacked: spec.stacked, grid: { color: colour.grid, drawBorder: false },
                      ticks: { color: colour.ink, maxTicksLimit: 6, callback: ticks } };
    const names = { stacked: spec.stacked, grid: { display: false, drawBorder: false },
                    ticks: { color: colour.ink, autoSkip: !spec.flat, maxRotation: 0 } };

    return {
        animation: false, responsive: true, maintainAspectRatio: false,
        indexAxis: spec.flat ? "y" : "x",
        interaction: { mode: "index", intersect: false, axis: spec.flat ? "y" : "x" },
        scales: spec.flat ? { x: amounts, y: names } : { x: names, y: amounts },
        plugins: {
            legend: { display: spec.series.length > 1, position: "bottom", align: "start",
                      labels: { color: colour.ink, boxWidth: 12, boxHeight: 12 } },
            tooltip: {
                filter: (item) => spec.series[item.datasetIndex].values[item.dataIndex] !== null,
                callbacks: {
                    label: (item) => `${item.dataset.label}: ` +
                        money(spec.series[item.datasetIndex].values[item.dataIndex]),
                },
            },
        },
    };
}

function data(spec, isDark) {
    const colour = colours(isDark);

    return {
        labels: spec.labels.map(brief),
        datasets: spec.series.map((s, i) => ({
            label: brief(s.name),
            data: s.values.map(forChart),
            backgroundColor: s.name === "(other)" || s.name === "(untagged)"
                ? colour.other : colour.list[i % colour.list.length],
            borderRadius: 2, maxBarThickness: spec.flat ? 26 : 44, categoryPercentage: 0.8,
        })),
    };
}

/*
 * spec: title, labels, series [{name, values: decimal texts or null}], stacked, flat (bars
 * lie), beside (the node of its table).
 */
export function plot(spec) {
    const label = `${spec.title}: bar chart of ${spec.labels.length} ` +
        `by ${spec.series.map((s) => s.name).join(", ")}. The table has the same figures.`;
    const canvas = h("canvas", { role: "img", "aria-label": label });
    const rows = spec.flat ? Math.max(3, spec.labels.length) * (spec.stacked ? 1 : spec.series.length) : 0;
    const frame = h("div", { class: spec.flat ? `frame flat-${Math.min(12, rows)}` : "frame" }, canvas);

    drawn.push({ canvas, spec, chart: null });
    return h("figure", {}, h("figcaption", {}, spec.title), frame, spec.beside);
}

function draw(one, isDark) {
    one.chart?.destroy();
    one.chart = new globalThis.Chart(one.canvas, { type: "bar", data: data(one.spec, isDark),
                                                   options: options(one.spec, isDark) });
}

/* Draws what has come into the page since. */
export function drawAll() {
    drawn.filter((one) => !one.chart && one.canvas.isConnected).forEach((one) => draw(one, dark.matches));
}

export function forget() {
    drawn.forEach((one) => one.chart?.destroy());
    drawn = [];
}

const redraw = (isDark) => drawn.filter((one) => one.chart).forEach((one) => draw(one, isDark));

dark.addEventListener("change", () => redraw(dark.matches));
/* Paper is white and as wide as it is. */
addEventListener("beforeprint", () => {
    redraw(false);
    drawn.forEach((one) => one.chart?.resize(640, 240));
});
addEventListener("afterprint", () => redraw(dark.matches));
