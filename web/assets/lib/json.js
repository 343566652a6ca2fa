// Where a text that is to be JSON is none. It is read once, from left to right, and never deeper
// into itself: what it has can be long and nested as it likes.

const space = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const word = /[A-Za-z_$][\w$]*/y
const words = new Set(['true', 'false', 'null'])

const take = (pattern, text, at) => { pattern.lastIndex = at; return pattern.exec(text)?.[0] ?? '' }

// escapes says whether what follows a backslash is one of what may.
const escapes = (text, at) => text[at] === 'u' ? /^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5)) : /^["\\/bfnrt]$/.test(text[at] ?? '')

// quoted returns the end of the string that begins at a place, or what is wrong with it, and where.
function quoted(text, at) {
  for (let i = at + 1; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) return { end: i + 1 }
    if (c === 0x0a) return { at: i, what: 'the line ends within a text: a " is missing' }
    if (c < 0x20) return { at: i, what: 'a text has a control character: write it as \\t or \\u0000' }
    if (c === 0x5c && !escapes(text, ++i)) return { at: i - 1, what: 'a backslash is followed by something that it cannot escape' }
  }
  return { at, what: 'this text is not closed: a " is missing' }
}

// place makes line and column of a place, counted from 1.
function place(text, at) {
  let line = 1, start = 0
  for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) { line++; start = i + 1 }
  return { line, column: at - start + 1 }
}

// jsonFault says where a text is no JSON: { line, column, what }; undefined if it is JSON.
export function jsonFault(text) {
  const found = fault(text)
  return found && { ...place(text, found.at), what: found.what }
}

const closing = { '{': '}', '[': ']' }

// fault goes over the text. within are the brackets that are open; want is what may come next:
// value; first, a value or the end of a list; name, a name; open, a name or the end of an object;
// colon; more, a comma or an end.
function fault(text) {
  const within = []
  let at = 0, want = 'value'
  const after = () => { want = within.length ? 'more' : 'end' }
  for (;;) {
    at += take(space, text, at).length
    const c = text[at] ?? ''
    if (c === '') {
      if (want === 'end') return undefined
      if (within.length === 0) return { at, what: 'there is nothing in it' }
      return { at, what: `it ends before the ${closing[within.at(-1).sign]} of line ${place(text, within.at(-1).at).line}` }
    }
    if (want === 'end') return { at, what: 'behind the end there is something more' }
    if (c === closing[within.at(-1)?.sign] && ['more', c === ']' ? 'first' : 'open'].includes(want)) {
      within.pop()
      at++
      after()
      continue
    }
    if (want === 'more' || want === 'colon') {
      if (want === 'colon' && c !== ':') return { at, what: 'a : is missing after the name' }
      if (want === 'more' && c !== ',') return { at, what: `a , or ${closing[within.at(-1).sign]} is missing here` }
      at++
      want = want === 'more' && within.at(-1).sign === '{' ? 'name' : 'value'
      continue
    }
    const step = want === 'name' || want === 'open' ? named(text, at, c) : valued(text, at, c, within)
    if (step.what) return step
    at = step.end
    if (want === 'name' || want === 'open') want = 'colon'
    else if (step.opened) want = c === '{' ? 'open' : 'first'
    else after()
  }
}

function named(text, at, c) {
  if (c === '"') return quoted(text, at)
  return { at, what: c === '}' ? 'a , stands before the end' : c === '\'' ? 'names are in ", not in \'' : 'a name in " is missing here' }
}

function valued(text, at, c, within) {
  if (c === '"') return quoted(text, at)
  if (c === '{' || c === '[') {
    within.push({ sign: c, at })
    return { end: at + 1, opened: true }
  }
  const digits = take(number, text, at)
  if (digits) return { end: at + digits.length }
  const name = take(word, text, at)
  if (words.has(name)) return { end: at + name.length }
  if (name) return { at, what: `${name.slice(0, 40)} is no value: texts are in "` }
  if (c === ']' && within.length) return { at, what: 'a , stands before the end' }
  return { at, what: c === '\'' ? 'texts are in ", not in \'' : 'a value is missing here' }
}
