// What is on the page: a block of buildings, base stations, vehicles and what is shown of them; with undo, and kept.

const KEPT = 'raymap';
const MOST = 60;

/** The state, its past and its future. Listeners are told of every change: (state, what) with what "area" or "draw". */
export class Store {
  constructor() {
    this.state = {
      area: { kind: 'tile', name: '' }, edited: false, rows: 0, cols: 0, cell: 4, heights: [], notes: [],
      antennas: [], vehicles: [], layer: 'gain', threshold: -90, model: '', seed: 0, steps: null,
    };
    this.past = [];
    this.future = [];
    this.listeners = [];
  }

  onChange(listener) { this.listeners.push(listener); }

  /** Change parts of the state. With `keep`, the state before can be come back to. */
  set(parts, { keep = true } = {}) {
    if (keep) {
      this.past.push(this.state);
      if (this.past.length > MOST) this.past.shift();
      this.future = [];
    }
    this.state = { ...this.state, ...parts };
    this.tell();
  }

  tell() {
    this.listeners.forEach((listener) => listener(this.state));
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.state));
    } catch { /* A block too large to keep is drawn all the same. */ }
  }

  undo() { this.step(this.past, this.future); }

  redo() { this.step(this.future, this.past); }

  step(from, to) {
    if (!from.length) return;
    to.push(this.state);
    this.state = from.pop();
    this.tell();
  }
}

/** What was on the page last time, or what a link says; null without either. */
export function remembered() {
  try {
    if (location.hash.length > 1) return { link: JSON.parse(decodeURIComponent(atob(location.hash.slice(1)))) };
    const kept = JSON.parse(localStorage.getItem(KEPT) || 'null');
    return kept && kept.rows ? { kept } : null;
  } catch {
    return null;
  }
}

/** A link to a block of a city or a generated town with its base stations. Null for a block that was drawn by hand. */
export function link(state) {
  if (state.edited || !['tile', 'town'].includes(state.area.kind)) return null;
  const told = { area: state.area, antennas: state.antennas, layer: state.layer, threshold: state.threshold };
  return `${location.origin}${location.pathname}#${btoa(encodeURIComponent(JSON.stringify(told)))}`;
}

export const cellAt = (state, x, y) => ({ row: Math.floor(y / state.cell), col: Math.floor(x / state.cell) });

export const inside = (state, row, col) => row >= 0 && col >= 0 && row < state.rows && col < state.cols;

/** Height of the building at a place [m]; 0 outdoors, null outside the block. */
export function heightAt(state, x, y) {
  const { row, col } = cellAt(state, x, y);
  return inside(state, row, col) ? state.heights[row * state.cols + col] : null;
}

/** The cells of the building that a cell belongs to, by their numbers. */
export function building(state, row, col) {
  const found = new Set();
  const waiting = [[row, col]];
  while (waiting.length) {
    const [r, c] = waiting.pop();
    const at = r * state.cols + c;
    if (!inside(state, r, c) || found.has(at) || !(state.heights[at] > 0)) continue;
    found.add(at);
    waiting.push([r + 1, c], [r - 1, c], [r, c + 1], [r, c - 1]);
  }
  return found;
}

/** The area as a request has it. */
export function areaOf(state) {
  if (!state.edited) return state.area;
  const rows = [];
  for (let row = 0; row < state.rows; row += 1) {
    rows.push(state.heights.slice(row * state.cols, (row + 1) * state.cols));
  }
  return { kind: 'raster', heights_m: rows, cell_m: state.cell };
}

/** A request for maps of what is on the page. */
export function requestOf(state) {
  const layers = { spread: ['gain', 'spread'], outline: ['gain', 'outline'] }[state.layer] || ['gain'];
  return {
    area: areaOf(state), layers, model: state.model || null, seed: state.seed, steps: state.steps,
    ensemble: state.layer === 'spread' ? 4 : 1,
    transmitters: state.antennas.map(({ x, y, height, power }) => ({ x_m: x, y_m: y, height_m: height, power_dbm: power })),
    vehicles: state.vehicles.map(({ x, y, heading, height }) => ({
      x_m: x, y_m: y, heading_deg: heading, length_m: 12, width_m: 2.6, height_m: height,
    })),
  };
}
