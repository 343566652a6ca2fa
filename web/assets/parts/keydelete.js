// Deletes chosen keys, or a folder with all that is in it. What goes is shown first.
import { html, useEffect, useId, useRef, useState } from '../lib/dom.js'
import { ask, Fault } from '../lib/api.js'
import { run } from '../lib/bulk.js'
import { plural } from '../lib/fmt.js'
import { command, unasked, urlOf } from '../lib/kv.js'
import { eachBelow, namesBelow, readKeys, writing } from '../lib/keyvalues.js'
import { Dialog } from './dialog.js'
import { Failure } from './notice.js'
import { Progress, ends } from './progress.js'
import { Icon } from './state.js'

const shown = 10 // names
const typedAbove = 100 // keys; to delete more, their number has to be typed
const mostLooked = 32 << 20 // bytes that are read of a folder to find locks

const bare = ({ Key, ModifyIndex, Session }) => ({ Key, ModifyIndex, Session }) // a value is not kept

// lookAtKeys finds out what would go of chosen keys: their names, entries, and which are locked.
async function lookAtKeys(dc, keys, progress, signal) {
  const found = await readKeys(dc, keys, { keep: bare, progress, signal }), entries = [...found.values()]
  const locks = entries.filter(e => e.Session).map(e => e.Key)
  return { names: entries.map(e => e.Key), entries, locks, gone: keys.length - entries.length }
}

// lookAtFolder is the same of a folder. partly says that not all was read to find locks.
async function lookAtFolder(dc, folder, signal) {
  if (unasked(folder)) throw new Fault('invalid', 'This folder cannot be deleted here', unasked(folder))
  const { names, cut } = await namesBelow(dc, folder), locks = []
  if (cut) {
    throw new Fault('invalid', `There are more than ${plural(names.length, 'key')}: this page cannot count them`,
      `The command line deletes them: ${command('delete -recurse', dc, folder)}`)
  }
  const note = e => { if (e.Session) locks.push(e.Key) }
  const whole = names.length === 0 || await eachBelow(dc, folder, mostLooked, note, signal)
  return { names, locks, partly: !whole, gone: 0 }
}

const Names = ({ of }) => html`<ul class="plain mono names">${of.slice(0, shown).map(k => html`<li key=${k}>${k}</li>`)}</ul>`

const Locks = ({ of }) => html`<div class="notice warn"><${Icon} state="warning" size=${20} />
  <div><p class="what">${plural(of.length, 'lock')} among them ${of.length === 1 ? 'is' : 'are'} held</p><${Names} of=${of} />
    <p>Who holds ${of.length === 1 ? 'it' : 'them'} is not asked.</p></div></div>`

// Plan shows what will be deleted; folder is undefined for chosen keys.
function Plan({ plan: { names, gone, locks, partly }, folder }) {
  const all = folder ? html`: all that is in <code>${folder}</code>` : ': all of this datacenter'
  const which = folder === undefined ? ', each if it is still as it is now' : all
  return html`<p><b>${plural(names.length, 'key')}</b> ${names.length === 1 ? 'goes' : 'go'}${which}.</p><${Names} of=${names} />
    ${names.length > shown && html`<p class="muted">and ${plural(names.length - shown, 'key')} more</p>`}
    ${gone > 0 && html`<p class="muted">${plural(gone, 'key')} of those that you chose ${gone === 1 ? 'is' : 'are'} gone already,
      or not for your token to see.</p>`}
    ${locks.length > 0 && html`<${Locks} of=${locks} />`}
    ${partly && html`<p class="hint">Not all values were read: further locks may be held.</p>`}
    ${folder !== undefined && html`<p class="hint">Keys that somebody makes there in this moment go as well.</p>`}`
}

// removeFolder deletes what is below a folder at once, if nothing came or went there since it was
// counted. Afterwards it says what is known, also if no answer came.
async function removeFolder(dc, folder, plan) {
  const now = await namesBelow(dc, folder)
  if (now.cut || now.names.length !== plan.names.length || now.names.some((k, i) => k !== plan.names[i])) {
    throw new Fault('invalid', 'Keys came or went here since you looked: nothing was deleted', 'Look at what is there now.')
  }
  const out = { done: [], changed: [], refused: [], unsure: [], left: [], error: undefined }, ops = plan.names.map(key => ({ key }))
  try {
    await ask(urlOf(folder), { method: 'DELETE', params: { dc, recurse: true } })
    out.done = ops
  } catch (error) {
    if (error.status >= 400 && error.status < 500) throw error
    out.error = error
    try {
      const there = new Set((await namesBelow(dc, folder)).names)
      for (const op of ops) out[there.has(op.key) ? 'unsure' : 'done'].push(op)
    } catch { out.unsure = ops }
  }
  return out
}

// DeleteKeys is the dialog; keys are those that were chosen, or else it is the folder. onDone gets
// what became of them, also when the dialog was closed meanwhile.
export function DeleteKeys({ dc, keys, folder, onClose, onDone }) {
  const [plan, setPlan] = useState(), [error, setError] = useState(), [looked, setLooked] = useState(0), [typed, setTyped] = useState('')
  const [done, setDone] = useState(-1), stop = useRef(false), id = useId()
  const look = async signal => {
    setError(undefined)
    setPlan(undefined)
    setTyped('')
    try {
      setPlan(await (keys ? lookAtKeys(dc, keys, setLooked, signal) : lookAtFolder(dc, folder, signal)))
    } catch (fault) { if (!signal?.aborted) setError(fault) }
  }
  useEffect(() => {
    const end = new AbortController()
    look(end.signal)
    return () => { end.abort(); stop.current = true }
  }, [])
  const n = plan?.names.length ?? 0, mustType = n > typedAbove || folder === '' && !keys
  const sure = n > 0 && (!mustType || typed.replace(/[,.\s]/g, '') === String(n))
  const remove = async e => {
    e.preventDefault()
    if (!sure) return
    setDone(0)
    const ops = plan.entries?.map(e => ({ verb: 'delete-cas', key: e.Key, index: e.ModifyIndex }))
    try {
      onDone(await (ops ? run(ops, { ...writing(dc), progress: setDone, stopped: () => stop.current }) : removeFolder(dc, folder, plan)))
      onClose()
    } catch (fault) { setError(fault); setDone(-1) }
  }
  const ready = plan && done < 0 && n > 0 && !error
  const title = keys ? `Delete ${plural(keys.length, 'key')}?` : folder ? 'Delete this folder?' : 'Delete all keys?'
  return html`<${Dialog} title=${title} onClose=${onClose}
    buttons=${ready && html`<button type="submit" form=${id} class="danger" disabled=${!sure}>Delete ${plural(n, 'key')}</button>`}>
    ${error && html`<${Failure} error=${error} /><div class="buttons"><button type="button" onClick=${() => look()}>Look again</button></div>`}
    ${!plan && !error && (keys ? html`<${Progress} what="Looking at" now=${looked} of=${keys.length} />`
      : html`<p role="status">Looking at what is there …</p>`)}
    ${done >= 0 && (keys ? html`<${Progress} what="Deleted" now=${done} of=${n} />${ends}` : html`<p role="status">Deleting …</p>`)}
    ${plan && n === 0 && html`<p>There is nothing left to delete.</p>`}
    ${ready && html`<form id=${id} onSubmit=${remove} class="sheet"><${Plan} plan=${plan} folder=${keys ? undefined : folder} />
      ${mustType && html`<label for=${id + '-typed'}>Type how many keys go, <b>${n}</b>, to say that you mean it</label>
        <input id=${id + '-typed'} type="text" class="mono" inputmode="numeric" autocomplete="off" value=${typed}
          onInput=${e => setTyped(e.target.value)} />`}</form>`}
  </${Dialog}>`
}
