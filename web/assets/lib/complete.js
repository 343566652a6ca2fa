// Completion of ?filter expressions: what can stand where the cursor is.

// With { list: true } a selector is a list of words, with { map: true } names with values.
const operators = { list: ['contains "', 'not contains "', 'is empty', 'is not empty'], map: ['contains "', 'is empty', 'is not empty'], text: ['== "', '!= "', 'contains "', 'matches "', 'is empty', 'is not empty'], number: ['== ', '!= '] }

const tokens = /"(?:[^"\\]|\\.)*"?|`[^`]*`?|[()]|[^\s()"`]+/g

// complete returns { from, options }: what may replace the text between from and the cursor.
// selectors are [{ name, kind, what }].
export function complete(text, cursor, selectors) {
  const before = text.slice(0, cursor)
  const found = [...before.matchAll(tokens)]
  const last = found.at(-1)
  const open = last && last.index + last[0].length === cursor && !/\s$/.test(before) ? last : undefined
  if (open && /^["`]/.test(open[0])) return { from: cursor, options: [] } // values are for people to know
  const word = open && !/^[()]$/.test(open[0]) ? open[0] : ''
  const done = (word ? found.slice(0, -1) : found).map(m => m[0])
  const from = cursor - word.length
  const fits = list => ({ from, options: list.filter(o => o.text.toLowerCase().startsWith(word.toLowerCase()) && o.text !== word) })
  const end = done.at(-1)
  if (end === undefined || ['and', 'or', 'not', '('].includes(end.toLowerCase())) {
    const names = selectors.map(s => ({ text: s.name, what: s.what }))
    return fits(end?.toLowerCase() === 'not' ? names : [...names, { text: 'not ', what: 'the opposite' }])
  }
  const selector = selectors.find(s => s.name === end || (s.kind === 'map' && end.startsWith(s.name + '.')))
  if (selector) return fits((operators[selector.kind === 'map' && end !== selector.name ? 'text' : selector.kind ?? 'text']).map(o => ({ text: o, what: '' })))
  if (/^["`]|^\d+$|^empty$|^\)$/.test(end)) return fits([{ text: 'and ', what: 'both' }, { text: 'or ', what: 'one of them' }])
  return { from: cursor, options: [] }
}
