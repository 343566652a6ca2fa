// Names of keys, where they are asked for, and answers about them.

export const isFolder = key => key === '' || key.endsWith('/')
export const folderOf = key => key.length < 2 ? '' : key.slice(0, key.lastIndexOf('/', key.length - 2) + 1)
export const urlOf = key => 'kv/' + key.split('/').map(encodeURIComponent).join('/')

// lastOf is the name of a key or of a folder within its folder.
export const lastOf = key => key.slice(folderOf(key).length)

const strange = key => key.split('/').some(s => s === '.' || s === '..')

// unasked says why a browser cannot ask for a key: it changes such paths before it sends them.
export const unasked = key => strange(key)
  ? 'No browser asks for a key with "." or ".." between slashes. The command line does: legate kv get.' : ''

// word is a text as shells take it for one word, whatever somebody named a key.
const word = text => /^[\w./@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

// command is what does something with a key or a folder of a datacenter by the command line.
export const command = (what, dc, key) => `legate kv ${what} -datacenter=${word(dc)} ${word(key)}`

// exact reads JSON in which flags of keys may be numbers above 2^53, which JavaScript would round:
// those become texts of the same digits. Within a text of JSON no quote stands without a backslash.
export const exact = text => JSON.parse(text.replace(/"(Flags|flags)":\s*(\d{16,})(?![\d.eE])/g, '"$1":"$2"'))

// Bounds of a list of keys: bytes that are read of it, and rows. Browsers draw no list of more
// than some ten million pixels.
export const mostListed = { bytes: 8 << 20, keys: 200_000 }

// namesOf reads an answer that lists keys. Of one that was cut the whole names are taken.
export function namesOf(text, cut) {
  if (!cut) return JSON.parse(text)
  for (let end = text.lastIndexOf('","'), tries = 0; end > 0 && tries < 16; end = text.lastIndexOf('","', end - 1), tries++) {
    try { return JSON.parse(text.slice(0, end + 1) + ']') } catch { /* these signs stand within a name */ }
  }
  return []
}

// Splitter takes the text of a JSON array of objects as it comes, and calls f with each object:
// a long answer is never there as a whole.
export class Splitter {
  constructor(f) {
    Object.assign(this, { f, text: '', at: 0, depth: 0, start: 0, quoted: false })
  }

  push(more) {
    const text = this.text + more
    let kept = 0
    for (;;) {
      const signs = this.quoted ? /["\\]/g : /["{}]/g
      signs.lastIndex = this.at
      const found = signs.exec(text)
      if (!found) { this.at = Math.max(this.at, text.length); break }
      this.at = found.index + 1
      switch (found[0]) {
        case '\\': this.at++; break // whatever follows does not end the text
        case '"': this.quoted = !this.quoted; break
        case '{': if (this.depth++ === 0) this.start = found.index; break
        default:
          if (--this.depth > 0) break
          this.f(exact(text.slice(this.start, this.at)))
          kept = this.at
      }
    }
    this.text = text.slice(kept)
    this.at -= kept
    this.start -= kept
  }
}
