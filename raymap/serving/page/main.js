// The page: what is on it, and the map that follows.

import { Problem, ask, token, unpacked } from './api.js';
import { STATIONS, letter } from './colours.js';
import { LAYERS, bar, cellOf, covered, draw } from './draw.js';
import { base64, curl, saveJson, savePng, saveTif } from './files.js';
import { Store, cellAt, heightAt, inside, link, remembered, requestOf } from './state.js';
import { Tools } from './tools.js';

const $ = (id) => document.getElementById(id);
const canvas = $('map');
const store = new Store();

const page = {
  store, tool: 'select', selected: null, cursor: null, drawn: null, maps: null, asked: '',
  height: () => Number($('height').value) || 15,
  redraw: () => requestAnimationFrame(() => draw(canvas, store.state, page.maps, page)),
  say: (text) => { $('live').textContent = text; },
  wrong: (text) => { $('message').textContent = text; $('message').hidden = !text; },
  select(what) { page.selected = what; showSelected(); page.redraw(); },
  hover(at, aloud) {
    const text = at ? told(at) : 'Move over the map to read values.';
    $('under').textContent = text;
    if (aloud) page.say(text);
  },
};
const tools = new Tools(canvas, page);

// ---- the map follows: one request at a time, always of the newest state

let flying = false;

async function follow() {
  if (flying || !store.state.rows) return;
  const request = requestOf(store.state);
  const wanted = JSON.stringify(request);
  if (wanted === page.asked) return;
  if (!store.state.antennas.length) {
    page.maps = null;
    page.asked = wanted;
    shown();
    return;
  }
  flying = true;
  const begun = performance.now();
  const soon = setTimeout(() => { $('busy').hidden = false; }, 250);
  try {
    const answer = await ask('/v1/maps?encoding=base64', request);
    const layer = (name) => (answer.layers[name] ? unpacked(answer.layers[name]).values : null);
    page.maps = {
      count: request.transmitters.length, gain: layer('gain_db'), outline: layer('outline'), spread: layer('spread_db'),
      powers: request.transmitters.map((one) => one.power_dbm),
    };
    const { name, version } = answer.model;
    $('model-line').textContent = `drawn by ${name}${version === name ? '' : `, ${version}`}`;
    canvas.dataset.maps = String(Number(canvas.dataset.maps || 0) + 1);
    // For whoever measures (jobs/measure_page.py): from the change to the frame that shows its map.
    requestAnimationFrame(() => requestAnimationFrame(() => performance.measure('update', { start: begun })));
    page.wrong('');
  } catch (error) {
    page.maps = null;
    refused(error);
  } finally {
    clearTimeout(soon);
    $('busy').hidden = true;
    page.asked = wanted;
    flying = false;
  }
  shown();
  follow();
}

function refused(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) {
    $('token-label').hidden = false;
    $('token').focus();
  }
  page.wrong(error.errors.length ? `${error.errors[0].field}: ${error.errors[0].allowed}` : error.message);
}

// ---- what is shown of the state

function shown() {
  const { state } = store;
  page.redraw();
  bar($('bar'), state);
  const share = page.maps ? covered(state, page.maps) : null;
  $('share-value').textContent = share === null ? '–' : `${(100 * share).toFixed(1)} %`;
  $('threshold-value').textContent = `${state.threshold} dBm`;
}

function showState() {
  const { state } = store;
  $('layer').value = state.layer;
  $('threshold').value = state.threshold;
  $('seed').value = state.seed;
  $('steps').value = state.steps ?? '';
  $('undo').disabled = !store.past.length;
  $('redo').disabled = !store.future.length;
  $('tile').value = !state.edited && state.area.kind === 'tile' ? state.area.name : '';
  if (state.model) $('model').value = state.model;
  showAntennas();
  shown();
  follow();
}

function showAntennas() {
  const list = $('antennas');
  const { antennas } = store.state;
  if (list.children.length !== antennas.length) {
    list.replaceChildren(...antennas.map((_, index) => antennaRow(index)));
    if (!antennas.length) list.append(Object.assign(document.createElement('li'), { textContent: 'None yet.' }));
  }
  antennas.forEach((antenna, index) => {
    const row = list.children[index];
    const fields = { height: antenna.height, power: antenna.power };
    Object.entries(fields).forEach(([name, value]) => {
      const input = row.querySelector(`[name="${name}"]`);
      if (document.activeElement !== input) input.value = value;
    });
    row.querySelector('.where').textContent = `x ${antenna.x.toFixed(1)} m, y ${antenna.y.toFixed(1)} m`;
  });
}

function antennaRow(index) {
  const row = document.createElement('li');
  const name = letter(index);
  const badge = Object.assign(document.createElement('button'), { type: 'button', className: 'letter', textContent: name });
  badge.style.background = `rgb(${STATIONS[index % STATIONS.length].join(',')})`;
  badge.style.color = '#ffffff';
  badge.setAttribute('aria-label', `Select base station ${name}`);
  badge.addEventListener('click', () => page.select({ kind: 'antenna', index }));
  const remove = Object.assign(document.createElement('button'), { type: 'button', className: 'remove', textContent: '×' });
  remove.setAttribute('aria-label', `Delete base station ${name}`);
  remove.addEventListener('click', () => { page.select({ kind: 'antenna', index }); tools.remove(); });
  const where = Object.assign(document.createElement('span'), { className: 'where' });
  row.append(badge, field('height', 'Height [m]', index, 0.5, 500), field('power', 'Power [dBm]', index, -50, 80), remove, where);
  return row;
}

function field(name, text, index, min, max) {
  const label = Object.assign(document.createElement('label'), { textContent: text });
  const input = Object.assign(document.createElement('input'), { type: 'number', name, min, max, step: 0.5 });
  input.addEventListener('change', () => {
    if (!input.value || !input.checkValidity()) { input.reportValidity(); return; }
    const antennas = store.state.antennas.map((one, at) => (at === index ? { ...one, [name]: Number(input.value) } : one));
    store.set({ antennas });
  });
  label.append(input);
  return label;
}

function showSelected() {
  const { selected } = page;
  const shownHere = selected && selected.kind !== 'antenna';
  $('selected').hidden = !shownHere;
  if (!shownHere) return;
  const isVehicle = selected.kind === 'vehicle';
  $('selected-title').textContent = isVehicle ? 'Vehicle' : 'Building';
  $('heading-label').hidden = !isVehicle;
  const vehicle = isVehicle ? store.state.vehicles[selected.index] : null;
  $('selected-height').value = isVehicle ? vehicle.height : store.state.heights[[...selected.cells][0]].toFixed(1);
  if (isVehicle) $('selected-heading').value = vehicle.heading;
}

function changeSelected() {
  const height = Number($('selected-height').value);
  const { selected } = page;
  if (!selected || !(height > 0)) return;
  if (selected.kind === 'vehicle') {
    const heading = Number($('selected-heading').value) || 0;
    const vehicles = store.state.vehicles.map((one, at) => (at === selected.index ? { ...one, height, heading } : one));
    store.set({ vehicles });
  } else {
    const heights = store.state.heights.slice();
    selected.cells.forEach((at) => { heights[at] = height; });
    store.set({ heights, edited: true });
  }
}

function told(at) {
  const { state } = store;
  const { row, col } = cellAt(state, at.x, at.y);
  if (!inside(state, row, col)) return '';
  const where = `x ${at.x.toFixed(0)} m, y ${at.y.toFixed(0)} m`;
  const height = heightAt(state, at.x, at.y);
  if (height > 0) return `${where}: building, ${height.toFixed(1)} m`;
  const cell = cellOf(state, page.maps, row * state.cols + col);
  if (!cell) return `${where}: no map yet`;
  const whose = page.maps.count > 1 ? ` from ${letter(cell.server)}` : '';
  const spread = cell.spread === null ? '' : ` ± ${cell.spread.toFixed(1)} dB`;
  return `${where}: ${cell.gain.toFixed(1)} dB${spread}, ${cell.received.toFixed(1)} dBm received${whose}`;
}

// ---- blocks

/** Take a block on: its heights from the endpoint, its base stations in the open. */
async function take(area, antennas) {
  try {
    const found = await ask('/v1/areas', { area });
    const block = {
      area, edited: false, rows: found.shape[0], cols: found.shape[1], cell: found.cell_m, heights: found.heights_m.flat(),
      notes: found.notes, vehicles: [],
    };
    page.select(null);
    page.maps = null;
    page.asked = '';
    store.set({ ...block, antennas: antennas || [inTheOpen(block)] });
    page.wrong(found.notes.length ? `Of this file: ${found.notes.slice(0, 3).join('; ')}` : '');
    page.say(`A block of ${block.cols * block.cell} by ${block.rows * block.cell} metres.`);
  } catch (error) {
    refused(error);
  }
}

/** A base station in the street nearest to the middle. */
function inTheOpen({ rows, cols, cell, heights }) {
  let best = { far: Infinity, x: 0, y: 0 };
  heights.forEach((height, at) => {
    const row = Math.floor(at / cols);
    const far = Math.hypot(row - rows / 2, (at % cols) - cols / 2);
    if (!(height > 0) && far < best.far) best = { far, x: ((at % cols) + 0.5) * cell, y: (row + 0.5) * cell };
  });
  return { x: best.x, y: best.y, height: 1.5, power: 23 };
}

async function fromFile(input, read) {
  const [file] = input.files;
  input.value = '';
  if (!file) return;
  try {
    await take(await read(file));
  } catch (error) {
    page.wrong(`${file.name} cannot be read: ${error.message}`);
  }
}

// ---- controls

function choose(tool) {
  page.tool = tool;
  document.querySelectorAll('[data-tool]').forEach((button) => {
    button.setAttribute('aria-pressed', String(button.dataset.tool === tool));
  });
}

const positive = (id) => Number($(id).value) || Number($(id).defaultValue);

function listen() {
  document.querySelectorAll('[data-tool]').forEach((button) => {
    button.addEventListener('click', () => choose(button.dataset.tool));
  });
  $('undo').addEventListener('click', () => { page.select(null); store.undo(); });
  $('redo').addEventListener('click', () => { page.select(null); store.redo(); });
  $('layer').addEventListener('change', (event) => store.set({ layer: event.target.value }, { keep: false }));
  $('threshold').addEventListener('input', (event) => store.set({ threshold: Number(event.target.value) }, { keep: false }));
  $('model').addEventListener('change', (event) => store.set({ model: event.target.value }));
  $('seed').addEventListener('change', (event) => store.set({ seed: Math.max(0, Math.floor(Number(event.target.value))) }));
  $('steps').addEventListener('change', (event) => store.set({ steps: Number(event.target.value) || null }));
  $('tile').addEventListener('change', (event) => event.target.value && take({ kind: 'tile', name: event.target.value }));
  $('make-town').addEventListener('click', () => {
    take({ kind: 'town', seed: Math.max(0, Math.floor(Number($('town').value))), shape: [64, 64], cell_m: 4 });
  });
  $('empty').addEventListener('click', () => {
    const heights_m = Array.from({ length: 64 }, () => Array(64).fill(0));
    take({ kind: 'raster', heights_m, cell_m: positive('cell') });
  });
  $('geojson').addEventListener('change', (event) => fromFile(event.target, async (file) => ({
    kind: 'geojson', geojson: JSON.parse(await file.text()), cell_m: positive('cell'),
  })));
  $('png').addEventListener('change', (event) => fromFile(event.target, async (file) => ({
    kind: 'png', png_base64: await base64(file), cell_m: positive('cell'), height_m: positive('white'),
  })));
  $('selected-height').addEventListener('change', changeSelected);
  $('selected-heading').addEventListener('change', changeSelected);
  $('delete').addEventListener('click', () => tools.remove());
  $('save-png').addEventListener('click', () => savePng(canvas, store.state));
  $('save-json').addEventListener('click', () => saveJson(store.state).catch(refused));
  $('save-tif').addEventListener('click', () => saveTif(store.state).catch(refused));
  $('save-curl').addEventListener('click', () => copy(curl(store.state), 'The command is copied.'));
  $('share').addEventListener('click', () => {
    const text = link(store.state);
    if (text) copy(text, 'The link is copied.');
    else page.wrong('A block that was drawn or loaded is on this page only; take it away as JSON instead.');
  });
  $('token').addEventListener('change', (event) => { token.set(event.target.value); begin(); });
  $('theme').addEventListener('click', () => dress(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
  document.addEventListener('keydown', keys);
}

function keys(event) {
  const typing = ['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName);
  const letters = { s: 'select', a: 'antenna', b: 'building', v: 'vehicle', e: 'erase' };
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === 'z') {
    event.preventDefault();
    page.select(null);
    if (event.shiftKey) store.redo();
    else store.undo();
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && letters[key]) {
    choose(letters[key]);
    canvas.focus();
  }
}

async function copy(text, told_) {
  try {
    await navigator.clipboard.writeText(text);
    page.say(told_);
    $('under').textContent = told_;
  } catch {
    window.prompt('Copy this:', text);
  }
}

function dress(theme) {
  document.documentElement.dataset.theme = theme;
  $('theme').setAttribute('aria-pressed', String(theme === 'dark'));
  localStorage.setItem('raymap-theme', theme);
  shown();
}

// ---- begin

async function begin() {
  try {
    const [all, tiles] = await Promise.all([ask('/v1/models'), ask('/v1/tiles')]);
    const models = all.filter((model) => model.answers === 'maps');
    $('model').replaceChildren(...models.map(({ name }) => new Option(name, name)));
    $('tile').replaceChildren(new Option('', ''), ...tiles.tiles.map(({ name }) => new Option(name, name)));
    $('attribution').textContent = tiles.attribution;
    $('token-label').hidden = !token.get();
    const before = remembered();
    if (before?.kept) {
      store.set({ ...before.kept, model: models.some(({ name }) => name === before.kept.model) ? before.kept.model : '' }, { keep: false });
    } else if (before?.link) {
      const { area, antennas, layer, threshold } = before.link;
      store.set({ layer: LAYERS[layer] ? layer : 'gain', threshold: Number(threshold) || -90 }, { keep: false });
      await take(area, antennas);
    } else {
      await take({ kind: 'tile', name: tiles.tiles[0].name });
    }
    store.past = [];
    showState();
  } catch (error) {
    refused(error);
  }
}

const dark = window.matchMedia('(prefers-color-scheme: dark)');
document.documentElement.dataset.theme = localStorage.getItem('raymap-theme') || (dark.matches ? 'dark' : 'light');
$('theme').setAttribute('aria-pressed', String(document.documentElement.dataset.theme === 'dark'));
store.onChange(showState);
listen();
choose('select');
begin();
