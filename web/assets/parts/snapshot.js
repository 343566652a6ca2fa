// A button that saves a snapshot of a datacenter into a file.
import { html, useEffect, useRef, useState } from '../lib/dom.js'
import { Fault } from '../lib/api.js'
import { download } from '../lib/download.js'
import { settings } from '../lib/settings.js'
import { take } from '../lib/snapshot.js'
import { Failure } from './notice.js'
import { useMay } from './rights.js'

const size = bytes => bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`

const broken = new Fault('lost', 'The snapshot broke off', 'Nothing was kept. Try again, or take it with legate snapshot save.')
const lacking = 'It takes acl = "write": this token does not have it.'

export function Snapshot({ dc }) {
  const granted = useMay(dc, 'acl', 'write', settings.access), may = !settings.access || granted
  const [state, set] = useState({}), end = useRef()
  useEffect(() => () => end.current?.abort(), [dc])
  const save = async () => {
    const { signal } = end.current = new AbortController()
    set({ bytes: 0 })
    try {
      const taken = await take(dc, { signal, tell: bytes => set({ bytes }) })
      download(taken.name, taken.pieces, 'application/gzip')
      set({ said: `${taken.name}, ${size(taken.size)}, is in your downloads.` })
    } catch (error) {
      if (signal.aborted) set({ said: 'Stopped. Nothing was kept.' })
      else set({ error: error instanceof Fault ? error : broken })
    }
  }
  const running = state.bytes !== undefined, said = running ? `${size(state.bytes)} so far …` : state.said ?? (granted === false && settings.access ? lacking : '')
  return html`<section class="panel stack" aria-labelledby="snapshot"><h2 id="snapshot">Snapshot of ${dc}</h2>
    <p>All that ${dc} knows, in one file, to be restored with <code>legate snapshot restore</code>. <b>It holds secrets</b>:
      the values of all keys${settings.access ? ' and the SecretIDs of all tokens' : ''}. Keep it where others do not read it.</p>
    ${state.error && html`<${Failure} error=${state.error} />`}
    <div class="buttons">${running ? html`<button type="button" onClick=${() => end.current.abort()}>Stop</button>`
        : html`<button type="button" disabled=${!may} onClick=${save}>Save a snapshot</button>`}
      <span role="status" class="muted">${said}</span></div></section>`
}
