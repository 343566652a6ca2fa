// Hands chosen keys, or all of a folder, to the browser as a file that legate kv import reads.
import { Fault } from '../lib/api.js'
import { download, fileName } from '../lib/download.js'
import { command, unasked } from '../lib/kv.js'
import { eachBelow, readKeys } from '../lib/keyvalues.js'
import { plural } from '../lib/fmt.js'
import { FileText, mostExported } from '../lib/transfer.js'

// bound is that of a file, in words.
const bound = `${mostExported.keys.toLocaleString('en')} keys or ${mostExported.bytes >> 20} MiB`

// exportKeys writes the file and returns what it did in words; it throws what went wrong. More than
// a page should hold in memory is for the command line.
export async function exportKeys(dc, keys, folder) {
  const file = new FileText()
  let whole = true
  if (keys) {
    const end = new AbortController() // what does not go into the file is not read
    const keep = e => { if (whole && !(whole = file.add(e))) end.abort() }
    await readKeys(dc, keys, { keep, signal: end.signal }).catch(fault => { if (whole) throw fault })
  } else {
    if (unasked(folder)) throw new Fault('invalid', 'This folder cannot be exported here', unasked(folder))
    whole = await eachBelow(dc, folder, 2 * mostExported.bytes, e => file.add(e))
  }
  if (!whole) {
    throw new Fault('invalid', `That is more than a page takes: ${bound}`, `The command line writes it: ${command('export', dc, folder)} > keys.json`)
  }
  download(`${fileName(folder || dc)}.json`, file.end(), 'application/json')
  const are = n => `${plural(n, 'key')} ${n === 1 ? 'is' : 'are'}`, gone = (keys?.length ?? file.count) - file.count
  return `${are(file.count)} in the file.${gone > 0 ? ` Of those that you chose ${are(gone)} gone.` : ''}`
}
