// The block and its map on a canvas, and the colour bar.

import { STATIONS, colour, letter } from './colours.js';

/** Ends of the scale of what is shown, its unit, its colours, and the number behind a cell. */
export const LAYERS = {
  gain: { low: -147, high: -47, unit: 'dB', name: 'path gain', scale: 'viridis' },
  received: { low: -124, high: -24, unit: 'dBm', name: 'received power', scale: 'viridis' },
  covered: { low: -124, high: -24, unit: 'dBm', name: 'received power, covered part', scale: 'viridis' },
  best: { unit: '', name: 'best server' },
  outline: { low: 0, high: 1, unit: '', name: 'outline: where the field turns abruptly', scale: 'cividis' },
  spread: { low: 0, high: 10, unit: 'dB', name: 'error bar', scale: 'cividis' },
};

/** What is known of a cell: strongest gain, strongest received power, and whose that is; null indoors. */
export function cellOf(state, maps, at) {
  if (!maps || state.heights[at] > 0) return null;
  const size = state.rows * state.cols;
  let best = null;
  for (let n = 0; n < maps.count; n += 1) {
    const gain = maps.gain[n * size + at];
    const received = gain + maps.powers[n];
    if (Number.isFinite(gain) && (!best || received > best.received)) best = { gain, received, server: n };
  }
  if (!best) return null;
  const most = (values) => (values ? values[best.server * size + at] : null);
  return { ...best, outline: most(maps.outline), spread: most(maps.spread) };
}

/** Share of the outdoor cells that receive at least the threshold. */
export function covered(state, maps) {
  let outdoor = 0;
  let above = 0;
  for (let at = 0; at < state.rows * state.cols; at += 1) {
    const cell = cellOf(state, maps, at);
    if (!cell) continue;
    outdoor += 1;
    if (cell.received >= state.threshold) above += 1;
  }
  return outdoor ? above / outdoor : null;
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

function pixels(state, maps) {
  const image = new ImageData(state.cols, state.rows);
  const layer = LAYERS[state.layer];
  const street = rgb(style('--street'));
  const wall = rgb(style('--building'));
  const tallest = Math.max(30, ...state.heights);
  for (let at = 0; at < state.rows * state.cols; at += 1) {
    let shown = street;
    if (state.heights[at] > 0) {
      const shade = 0.72 + 0.28 * Math.min(1, state.heights[at] / tallest);
      shown = wall.map((value) => Math.round(value * shade));
    } else {
      const cell = cellOf(state, maps, at);
      if (cell) shown = coloured(state, layer, cell, street);
    }
    image.data.set([...shown, 255], 4 * at);
  }
  return image;
}

function coloured(state, layer, cell, street) {
  if (state.layer === 'best') return STATIONS[cell.server % STATIONS.length];
  if (state.layer === 'covered' && cell.received < state.threshold) return street;
  const value = state.layer === 'covered' ? cell.received : cell[state.layer];
  return Number.isFinite(value) ? colour(layer.scale, (value - layer.low) / (layer.high - layer.low)) : street;
}

/** Draw everything. `mark`: { cursor, selected, drawn } as main has them. */
export function draw(canvas, state, maps, mark) {
  if (!state.rows) return;
  const scale = Math.max(2, Math.round(1280 / Math.max(state.cols, state.rows)));
  canvas.width = state.cols * scale;
  canvas.height = state.rows * scale;
  const context = canvas.getContext('2d');
  const small = document.createElement('canvas');
  small.width = state.cols;
  small.height = state.rows;
  small.getContext('2d').putImageData(pixels(state, maps), 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  const meters = scale / state.cell;
  if (state.layer === 'best' && maps && maps.count > 1) letters(context, state, maps, scale);
  state.vehicles.forEach((vehicle, index) => box(context, vehicle, meters, mark.selected, index));
  if (mark.selected?.kind === 'building') cells(context, state, mark.selected, scale);
  if (mark.drawn) frame(context, mark.drawn, meters);
  state.antennas.forEach((antenna, index) => {
    const chosen = mark.selected?.kind === 'antenna' && mark.selected.index === index;
    station(context, antenna.x * meters, antenna.y * meters, index, chosen, canvas.width / 64);
  });
  if (mark.cursor) {
    context.lineWidth = Math.max(2, scale / 6);
    context.strokeStyle = '#ffffff';
    context.strokeRect(mark.cursor.col * scale, mark.cursor.row * scale, scale, scale);
    context.strokeStyle = '#000000';
    context.lineWidth /= 2;
    context.strokeRect(mark.cursor.col * scale, mark.cursor.row * scale, scale, scale);
  }
}

function letters(context, state, maps, scale) {
  const every = Math.max(4, Math.round(state.cols / 14));
  context.font = `700 ${Math.round(every * scale * 0.34)}px system-ui, sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillStyle = 'rgba(255, 255, 255, 0.92)';
  for (let row = every >> 1; row < state.rows; row += every) {
    for (let col = every >> 1; col < state.cols; col += every) {
      const cell = cellOf(state, maps, row * state.cols + col);
      if (cell) context.fillText(letter(cell.server), (col + 0.5) * scale, (row + 0.5) * scale);
    }
  }
}

function box(context, vehicle, meters, selected, index) {
  context.save();
  context.translate(vehicle.x * meters, vehicle.y * meters);
  context.rotate((vehicle.heading * Math.PI) / 180);
  context.fillStyle = '#c23b3b';
  context.strokeStyle = selected?.kind === 'vehicle' && selected.index === index ? '#000000' : '#ffffff';
  context.lineWidth = 3;
  context.fillRect(-6 * meters, -1.3 * meters, 12 * meters, 2.6 * meters);
  context.strokeRect(-6 * meters, -1.3 * meters, 12 * meters, 2.6 * meters);
  context.restore();
}

function cells(context, state, { cells: chosen, shift = { row: 0, col: 0 } }, scale) {
  context.fillStyle = 'rgba(255, 209, 102, 0.55)';
  chosen.forEach((at) => {
    const row = Math.floor(at / state.cols) + shift.row;
    const col = (at % state.cols) + shift.col;
    context.fillRect(col * scale, row * scale, scale, scale);
  });
}

function frame(context, { x0, y0, x1, y1 }, meters) {
  context.setLineDash([10, 6]);
  context.lineWidth = 3;
  context.strokeStyle = '#ffd166';
  context.strokeRect(x0 * meters, y0 * meters, (x1 - x0) * meters, (y1 - y0) * meters);
  context.setLineDash([]);
}

function station(context, x, y, index, chosen, radius) {
  const [red, green, blue] = STATIONS[index % STATIONS.length];
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
  context.fill();
  context.lineWidth = chosen ? radius / 2.4 : radius / 4;
  context.strokeStyle = chosen ? '#ffd166' : '#ffffff';
  context.stroke();
  context.fillStyle = '#ffffff';
  context.font = `700 ${Math.round(radius * 1.2)}px system-ui, sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineWidth = radius / 6;
  context.strokeStyle = 'rgba(0, 0, 0, 0.55)';
  context.strokeText(letter(index), x, y + radius * 0.06);
  context.fillText(letter(index), x, y + radius * 0.06);
}

/** The colour bar of what is shown, with its unit. */
export function bar(canvas, state, ink = style('--ink')) {
  const width = 640;
  const height = 84;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const layer = LAYERS[state.layer];
  context.fillStyle = ink;
  context.font = '24px system-ui, sans-serif';
  context.textBaseline = 'alphabetic';
  if (!layer.scale) {
    state.antennas.forEach((_, index) => {
      const [red, green, blue] = STATIONS[index % STATIONS.length];
      context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
      context.fillRect(index * 76, 4, 30, 30);
      context.fillStyle = ink;
      context.fillText(letter(index), index * 76 + 38, 28);
    });
    context.fillText(layer.name, 0, 72);
    return;
  }
  for (let at = 0; at < width; at += 1) {
    const value = layer.low + (at / width) * (layer.high - layer.low);
    const shown = state.layer === 'covered' && value < state.threshold ? rgb(style('--street')) : colour(layer.scale, at / width);
    context.fillStyle = `rgb(${shown.join(',')})`;
    context.fillRect(at, 0, 1, 26);
  }
  const ticks = 5;
  context.fillStyle = ink;
  for (let tick = 0; tick < ticks; tick += 1) {
    const share = tick / (ticks - 1);
    const value = layer.low + share * (layer.high - layer.low);
    context.textAlign = tick === 0 ? 'left' : tick === ticks - 1 ? 'right' : 'center';
    context.fillText(`${Number(value.toFixed(2))}${tick === ticks - 1 && layer.unit ? ` ${layer.unit}` : ''}`, share * width, 50);
  }
  context.textAlign = 'left';
  context.fillText(layer.name, 0, 80);
}
