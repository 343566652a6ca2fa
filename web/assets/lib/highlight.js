// What is what in a text of JSON, YAML or HCL: a list of [kind, text] that together are the text.
// Kinds are key, string, number, word, comment, sign and '' for the rest. It colours and does not
// judge: a text that is broken is coloured as far as it is understood, each letter looked at once.

const endings = { json: 'json', yaml: 'yaml', yml: 'yaml', hcl: 'hcl', tf: 'hcl', nomad: 'hcl' }

const yamlLine = /^\s*(?:- +)*(?:[\w./-]+|"[^"]*"|'[^']*'):(?:\s|$)|^\s*- \S|^(?:---|\.\.\.)\s*$/
const hclLine = /^\s*[\w.-]+\s*=\s*(?:["[{<\d-]|true\b|false\b|null\b)|^\s*[\w-]+(?:\s+"[^"]*")*\s*\{\s*$|^\s*[}\])],?\s*$|^\s*"[^"]*",?\s*$/
const looked = 40 // lines that decide

// languageOf recognises a language by the ending of a key's name, else by how the text looks.
export function languageOf(name, text) {
  const ending = endings[/\.([a-z]+)$/i.exec(name)?.[1].toLowerCase()]
  if (ending) return ending
  if (/^\s*(?:\{\s*["}]|\[\s*["{[\]\dtfn-])/.test(text.slice(0, 4096))) return 'json'
  const lines = text.slice(0, 8192).split('\n').slice(0, looked).filter(l => l.trim() && !/^\s*(?:#|\/\/)/.test(l)).map(l => l.slice(0, 400))
  if (lines.length === 0) return ''
  const all = pattern => lines.filter(l => pattern.test(l)).length
  if (all(hclLine) === lines.length && /[={]/.test(lines[0])) return 'hcl'
  return all(yamlLine) * 10 >= lines.length * 6 && yamlLine.test(lines[0]) ? 'yaml' : ''
}

export const titles = { json: 'JSON', yaml: 'YAML', hcl: 'HCL' }

const mostTokens = 12_000 // what is behind them stays plain: each is a node of the page

export function highlight(language, text) {
  const scan = { json: readJSON, hcl: readHCL, yaml: readYAML }[language]
  if (!scan) return [['', text]]
  const tokens = []
  let end = 0
  for (const [kind, from, to] of scan(text)) {
    if (kind && tokens.length >= mostTokens) break
    const last = tokens.at(-1)
    if (last && last[0] === kind) last[2] = to
    else tokens.push([kind, from, to])
    end = to
  }
  if (end < text.length) tokens.push(['', end, text.length])
  return tokens.map(([kind, from, to]) => [kind, text.slice(from, to)])
}

// quotedEnd is where a string ends that begins at a place: behind its quote, or with the line.
function quotedEnd(text, at, escapes = true) {
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] === '\n') return i
    if (text[i] === '\\' && escapes) i++
    else if (text[i] === text[at]) return i + 1
  }
  return text.length
}

const lineEnd = (text, at) => { const i = text.indexOf('\n', at); return i < 0 ? text.length : i }

const number = /[-+]?(?:0x[0-9a-fA-F]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])/y
const word = /[A-Za-z_][\w-]*/y
const blank = /[ \t\r\n]+/y
const constants = new Set(['true', 'false', 'null'])

function match(pattern, text, at) {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0].length ?? 0
}

// next is what follows the blanks behind a place, on the same line.
function next(text, at) {
  while (text[at] === ' ' || text[at] === '\t') at++
  return text[at] ?? ''
}

function* readJSON(text) {
  for (let at = 0, n; at < text.length; at += n) {
    if ((n = match(blank, text, at))) yield ['', at, at + n]
    else if (text[at] === '"') {
      n = quotedEnd(text, at) - at
      yield [next(text, at + n) === ':' ? 'key' : 'string', at, at + n]
    } else if ((n = match(number, text, at))) yield ['number', at, at + n]
    else if ((n = match(word, text, at))) yield [constants.has(text.slice(at, at + n)) ? 'word' : '', at, at + n]
    else yield ['sign', at, at + (n = 1)]
  }
}

function* readHCL(text) {
  for (let at = 0, n; at < text.length; at += n) {
    const two = text.slice(at, at + 2)
    if ((n = match(blank, text, at))) yield ['', at, at + n]
    else if (text[at] === '#' || two === '//') yield ['comment', at, at + (n = lineEnd(text, at) - at)]
    else if (two === '/*') {
      const end = text.indexOf('*/', at + 2)
      yield ['comment', at, at + (n = (end < 0 ? text.length : end + 2) - at)]
    } else if (two === '<<') yield ['string', at, at + (n = hereEnd(text, at) - at)]
    else if (text[at] === '"') {
      n = quotedEnd(text, at) - at
      yield ['=:'.includes(next(text, at + n) || '?') ? 'key' : 'string', at, at + n]
    } else if ((n = match(number, text, at))) yield ['number', at, at + n]
    else if ((n = match(word, text, at))) {
      const name = text.slice(at, at + n), follows = next(text, at + n)
      yield [constants.has(name) ? 'word' : follows && '={"'.includes(follows) ? 'key' : '', at, at + n]
    } else yield ['sign', at, at + (n = 1)]
  }
}

// hereEnd is the end of a text that begins with <<NAME and ends with a line that is NAME.
function hereEnd(text, at) {
  const name = /<<-?([A-Za-z_]\w{0,63})/y
  name.lastIndex = at
  const end = name.exec(text)?.[1]
  if (!end) return at + 2
  for (let i = lineEnd(text, at); i < text.length; i = lineEnd(text, i + 1)) {
    const to = lineEnd(text, i + 1)
    if (text.slice(i + 1, Math.min(to, i + 200)).trim() === end) return to
  }
  return text.length
}

// readYAML goes line by line. block is how far the line is indented to which a text of several
// lines belongs; -1 outside of one.
function* readYAML(text) {
  let block = -1
  for (let at = 0; at < text.length;) {
    const end = lineEnd(text, at), to = Math.min(end + 1, text.length)
    let i = at
    while (i < end && text[i] === ' ') i++
    if (block >= 0 && (i === end || i - at > block)) yield ['string', at, to]
    else {
      block = -1
      if (i > at) yield ['', at, i]
      if (yield* readLine(text, i, end)) block = i - at
      if (to > end) yield ['', end, to]
    }
    at = to
  }
}

// readLine yields what is in a line from a place to its end, and returns whether a text of
// several lines begins with it.
function* readLine(text, at, end) {
  if (/^(?:---|\.\.\.)\s*$/.test(text.slice(at, Math.min(end, at + 80)))) {
    yield ['sign', at, end]
    return false
  }
  while (text[at] === '-' && (text[at + 1] === ' ' || at + 1 === end)) {
    yield ['sign', at, at + 1]
    const from = ++at
    while (at < end && text[at] === ' ') at++
    if (at > from) yield ['', from, at]
  }
  const colon = keyEnd(text, at, end)
  if (colon > at) {
    yield ['key', at, colon]
    yield ['sign', colon, colon + 1]
    at = colon + 1
  }
  return yield* readScalars(text, at, end)
}

// keyEnd is where the colon behind a name stands, 0 if the line has no name.
function keyEnd(text, at, end) {
  let i = at
  if (text[at] === '"' || text[at] === '\'') i = Math.min(quotedEnd(text, at, text[at] === '"'), end)
  else while (i < end && text[i] !== '#' && !(text[i] === ':' && (i + 1 === end || ' \t\r'.includes(text[i + 1])))) i++
  return i < end && text[i] === ':' && (i + 1 === end || ' \t\r'.includes(text[i + 1])) ? i : 0
}

const plain = /[^\s"'#[\]{},&*!|>][^\n#[\]{},]*/y
const mark = /[&*!][\w!/.-]+/y
const yamlWord = /^(?:true|false|null|yes|no|on|off|~)$/i
const yamlNumber = /^[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.inf|\.nan)$/i

function* readScalars(text, at, end) {
  for (let n; at < end; at += n) {
    const c = text[at]
    if (c === ' ' || c === '\t' || c === '\r') {
      n = Math.min(match(blank, text, at), end - at)
      yield ['', at, at + n]
    } else if (c === '#') yield ['comment', at, at + (n = end - at)]
    else if (c === '"' || c === '\'') yield ['string', at, at + (n = Math.min(quotedEnd(text, at, c === '"'), end) - at)]
    else if ((c === '|' || c === '>') && /^[|>][-+\d]*\s*(?:#|$)/.test(text.slice(at, Math.min(end, at + 200)))) {
      yield ['sign', at, end]
      return true
    } else if ((n = Math.min(match(mark, text, at), end - at)) > 0) yield ['word', at, at + n]
    else if ((n = Math.min(match(plain, text, at), end - at)) > 0) {
      const said = text.slice(at, at + n).trimEnd()
      n = said.length || n
      const short = said.slice(0, 64)
      yield [said.length > 64 ? 'string' : yamlWord.test(short) ? 'word' : yamlNumber.test(short) ? 'number' : 'string', at, at + n]
    } else yield ['sign', at, at + (n = 1)]
  }
  return false
}
