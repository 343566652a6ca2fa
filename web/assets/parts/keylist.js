// What is in a folder: its folders and keys, or all keys below it in one list; and what can be done
// with those that are chosen.
import { html, useMemo, useState } from '../lib/dom.js'
import { useFeed } from '../lib/feed.js'
import { plural } from '../lib/fmt.js'
import { command, isFolder, mostListed, namesOf, unasked, urlOf } from '../lib/kv.js'
import { pathOfKey, setSearch } from '../lib/router.js'
import { DeleteKeys } from './keydelete.js'
import { exportKeys } from './keyexport.js'
import { ImportKeys } from './keyimport.js'
import { KeyTitle } from './keyname.js'
import { NewKey } from './newkey.js'
import { Empty, Failure, Hidden, Loading } from './notice.js'
import { Links, Picks } from './picks.js'
import { Report } from './progress.js'
import { Replication } from './replication.js'
import { SearchField } from './search.js'
import { Icon } from './state.js'
import { List } from './virtual.js'

const mostChosen = 10_000

// useNames follows the names in a folder, of all keys below it if it is flat. cut says that there are more.
function useNames(dc, folder, flat) {
  const params = { dc, keys: true, separator: flat ? undefined : '/' }
  const state = useFeed(urlOf(folder), params, { missing: true, most: mostListed.bytes, parse: namesOf })
  const names = useMemo(() => (state.data ?? []).slice(0, mostListed.keys).filter(k => k !== folder), [state.data, folder])
  return { state, names, cut: !!state.meta?.cut || (state.data?.length ?? 0) > mostListed.keys }
}

// Chosen are the keys that were chosen of those that are there.
function useChosen(names) {
  const [set, setSet] = useState(() => new Set())
  const list = useMemo(() => set.size === 0 ? [] : names.filter(k => set.has(k)), [set, names])
  return {
    list, has: key => set.has(key),
    turn: key => setSet(was => {
      const now = new Set(was)
      if (!now.delete(key) && now.size < mostChosen) now.add(key)
      return now
    }),
    set: keys => setSet(new Set(keys.slice(0, mostChosen))),
  }
}

function All({ keys, chosen }) {
  const every = keys.length > 0 && keys.slice(0, mostChosen).every(chosen.has) // others may be chosen that are not shown
  const draw = box => { if (box) box.indeterminate = !every && chosen.list.length > 0 }
  const label = keys.length > mostChosen ? `Choose the first ${plural(mostChosen, 'key')}` : `Choose all ${plural(keys.length, 'key')} shown`
  return html`<label class="pick"><input type="checkbox" ref=${draw} checked=${every} disabled=${keys.length === 0}
    onChange=${() => chosen.set(every ? [] : keys)} aria-label=${label} /></label>Name`
}

const Box = ({ of, chosen }) => html`<label class="pick">
  <input type="checkbox" checked=${chosen.has(of)} onChange=${() => chosen.turn(of)} aria-label=${'Choose ' + of} /></label>`

const rowOf = (dc, folder, chosen) => k => html`
  <span role="cell" class="main named">${isFolder(k) ? html`<span class="pick"></span>` : html`<${Box} of=${k} chosen=${chosen} />`}
    <a href=${pathOfKey(dc, k)} title=${k}>${k.slice(folder.length)}</a></span>
  <span role="cell" class="muted">${isFolder(k) ? 'folder' : 'key'}</span>`

// Tools are what can be done: with chosen keys, or with the folder.
function Tools({ dc, folder, chosen, empty, open, save }) {
  const button = (text, f, kind = '') => html`<button type="button" class=${kind} onClick=${f}>${text}</button>`
  if (chosen.list.length > 0) {
    return html`<div class="buttons chosen" role="group" aria-label="Chosen keys"><b role="status">${plural(chosen.list.length, 'key')} chosen</b>
      ${chosen.list.length === mostChosen && html`<span>No more can be at a time.</span>`}
      ${button('Export', () => save(chosen.list))}${button('Delete …', () => open('delete', chosen.list), 'danger')}
      ${button('Choose none', () => chosen.set([]))}</div>`
  }
  const all = folder ? 'folder' : `all keys of ${dc}`
  return html`<div class="buttons">${button('New key', () => open('new'), 'primary')}${button('Import …', () => open('import'))}
    ${!empty && html`${button(`Export ${all}`, () => save())}${button(`Delete ${all} …`, () => open('delete'), 'danger')}`}</div>`
}

const Cut = ({ n, dc, folder }) => html`<p class="hidden-note"><${Icon} state="warning" /> There are more keys than a page can show:
  these are the first ${plural(n, 'key')} by name${folder && html` below <code>${folder}</code>`}, and the search looks at these.
  Open a folder to see what is in it, or list them all by the command line: <code>${command("get -keys -separator=''", dc, folder)}</code></p>`

function Rows({ dc, folder, flat, shown, chosen }) {
  const keys = useMemo(() => shown.filter(k => !isFolder(k)), [shown]), folders = shown.length - keys.length
  const counts = [folders > 0 && plural(folders, 'folder'), keys.length > 0 && plural(keys.length, 'key')].filter(Boolean)
  return html`<section class="panel keys" aria-label=${flat ? 'All keys' : 'Folder'}><p class="muted count-of" role="status">${counts.join(', ')}</p>
    <${List} items=${shown} height=${44} head=${[html`<${All} keys=${keys} chosen=${chosen} />`, 'Kind']}
      row=${rowOf(dc, folder, chosen)} label="Keys" keyOf=${k => k} /></section>`
}

function None({ folder, some }) {
  if (some) return html`<${Empty} title="No key fits"><p>Change what is searched for above.</p></${Empty}>`
  return html`<${Empty} title=${folder ? 'This folder is empty' : 'There is no key yet'}>
    <p>Make one above, or with <code>legate kv put</code>. What your token may not see is not shown.</p></${Empty}>`
}

const views = [['', 'Folders'], ['all', 'All keys below']]

const Narrow = ({ text, flat }) => html`<div class="tools-row">
  <${SearchField} label=${flat ? 'Search in all keys below' : 'Search in this folder'} value=${text} onChange=${q => setSearch({ q })} />
  <div><span class="label">Show</span>
    <${Picks} label="Show" value=${flat ? 'all' : ''} onChange=${list => setSearch({ list })} of=${views} /></div></div>`

// useJobs is what is being done with keys: the dialog that is open, and what became of the last one.
function useJobs(dc, folder, chosen) {
  const [opened, setOpened] = useState({}), [report, setReport] = useState(), [said, setSaid] = useState(''), [error, setError] = useState()
  const begin = () => { setReport(undefined); setSaid(''); setError(undefined) }
  return {
    opened, report, said, error, close: () => setOpened({}), forget: () => setReport(undefined),
    open: (what, keys) => { begin(); setOpened({ what, keys }) },
    done: word => result => {
      setReport({ result, word })
      if (word === 'deleted') chosen.set([...result.changed, ...result.left].map(o => o.key))
    },
    save: async keys => {
      begin()
      setSaid('Reading …')
      try { setSaid(await exportKeys(dc, keys, folder)) } catch (fault) { setSaid(''); setError(fault) }
    },
  }
}

const Jobs = ({ jobs: { said, error, report, forget } }) => html`
  ${said && html`<p class="muted" role="status">${said}</p>`}${error && html`<${Failure} error=${error} />`}
  ${report && html`<${Report} of=${report.result} done=${report.word} onClose=${forget} />`}`

const Dialogs = ({ dc, folder, jobs: { opened, close, done } }) => html`
  ${opened.what === 'delete' && html`<${DeleteKeys} dc=${dc} keys=${opened.keys} folder=${folder} onClose=${close} onDone=${done('deleted')} />`}
  ${opened.what === 'import' && html`<${ImportKeys} dc=${dc} folder=${folder} onClose=${close} onDone=${done('written')} />`}`

function Names({ dc, folder, route }) {
  const flat = route.search.get('list') === 'all', text = route.search.get('q') ?? ''
  const { state, names, cut } = useNames(dc, folder, flat), chosen = useChosen(names), jobs = useJobs(dc, folder, chosen)
  const low = useMemo(() => names.map(k => k.slice(folder.length).toLowerCase()), [names, folder])
  const shown = useMemo(() => text ? names.filter((k, i) => low[i].includes(text.toLowerCase())) : names, [names, low, text])
  return html`<${Replication} dc=${dc} folder=${folder} /><${Narrow} text=${text} flat=${flat} />
    ${state.error && html`<${Failure} error=${state.error} kept=${state.data && state.meta} />`}<${Hidden} metas=${[state.meta]} />
    ${cut && html`<${Cut} n=${names.length} dc=${dc} folder=${folder} />`}
    ${jobs.opened.what === 'new' ? html`<${NewKey} dc=${dc} folder=${folder} done=${jobs.close} />`
      : html`<${Tools} dc=${dc} folder=${folder} chosen=${chosen} empty=${names.length === 0} open=${jobs.open} save=${jobs.save} />`}
    <${Jobs} jobs=${jobs} />
    ${state.data === undefined ? !state.error && html`<${Loading} what="keys" />`
      : shown.length > 0 ? html`<${Rows} dc=${dc} folder=${folder} flat=${flat} shown=${shown} chosen=${chosen} />`
        : html`<${None} folder=${folder} some=${names.length > 0} />`}
    <${Dialogs} dc=${dc} folder=${folder} jobs=${jobs} />`
}

export function Folder({ dc, folder, all, route }) {
  const why = unasked(folder)
  return html`<${KeyTitle} dc=${dc} of=${folder} title=${folder || 'Keys'} />
    ${!folder && html`<${Links} label="Datacenters" of=${all.map(d => [d, pathOfKey(d, ''), d === dc])} />`}
    ${why ? html`<${Empty} title="This folder cannot be shown"><p>${why}</p></${Empty}>` : html`<${Names} dc=${dc} folder=${folder} route=${route} />`}`
}
