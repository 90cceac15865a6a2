// Pointer and keyboard on the map: what a tool does where.

import { building, cellAt, heightAt, inside } from './state.js';

const clampTo = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * Tools on a canvas. `page` has: store, tool (name), selected, cursor, drawn, say(text), wrong(text), redraw(), height().
 */
export class Tools {
  constructor(canvas, page) {
    this.canvas = canvas;
    this.page = page;
    this.held = null;
    canvas.addEventListener('pointerdown', (event) => this.down(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    canvas.addEventListener('pointerup', (event) => this.up(event));
    canvas.addEventListener('pointercancel', () => { this.held = null; page.drawn = null; page.redraw(); });
    canvas.addEventListener('pointerleave', () => { if (!this.held) page.hover(null); });
    canvas.addEventListener('keydown', (event) => this.key(event));
    canvas.addEventListener('blur', () => { page.cursor = null; page.redraw(); });
  }

  place(event) {
    const { state } = this.page.store;
    const area = this.canvas.getBoundingClientRect();
    return {
      x: clampTo(((event.clientX - area.left) / area.width) * state.cols * state.cell, 0, state.cols * state.cell - 0.01),
      y: clampTo(((event.clientY - area.top) / area.height) * state.rows * state.cell, 0, state.rows * state.cell - 0.01),
    };
  }

  /** What lies at a place: a base station, a vehicle, a building; null for a street. */
  hit({ x, y }) {
    const { state } = this.page.store;
    const near = (thing, reach) => Math.hypot(thing.x - x, thing.y - y) <= reach;
    const reach = (state.cols * state.cell) / 40;
    const antenna = state.antennas.findLastIndex((one) => near(one, reach));
    if (antenna >= 0) return { kind: 'antenna', index: antenna };
    const vehicle = state.vehicles.findLastIndex((one) => near(one, Math.max(6, reach)));
    if (vehicle >= 0) return { kind: 'vehicle', index: vehicle };
    const { row, col } = cellAt(state, x, y);
    if (!(heightAt(state, x, y) > 0)) return null;
    return { kind: 'building', cells: building(state, row, col), from: { row, col }, shift: { row: 0, col: 0 } };
  }

  down(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    const { page } = this;
    const at = this.place(event);
    const hit = this.hit(at);
    page.cursor = null;
    if (hit?.kind === 'antenna' || (hit && page.tool === 'select')) {
      page.select(hit);
      this.held = { what: 'move', hit, before: page.store.state, moved: false };
    } else if (page.tool === 'building') {
      this.held = { what: 'frame', from: at };
    } else if (page.tool === 'erase') {
      this.held = { what: 'erase', before: page.store.state };
      this.erase(at);
    } else {
      page.select(null);
      this.use(at);
    }
  }

  move(event) {
    const { page } = this;
    const at = this.place(event);
    page.hover(at);
    if (!this.held) return;
    if (this.held.what === 'frame') {
      const { from } = this.held;
      page.drawn = { x0: Math.min(from.x, at.x), y0: Math.min(from.y, at.y), x1: Math.max(from.x, at.x), y1: Math.max(from.y, at.y) };
      page.redraw();
    } else if (this.held.what === 'erase') {
      this.erase(at);
    } else {
      this.drag(at);
    }
  }

  up(event) {
    const { held, page } = this;
    this.held = null;
    if (!held) return;
    if (held.what === 'frame') {
      const at = this.place(event);
      page.drawn = null;
      this.fill(held.from, at);
    } else if (held.what === 'erase' || (held.moved && held.hit.kind !== 'building')) {
      page.store.past.push(held.before);
      page.store.future = [];
      page.store.tell();
    } else if (held.moved) {
      this.drop(held.hit);
    }
  }

  drag(at) {
    const { page, held } = this;
    const { state } = page.store;
    if (held.hit.kind === 'building') {
      const { row, col } = cellAt(state, at.x, at.y);
      held.hit.shift = { row: row - held.hit.from.row, col: col - held.hit.from.col };
      held.moved = Boolean(held.hit.shift.row || held.hit.shift.col);
      page.redraw();
      return;
    }
    const list = held.hit.kind === 'antenna' ? 'antennas' : 'vehicles';
    if (list === 'antennas' && !this.outdoors(at)) return;
    held.moved = true;
    const things = state[list].map((thing, index) => (index === held.hit.index ? { ...thing, ...rounded(at) } : thing));
    page.store.set({ [list]: things }, { keep: false });
  }

  outdoors(at) {
    const height = heightAt(this.page.store.state, at.x, at.y);
    if (height === 0) {
      this.page.wrong('');
      return true;
    }
    this.page.wrong(`A base station stands in the open: a building of ${Math.round(height)} m is here.`);
    return false;
  }

  /** What the tool does at a place. */
  use(at) {
    const { page } = this;
    const { state } = page.store;
    if (page.tool === 'antenna') {
      if (!this.outdoors(at)) return;
      page.store.set({ antennas: [...state.antennas, { ...rounded(at), height: 1.5, power: 23 }] });
      page.select({ kind: 'antenna', index: state.antennas.length });
      page.say('Base station added.');
    } else if (page.tool === 'vehicle') {
      if (heightAt(state, at.x, at.y) > 0) { page.wrong('A vehicle stands in the street.'); return; }
      page.store.set({ vehicles: [...state.vehicles, { ...rounded(at), heading: 0, height: 3.5 }] });
      page.select({ kind: 'vehicle', index: state.vehicles.length });
      page.say('Vehicle added.');
    } else if (page.tool === 'building') {
      this.fill(at, at);
    } else if (page.tool === 'erase') {
      this.erase(at, true);
    } else {
      page.select(this.hit(at));
    }
  }

  /** A building on all cells of a rectangle. */
  fill(from, to) {
    const { page } = this;
    const { state } = page.store;
    const first = cellAt(state, Math.min(from.x, to.x), Math.min(from.y, to.y));
    const last = cellAt(state, Math.max(from.x, to.x), Math.max(from.y, to.y));
    const heights = state.heights.slice();
    for (let row = first.row; row <= last.row; row += 1) {
      for (let col = first.col; col <= last.col; col += 1) heights[row * state.cols + col] = page.height();
    }
    this.build(heights, 'Building added.');
  }

  erase(at, keep = false) {
    const { state } = this.page.store;
    const { row, col } = cellAt(state, at.x, at.y);
    if (!inside(state, row, col) || !(state.heights[row * state.cols + col] > 0)) return;
    const heights = state.heights.slice();
    heights[row * state.cols + col] = 0;
    this.page.store.set({ heights, edited: true }, { keep });
  }

  /** Put a moved building down. */
  drop(hit) {
    const { state } = this.page.store;
    const heights = state.heights.slice();
    hit.cells.forEach((at) => { heights[at] = 0; });
    hit.cells.forEach((at) => {
      const row = Math.floor(at / state.cols) + hit.shift.row;
      const col = (at % state.cols) + hit.shift.col;
      if (inside(state, row, col)) heights[row * state.cols + col] = state.heights[at];
    });
    this.page.select(null);
    this.build(heights, 'Building moved.');
  }

  /** Take buildings on, unless a base station would stand in one. */
  build(heights, told) {
    const { page } = this;
    const { state } = page.store;
    const walled = state.antennas.some(({ x, y }) => {
      const { row, col } = cellAt(state, x, y);
      return heights[row * state.cols + col] > 0;
    });
    if (walled) {
      page.wrong('A base station stands there: move it first.');
      page.redraw();
      return;
    }
    page.wrong('');
    page.store.set({ heights, edited: true });
    page.say(told);
  }

  /** Remove what is selected. */
  remove() {
    const { page } = this;
    const { state } = page.store;
    const { selected } = page;
    if (!selected) return;
    page.select(null);
    if (selected.kind === 'building') {
      const heights = state.heights.slice();
      selected.cells.forEach((at) => { heights[at] = 0; });
      this.build(heights, 'Building deleted.');
      return;
    }
    const list = selected.kind === 'antenna' ? 'antennas' : 'vehicles';
    page.store.set({ [list]: state[list].filter((_, index) => index !== selected.index) });
    page.say(`${selected.kind === 'antenna' ? 'Base station' : 'Vehicle'} deleted.`);
  }

  key(event) {
    const { page } = this;
    const { state } = page.store;
    const ways = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (ways[event.key]) {
      const [down, right] = ways[event.key];
      const far = event.shiftKey ? 8 : 1;
      const now = page.cursor || { row: state.rows >> 1, col: state.cols >> 1 };
      page.cursor = {
        row: clampTo(now.row + far * down, 0, state.rows - 1), col: clampTo(now.col + far * right, 0, state.cols - 1),
      };
      page.hover(this.middle(), true);
      page.redraw();
    } else if ((event.key === 'Enter' || event.key === ' ') && page.cursor) {
      const hit = page.tool === 'select' ? this.hit(this.middle()) : null;
      if (hit) page.select(hit);
      else this.use(this.middle());
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      this.remove();
    } else if (event.key === 'Escape') {
      page.select(null);
    } else {
      return;
    }
    event.preventDefault();
  }

  middle() {
    const { cell } = this.page.store.state;
    return { x: (this.page.cursor.col + 0.5) * cell, y: (this.page.cursor.row + 0.5) * cell };
  }
}

const rounded = ({ x, y }) => ({ x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10 });
