// Requests to the endpoint this page came from, and to nobody else.

/** What the endpoint says is wrong. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || `the endpoint answered ${status}`);
    this.status = status;
    this.errors = body.errors || [];
  }
}

export const token = {
  get: () => sessionStorage.getItem('token') || '',
  set: (text) => sessionStorage.setItem('token', text),
};

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The answer to a request; waits and asks again while the endpoint says "not now". Throws Problem. */
export async function ask(path, body, { attempts = 20, raw = false } = {}) {
  const headers = { 'content-type': 'application/json' };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  const options = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
  for (let attempt = 1; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Problem(0, { detail: 'The endpoint does not answer. Is it still running?' });
    }
    if (answer.ok) return raw ? answer : answer.json();
    if (answer.status === 503 && attempt < attempts) {
      await pause(1000 * Math.min(Number(answer.headers.get('retry-after')) || 1, 5));
      continue;
    }
    const told = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, told);
  }
}

const KINDS = { float32: Float32Array, uint8: Uint8Array, int16: Int16Array };

/** An array of an answer: { shape, values }. */
export function unpacked({ dtype, shape, base64 }) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return { shape, values: new KINDS[dtype](bytes.buffer) };
}
