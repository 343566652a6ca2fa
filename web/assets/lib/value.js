// Values of keys: bytes that are text or not, and how two texts differ.

// decode makes bytes of base64; null is an empty value.
export const decode = base64 => Uint8Array.from(atob(base64 ?? ''), c => c.charCodeAt(0))

// textOf returns bytes as text, undefined if they are none: no UTF-8, or with characters that a
// text field would change or hide.
export function textOf(bytes) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return /[\x00-\x08\x0b-\x1f\x7f]/.test(text) ? undefined : text // \r as well: a field would make \n of it
  } catch { return undefined }
}

const perLine = 16

// hexOf shows at most so many bytes as people read them: place, hexadecimal, letters.
export function hexOf(bytes, most = 4096) {
  const lines = []
  for (let at = 0; at < Math.min(bytes.length, most); at += perLine) {
    const part = [...bytes.slice(at, Math.min(at + perLine, most))]
    lines.push(`${at.toString(16).padStart(6, '0')}  ${part.map(b => b.toString(16).padStart(2, '0')).join(' ').padEnd(perLine * 3)} ${part.map(b => b >= 32 && b < 127 ? String.fromCharCode(b) : '.').join('')}`)
  }
  return lines.join('\n')
}

const mostLines = 1500 // compared line by line in the middle; longer ones are replaced whole

// diff returns [sign, line] with ' ', '-' and '+' to make the second text of the first.
export function diff(before, after) {
  const a = before.split('\n'), b = after.split('\n')
  let head = 0, tail = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head++
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++
  const p = a.slice(head, a.length - tail), q = b.slice(head, b.length - tail)
  return [...a.slice(0, head).map(l => [' ', l]), ...middle(p, q), ...a.slice(a.length - tail).map(l => [' ', l])]
}

// middle compares by the longest common subsequence.
function middle(p, q) {
  if (p.length > mostLines || q.length > mostLines) return [...p.map(l => ['-', l]), ...q.map(l => ['+', l])]
  const same = Array.from({ length: p.length + 1 }, () => new Uint16Array(q.length + 1))
  for (let i = p.length - 1; i >= 0; i--) for (let j = q.length - 1; j >= 0; j--) same[i][j] = p[i] === q[j] ? same[i + 1][j + 1] + 1 : Math.max(same[i + 1][j], same[i][j + 1])
  const out = []
  let i = 0, j = 0
  while (i < p.length || j < q.length) {
    if (i < p.length && j < q.length && p[i] === q[j]) { out.push([' ', p[i++]]); j++ }
    else if (j >= q.length || (i < p.length && same[i + 1][j] >= same[i][j + 1])) out.push(['-', p[i++]])
    else out.push(['+', q[j++]])
  }
  return out
}

// around leaves out unchanged lines that are far from a change; what is left out is [null, how many].
export function around(lines, near = 3) {
  const keep = lines.map((_, i) => lines.slice(Math.max(0, i - near), i + near + 1).some(([s]) => s !== ' '))
  const out = []
  lines.forEach((l, i) => {
    if (keep[i]) out.push(l)
    else if (out.at(-1)?.[0] === null) out.at(-1)[1]++
    else out.push([null, 1])
  })
  return out
}
