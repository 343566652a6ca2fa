// How two texts differ, line by line. However long they are, it takes a bounded time.

const mostLines = 1500 // compared line by line in the middle; longer ones are replaced whole

// diff returns [sign, line] with ' ', '-' and '+' to make the second text of the first.
export function diff(before, after) {
  const a = before.split('\n'), b = after.split('\n')
  let head = 0, tail = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head++
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++
  const p = a.slice(head, a.length - tail), q = b.slice(head, b.length - tail)
  return [...marked(' ', a.slice(0, head)), ...middle(p, q), ...marked(' ', a.slice(a.length - tail))]
}

const marked = (sign, lines) => lines.map(l => [sign, l])

// middle compares by the longest common subsequence. Lines have numbers, so that long ones are
// compared once and not with each other.
function middle(p, q) {
  if (p.length > mostLines || q.length > mostLines) return [...marked('-', p), ...marked('+', q)]
  const numbers = new Map(), number = l => numbers.get(l) ?? (numbers.set(l, numbers.size), numbers.size - 1)
  const x = p.map(number), y = q.map(number)
  const same = Array.from({ length: p.length + 1 }, () => new Uint16Array(q.length + 1))
  for (let i = p.length - 1; i >= 0; i--) {
    for (let j = q.length - 1; j >= 0; j--) same[i][j] = x[i] === y[j] ? same[i + 1][j + 1] + 1 : Math.max(same[i + 1][j], same[i][j + 1])
  }
  const out = []
  let i = 0, j = 0
  while (i < p.length || j < q.length) {
    if (i < p.length && j < q.length && x[i] === y[j]) { out.push([' ', p[i++]]); j++ }
    else if (j >= q.length || (i < p.length && same[i + 1][j] >= same[i][j + 1])) out.push(['-', p[i++]])
    else out.push(['+', q[j++]])
  }
  return out
}

// around leaves out unchanged lines that are far from a change; what is left out is [null, how many].
export function around(lines, near = 3) {
  const out = []
  let next = lines.findIndex(([s]) => s !== ' '), last = -Infinity // changes before and behind
  lines.forEach((l, i) => {
    if (next >= 0 && next < i) for (next = i; next < lines.length && lines[next][0] === ' ';) next++
    if (l[0] !== ' ') last = i
    const there = next >= 0 && next < lines.length ? next : Infinity
    if (i - last <= near || there - i <= near) out.push(l)
    else if (out.at(-1)?.[0] === null) out.at(-1)[1]++
    else out.push([null, 1])
  })
  return out
}

// shown is what a page draws of a difference: so many lines, of each so many letters. It also says
// how many lines are not drawn. Of a long line that took the place of one the part is drawn that differs.
export function shown(lines, most = 1000, letters = 1000) {
  const drawn = lines.slice(0, most).map(([s, l], i) => [s, s === null ? l : part(l, other(lines, i), letters)])
  return { lines: drawn, more: lines.length - drawn.length }
}

// other is the line that a line took the place of, or that took its place.
function other(lines, i) {
  const [sign] = lines[i], beside = lines[sign === '+' ? i - 1 : i + 1]
  return beside && sign + beside[0] !== '  ' && '+-+'.includes(sign + beside[0]) ? beside[1] : ''
}

function part(line, beside, letters) {
  if (line.length <= letters) return line
  let from = 0
  while (from < beside.length && line[from] === beside[from]) from++
  from = Math.max(0, Math.min(from - (letters >> 2), line.length - letters))
  return `${from > 0 ? '… ' : ''}${line.slice(from, from + letters)}${from + letters < line.length ? ' …' : ''}`
}
