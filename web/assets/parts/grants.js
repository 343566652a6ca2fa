// What a token or a role grants: policies, roles and identities, added and taken away.
import { html, useId, useMemo, useState } from '../lib/dom.js'
import { useFeed } from '../lib/feed.js'
import { namesOf } from '../lib/records.js'
import { useDatacenters } from './dcs.js'

const mostOffered = 500 // names that are offered while somebody types; others can be typed all the same

// kinds of grants: in which field of the record they are, how one is made of what was typed, its name.
const kinds = {
  policy: { field: 'Policies', make: ({ name }) => ({ Name: name }), name: p => p.Name || p.ID },
  role: { field: 'Roles', make: ({ name }) => ({ Name: name }), name: r => r.Name || r.ID },
  service: {
    field: 'ServiceIdentities', title: 'service identity', what: 'It grants what an instance of the service needs.',
    make: ({ name, dcs }) => ({ ServiceName: name, Datacenters: dcs }), name: s => s.ServiceName,
  },
  node: {
    field: 'NodeIdentities', title: 'node identity', what: 'It grants what the agent of the node needs.',
    make: ({ name, dc }) => ({ NodeName: name, Datacenter: dc }), name: n => n.NodeName,
  },
  template: {
    field: 'TemplatedPolicies',
    make: ({ template, name, dcs }) => ({ TemplateName: template, TemplateVariables: name ? { name } : undefined, Datacenters: dcs }),
    name: t => [t.TemplateName, t.TemplateVariables?.name].filter(Boolean).join(' '),
  },
}

const whereOf = g => g.Datacenter ?? g.Datacenters?.join(', ') ?? ''

function Grant({ kind, of, onTake }) {
  const name = kinds[kind].name(of), where = whereOf(of)
  return html`<li><span class="muted">${kinds[kind].title ?? kind}</span> <b>${name}</b>${where && html` <span class="muted">in ${where}</span>`}
    <button type="button" class="small" onClick=${onTake} aria-label=${`Take away ${kind} ${name}`}>Take away</button></li>`
}

function Granted({ record, onChange, allowed }) {
  const all = allowed.flatMap(kind => (record[kinds[kind].field] ?? []).map(of => ({ kind, of })))
  if (all.length === 0) return html`<p class="muted">It grants nothing yet.</p>`
  const take = ({ kind, of }) => onChange({ ...record, [kinds[kind].field]: record[kinds[kind].field].filter(g => g !== of) })
  return html`<ul class="plain granted">${all.map(x =>
    html`<${Grant} key=${[x.kind, kinds[x.kind].name(x.of), whereOf(x.of)].join(' ')} ...${x} onTake=${() => take(x)} />`)}</ul>`
}

// useNames is what there is to choose from.
function useNames(dc) {
  const policies = useFeed('acl/policies', { dc }), roles = useFeed('acl/roles', { dc })
  const templates = useFeed('acl/templated-policies', { dc }, { blocks: false, every: 60_000 })
  return useMemo(() => ({
    policy: (policies.data ?? []).map(p => p.Name), role: (roles.data ?? []).map(r => r.Name), templates: Object.values(templates.data ?? {}),
  }), [policies.data, roles.data, templates.data])
}

const Select = ({ label, value, onChange, of }) => html`<label>${label} <select value=${value} onChange=${e => onChange(e.target.value)}>
  ${of.map(([v, text]) => html`<option key=${v} value=${v}>${text ?? v}</option>`)}</select></label>`

// Add has the fields that a grant of the chosen kind takes.
function Add({ dc, allowed, onAdd }) {
  const names = useNames(dc), all = useDatacenters(), id = useId()
  const [kind, setKind] = useState(allowed[0]), [template, setTemplate] = useState('builtin/service')
  const [name, setName] = useState(''), [where, setWhere] = useState(''), [nodeDC, setNodeDC] = useState(dc), [error, setError] = useState('')
  const chosen = names.templates.find(t => t.TemplateName === template)
  const takesName = kind !== 'template' || !!chosen?.Schema, takesWhere = kind === 'service' || kind === 'template'
  const offered = names[kind]?.slice(0, mostOffered), what = kind === 'template' ? chosen?.Description : kinds[kind].what
  const add = () => {
    const text = takesName ? name.trim() : '', dcs = namesOf(where)
    const fault = takesName && !text ? 'The name is empty.' : onAdd(kind, kinds[kind].make({ name: text, template, dc: nodeDC, dcs: dcs.length ? dcs : undefined }))
    if (!fault) setName('')
    setError(fault)
  }
  const enter = e => { if (e.key === 'Enter') { e.preventDefault(); add() } }
  return html`<div class="ask grants" role="group" aria-label="Add a grant">
      <${Select} label="Add" value=${kind} onChange=${k => { setKind(k); setError('') }} of=${allowed.map(k => [k, kinds[k].title])} />
      ${kind === 'template' && html`<${Select} label="Template" value=${template} onChange=${setTemplate} of=${names.templates.map(t => [t.TemplateName])} />`}
      ${takesName && html`<label class="grow">Name <input type="text" value=${name} list=${offered && id} onInput=${e => setName(e.target.value)}
        onKeyDown=${enter} spellcheck=${false} autocomplete="off" autocapitalize="none" /></label>`}
      ${offered && html`<datalist id=${id}>${offered.map(n => html`<option key=${n} value=${n} />`)}</datalist>`}
      ${kind === 'node' && html`<${Select} label="Datacenter" value=${nodeDC} onChange=${setNodeDC} of=${all.map(d => [d])} />`}
      ${takesWhere && html`<label>Datacenters <input type="text" value=${where} placeholder="everywhere"
        onInput=${e => setWhere(e.target.value)} onKeyDown=${enter} /></label>`}
      <button type="button" onClick=${add}>Add</button></div>
    ${what && html`<p class="muted hint">${what}</p>`}<p class="field-error" role="alert">${error}</p>`
}

// GrantsEditor changes the grants of a record; allowed are the kinds that it may have.
export function GrantsEditor({ dc, record, onChange, allowed }) {
  const add = (kind, grant) => {
    const { field, name } = kinds[kind], there = record[field] ?? []
    if (there.some(g => name(g) === name(grant) && whereOf(g) === whereOf(grant))) return `${name(grant)} is there already.`
    onChange({ ...record, [field]: [...there, grant] })
    return ''
  }
  return html`<h2>Grants</h2><${Granted} record=${record} onChange=${onChange} allowed=${allowed} /><${Add} dc=${dc} allowed=${allowed} onAdd=${add} />`
}
