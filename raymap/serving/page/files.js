// What comes in from files, and what is taken away.

import { ask } from './api.js';
import { bar } from './draw.js';
import { requestOf } from './state.js';

/** A file's bytes as base64. */
export async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

function save(name, blob) {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10000);
}

/** What the canvas shows, with its colour bar, as a picture. */
export function savePng(map, state) {
  const legend = document.createElement('canvas');
  bar(legend, state, '#1b2430');
  const page = document.createElement('canvas');
  page.width = Math.max(map.width, 680);
  page.height = map.height + 120;
  const context = page.getContext('2d');
  context.fillStyle = '#ffffff';
  context.fillRect(0, 0, page.width, page.height);
  context.drawImage(map, 0, 0);
  context.drawImage(legend, 20, map.height + 20);
  page.toBlob((blob) => save('raymap.png', blob), 'image/png');
}

/** The endpoint's answer as JSON, every number of it. */
export async function saveJson(state) {
  const answer = await ask('/v1/maps', requestOf(state), { raw: true });
  save('raymap.json', await answer.blob());
}

/** The first base station's map with its place on Earth. */
export async function saveTif(state) {
  const answer = await ask('/v1/maps?format=geotiff', { ...requestOf(state), layers: ['gain'] }, { raw: true });
  save('raymap.tif', await answer.blob());
}

/** The request as a command. */
export function curl(state) {
  const body = JSON.stringify(requestOf(state)).replaceAll("'", "'\\''");
  return `curl -s '${location.origin}/v1/maps' -H 'content-type: application/json' -d '${body}'`;
}
