// Draws the figures in the colours of the page and makes long tables searchable.
import DataTable, { set_or_remove_dark_class } from "datatables";

const ink = "currentColor";
const rule = "var(--rule)";
const options = {
  actions: false,
  renderer: "svg",
  tooltip: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" },
  config: {
    background: null,
    font: "system-ui, sans-serif",
    axis: {
      labelColor: ink,
      labelFontSize: 11,
      titleColor: ink,
      gridColor: rule,
      domainColor: rule,
      tickColor: rule,
    },
    header: { labelColor: ink, labelFontSize: 11 },
    legend: { labelColor: ink, labelFontSize: 11, titleColor: ink },
    view: { stroke: rule },
  },
};

function fitted(all, room) {
  const spec = { ...all, config: { legend: { columns: room < 600 ? 1 : 3 } } };
  const panel = room - 60;
  if (spec.vconcat) {
    return { ...spec, vconcat: spec.vconcat.map((view) => ({ ...view, width: panel })) };
  }
  if (spec.facet) {
    const columns = room < 600 ? 1 : spec.columns;
    return { ...spec, columns, spec: { ...spec.spec, width: panel / columns - 20 } };
  }
  return { ...spec, width: "container", autosize: { type: "fit-x", contains: "padding" } };
}

set_or_remove_dark_class();
for (const plot of document.querySelectorAll(".plot")) {
  const spec = JSON.parse(plot.nextElementSibling.textContent);
  await vegaEmbed(plot, fitted(spec, plot.clientWidth), options);
}
for (const table of document.querySelectorAll("table.searchable")) {
  new DataTable(table, { autoWidth: false, order: [] });
}
document.body.dataset.ready = "yes";
