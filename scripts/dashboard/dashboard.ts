/** Makes the Grafana dashboard. `npm run docs` writes docs/prometheus/millrace-dashboard.json. */
import { ROWS, type Panel } from './panels.ts';

const COLUMNS = 3;
const WIDTH = 24 / COLUMNS;
const HEIGHT = 8;
const SOURCE = { type: 'prometheus', uid: '${datasource}' } as const;

/** Returns the dashboard as Grafana imports it. Its data source is a variable. */
export function dashboard(): object {
  const panels: object[] = [];
  let y = 0;
  let id = 0;
  for (const row of ROWS) {
    panels.push({
      id: ++id,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { h: 1, w: 24, x: 0, y: y++ },
    });
    row.panels.forEach((panel, i) => {
      const x = (i % COLUMNS) * WIDTH;
      const at = { h: HEIGHT, w: WIDTH, x, y: y + Math.floor(i / COLUMNS) * HEIGHT };
      panels.push(panelOf(panel, ++id, at));
    });
    y += Math.ceil(row.panels.length / COLUMNS) * HEIGHT;
  }
  return {
    uid: 'millrace',
    title: 'Millrace',
    tags: ['millrace'],
    schemaVersion: 38,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    timezone: 'browser',
    templating: { list: variables() },
    panels,
  };
}

function variables(): object[] {
  return [
    {
      name: 'datasource',
      label: 'Data source',
      type: 'datasource',
      query: 'prometheus',
      current: {},
      hide: 0,
    },
    {
      name: 'function',
      label: 'Function',
      type: 'query',
      datasource: SOURCE,
      query: { query: 'label_values(millrace_lag_events, function)', refId: 'function' },
      refresh: 2,
      sort: 1,
      multi: true,
      includeAll: true,
      allValue: '.*',
      current: { selected: true, text: ['All'], value: ['$__all'] },
    },
  ];
}

function panelOf({ title, text, unit, queries }: Panel, id: number, gridPos: object): object {
  return {
    id,
    type: 'timeseries',
    title,
    description: text,
    datasource: SOURCE,
    gridPos,
    fieldConfig: {
      defaults: { unit, min: 0, custom: { fillOpacity: 10, showPoints: 'never' } },
      overrides: [],
    },
    options: { legend: { displayMode: 'list' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(({ expr, legend }, i) => ({
      refId: String.fromCharCode(65 + i),
      datasource: SOURCE,
      expr,
      legendFormat: legend,
      range: true,
    })),
  };
}
