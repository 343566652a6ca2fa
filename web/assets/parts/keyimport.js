// Writes the keys of a file that legate kv export or this page made. What would be made, changed and
// left alone is shown first; each is written only if it is still as it was shown.
import { html, useEffect, useId, useRef, useState } from '../lib/dom.js'
import { Fault } from '../lib/api.js'
import { run } from '../lib/bulk.js'
import { plural } from '../lib/fmt.js'
import { jsonFault } from '../lib/json.js'
import { command, exact } from '../lib/kv.js'
import { readKeys, writing } from '../lib/keyvalues.js'
import { mostImported, noted, plan as planOf, readFile } from '../lib/transfer.js'
import { decode, textOf } from '../lib/value.js'
import { Difference } from './code.js'
import { Dialog } from './dialog.js'
import { Failure } from './notice.js'
import { Progress, ends } from './progress.js'

const shown = 20 // names of a list
const inMiB = bytes => `${bytes >> 20} MiB`
const size = base64 => plural(decode(base64).length, 'byte')

// Compared shows how a key would change; what is there is read when somebody asks for it.
function Compared({ dc, op }) {
  const [now, setNow] = useState(), [error, setError] = useState()
  useEffect(() => { readKeys(dc, [op.key]).then(found => setNow(found.get(op.key) ?? null), setError) }, [])
  if (error) return html`<${Failure} error=${error} />`
  if (now === undefined) return html`<p role="status">Asking …</p>`
  if (now?.ModifyIndex !== op.index) return html`<p>It was changed since this was compared: compare again.</p>`
  const from = textOf(decode(now.Value)), to = textOf(decode(op.value))
  return html`${String(now.Flags) !== op.flags && html`<p>Flags: ${String(now.Flags)} becomes ${op.flags}.</p>`}
    ${from === undefined || to === undefined ? html`<p>Bytes that are no plain text: ${size(now.Value)} become ${size(op.value)}.</p>`
      : from !== to && html`<${Difference} from=${from} to=${to} label=${'What changes in ' + op.key} />`}`
}

function Change({ dc, op }) {
  const [open, setOpen] = useState(false)
  return html`<li><details onToggle=${e => setOpen(e.target.open)}>
    <summary><code>${op.key}</code>${op.session && html` <span class="tag">locked</span>`}</summary>
    ${open && html`<${Compared} dc=${dc} op=${op} />`}</details></li>`
}

const More = ({ of }) => of.length > shown && html`<p class="muted">and ${plural(of.length - shown, 'key')} more</p>`

const Plan = ({ dc, plan }) => html`
  <h3>${plural(plan.create.length, 'key')} to make</h3>
  <ul class="plain mono names">${plan.create.slice(0, shown).map(op => html`<li key=${op.key}>${op.key}</li>`)}</ul>
  <${More} of=${plan.create} />
  <h3>${plural(plan.change.length, 'key')} to change</h3>
  <ul class="plain names">${plan.change.slice(0, shown).map(op => html`<${Change} key=${op.key} dc=${dc} op=${op} />`)}</ul>
  <${More} of=${plan.change} />
  <p class="muted">${plural(plan.same.length, 'key')} ${plan.same.length === 1 ? 'is' : 'are'} there as in the file, and left alone.</p>`


// compare reads a file and what is there of its keys, and returns the plan of what to write.
async function compare(dc, file, folder, progress) {
  if (!file) throw new Fault('invalid', 'No file is chosen', 'Choose one that legate kv export or this page wrote.')
  if (file.size > mostImported.bytes) {
    throw new Fault('invalid', `The file is larger than ${inMiB(mostImported.bytes)}`,
      `The command line takes it: ${command('import', dc, '@FILE')}`)
  }
  const text = await file.text().catch(() => {
    throw new Fault('invalid', 'The file cannot be read', 'It may have been moved: choose it again.')
  })
  const wanted = readFile(text, folder, { parse: exact, fault: jsonFault, dc }), byKey = new Map(wanted.map(w => [w.Key, w]))
  const told = n => progress(n, wanted.length)
  told(0)
  return planOf(wanted, await readKeys(dc, [...byKey.keys()], { keep: e => noted(byKey.get(e.Key), e), progress: told }))
}

export function ImportKeys({ dc, folder, onClose, onDone }) {
  const [file, setFile] = useState(), [below, setBelow] = useState(''), [plan, setPlan] = useState()
  const [error, setError] = useState(), [step, setStep] = useState(), stop = useRef(false), id = useId()
  useEffect(() => () => { stop.current = true }, [])
  const change = set => value => { set(value); setPlan(undefined); setError(undefined) }
  const look = async e => {
    e.preventDefault()
    setError(undefined)
    try { setPlan(await compare(dc, file, below, (n, of) => setStep(['Comparing', n, of]))) } catch (fault) { setError(fault) }
    setStep(undefined)
  }
  const ops = plan ? [...plan.create, ...plan.change] : []
  const write = async () => {
    const told = n => setStep(['Written', n, ops.length])
    told(0)
    onDone(await run(ops, { ...writing(dc), progress: told, stopped: () => stop.current }))
    onClose()
  }
  return html`<${Dialog} title="Import keys" onClose=${onClose}
    buttons=${plan && !step && html`<button type="button" class="primary" disabled=${ops.length === 0} onClick=${write}>
      Write ${plural(ops.length, 'key')}</button>`}>
    ${step && html`<${Progress} what=${step[0]} now=${step[1]} of=${step[2]} />${ends}`}
    <form onSubmit=${look} class="sheet" hidden=${!!step}>
      <p>Takes a file that <code>legate kv export</code> or this page wrote, of ${inMiB(mostImported.bytes)} and
        ${' '}${plural(mostImported.keys, 'key')} at most. Nothing is written before you have seen what it changes in ${dc}.</p>
      <label for=${id + '-file'}>File</label>
      <input id=${id + '-file'} type="file" accept=".json,application/json" onChange=${e => change(setFile)(e.target.files[0])} />
      <label for=${id + '-folder'}>Folder to put the keys in; if it is empty, they are named as in the file</label>
      <input id=${id + '-folder'} type="text" class="mono" value=${below} placeholder=${folder} onInput=${e => change(setBelow)(e.target.value)}
        autocomplete="off" autocapitalize="none" spellcheck=${false} />
      <div class="buttons"><button type="submit" class=${plan ? '' : 'primary'}>Compare</button></div></form>
    ${error && html`<${Failure} error=${error} />`}
    ${plan && !step && html`<div role="status"><${Plan} dc=${dc} plan=${plan} /></div>`}
  </${Dialog}>`
}
